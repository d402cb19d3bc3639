"""Doubling and halving of images, apart and folded into a neighbouring 3x3 convolution.

Nearest doubling followed by a 3x3 convolution is a transposed 4x4 convolution of stride 2; a 3x3 convolution followed
by a 2x2 mean is a 4x4 convolution of stride 2. Both are exact, borders included, and need 2.25 times less arithmetic.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Upsampling = Literal["nearest", "bilinear"]
"""How a map is doubled; nearest is the one that is folded."""


def _box_sums(weight: Tensor) -> Tensor:
    """Full correlation of each 3x3 kernel with a 2x2 box of ones. (O, I, 3, 3) -> (O, I, 4, 4)."""
    eye = torch.eye(4, dtype=weight.dtype, device=weight.device)
    shift = eye[:3] + eye[1:]
    # One small matrix product instead of four padded additions over the whole weight.
    return (weight.flatten(2) @ torch.kron(shift, shift)).unflatten(2, (4, 4))


def doubling_kernel(weight: Tensor) -> Tensor:
    """The transposed kernel, (I, O, 4, 4), that doubles by nearest neighbour and convolves with `weight`."""
    return _box_sums(weight).flip(2, 3).transpose(0, 1)


def halving_kernel(weight: Tensor) -> Tensor:
    """The kernel, (O, I, 4, 4), that convolves with `weight` and takes 2x2 means."""
    return _box_sums(weight) / 4


def double_then_conv(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """(N, I, H, W) -> (N, O, 2H, 2W), with a kernel from `doubling_kernel`."""
    return F.conv_transpose2d(x, kernel, bias, stride=2, padding=1)


def conv_then_halve(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """(N, I, 2H, 2W) -> (N, O, H, W), with a kernel from `halving_kernel`."""
    return F.conv2d(x, kernel, bias, stride=2, padding=1)


def double(x: Tensor, how: Upsampling = "nearest") -> Tensor:
    """(N, C, H, W) -> (N, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2, mode=how, align_corners=None if how == "nearest" else False)


def halve(x: Tensor) -> Tensor:
    """Mean of 2x2 pixels. (N, C, 2H, 2W) -> (N, C, H, W)."""
    return F.avg_pool2d(x, 2)


def shift(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Images (N, C, H, W), each shown from so many pixels (N,) further down and to the right, its border repeated."""
    height, width = x.shape[2:]
    rows = (torch.arange(height, device=x.device) + down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) + right[:, None]).clamp(0, width - 1)
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return x[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
