"""The low-pass filter [1, 3, 3, 1] of StyleGAN2 (Karras et al. 2020) around changes of resolution.

It is not folded into the 3x3 convolutions beside it, as nearest doubling is in `nn.resample`: their kernels of 6x6
would have four times the arithmetic, and a filter of each channel by itself costs a tenth of the convolution.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def taps(channels: int, like: Tensor) -> Tensor:
    """The outer product of [1, 3, 3, 1] / 8 with itself for every channel, (C, 1, 4, 4), in the type of a tensor."""
    away = torch.arange(-1.5, 2.0, device=like.device, dtype=like.dtype).abs()
    line = (2 - away) / 4
    return torch.outer(line, line).expand(channels, 1, 4, 4)


class _Smooth(torch.autograd.Function):
    """`smooth`, whose adjoint is itself with the other padding.

    PyTorch's own second derivative of a convolution in groups runs over the groups one by one.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, padding: int, gain: float) -> Tensor:
        ctx.padding, ctx.gain = padding, gain
        return F.conv2d(x, gain * taps(x.shape[1], x), padding=padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = grads
        return smooth(grad, 3 - ctx.padding, ctx.gain), None, None


def smooth(x: Tensor, padding: int, gain: float = 1.0) -> Tensor:
    """Filtered at every pixel between zeros. (N, C, H, W) -> (N, C, H + 2 * padding - 3, W + 2 * padding - 3)."""
    smoothed: Tensor = _Smooth.apply(x, padding, gain)
    return smoothed


def upsample(x: Tensor) -> Tensor:
    """Zeros between the pixels, filtered with gain 4. (N, C, H, W) -> (N, C, 2H, 2W), float32.

    Each pixel of the result is the mean of four neighbours with weights 9, 3, 3, 1. For images of few channels.
    """
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        return F.conv_transpose2d(x, 4 * taps(x.shape[1], x), stride=2, padding=1, groups=x.shape[1])
