"""Depthwise convolutions of stride 2 that are never trained, quick on processors: forward and the images' gradient.

PyTorch differentiates a strided depthwise convolution in bf16 60 to 130 times as slowly as in float32 there, and copies
the whole map to pad it unequally, as TensorFlow's SAME does. Here the kernel is padded, and the gradient is a
convolution of stride 1 of the map's gradients with zeros between them.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 2


def is_halving_depthwise(conv: nn.Module) -> bool:
    """Whether it is one that `HalvingDepthwise` can stand for."""
    if not isinstance(conv, nn.Conv2d) or not conv.groups == conv.in_channels == conv.out_channels > 1:
        return False
    height, width = conv.kernel_size
    # Without padding it is one that pads by itself, such as timm's.
    paddings = ((height // 2, height // 2),) if type(conv) is nn.Conv2d else ((0, 0), (height // 2, height // 2))
    is_square = height == width and height % 2 == 1 and height > 1 and conv.padding in paddings
    return is_square and conv.stride == (STRIDE, STRIDE) and conv.dilation == (1, 1) and conv.padding_mode == "zeros"


class HalvingDepthwise(nn.Module):
    """(N, C, 2H, 2W) -> (N, C, H, W), the function of a layer whose weight has no gradient.

    One without padding pads maps of an even side by itself as TensorFlow does: one pixel more behind than before. On
    other devices and for odd sides the layer itself is called.
    """

    def __init__(self, layer: nn.Module):
        """`layer` is one for which `is_halving_depthwise`."""
        super().__init__()
        self.layer: Any = layer
        size = layer.kernel_size[0]  # type: ignore[index]
        before = layer.padding[0] or (size - STRIDE) // 2  # type: ignore[index]
        self.shift = size // 2 - before
        """1 where the layer pads one pixel less before the map than behind it, else 0."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or x.shape[2] % STRIDE or x.shape[3] % STRIDE:
            y: Tensor = self.layer(x)
            return y
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        weight = self.layer.weight.to(x.dtype)
        bias = None if self.layer.bias is None else self.layer.bias.to(x.dtype)
        found: Tensor = _Halving.apply(x, weight, bias, self.shift)
        return found


class _Halving(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, shift: int) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.shift = shift
        middle = weight.shape[-1] // 2
        return F.conv2d(x, F.pad(weight, (shift, 0, shift, 0)), bias, STRIDE, middle, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        ((grad,), (weight,)) = grads, ctx.saved_tensors
        count, channels, height, width = grad.shape
        spread = torch.empty(
            (count, channels, STRIDE * height, STRIDE * width),
            dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last,
        ).zero_()  # fmt: skip
        spread[:, :, ctx.shift :: STRIDE, ctx.shift :: STRIDE] = grad
        return F.conv2d(spread, weight.flip(2, 3), padding=weight.shape[-1] // 2, groups=channels), None, None, None
