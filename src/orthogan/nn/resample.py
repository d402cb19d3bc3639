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
    """(16, 9): a 3x3 kernel to its full correlation with a 2x2 box of ones, 4x4."""
    eye = torch.eye(4, dtype=weight.dtype, device=weight.device)
    shift = eye[:3] + eye[1:]
    return torch.kron(shift, shift).t()


def doubling_kernel(weight: Tensor) -> Tensor:
    """The transposed kernel, (I, O, 4, 4), that doubles by nearest neighbour and convolves with `weight` (O, I, 3, 3).

    As a matrix product that leaves the channels last, which convolutions read without a copy.
    """
    kernel = _box_sums(weight).flip(0) @ weight.flatten(2).permute(1, 2, 0)  # (I, 16, O)
    return kernel.unflatten(1, (4, 4)).permute(0, 3, 1, 2)


def halving_kernel(weight: Tensor) -> Tensor:
    """The kernel, (O, I, 4, 4), that convolves with `weight` (O, I, 3, 3) and takes 2x2 means; channels last too."""
    kernel = (_box_sums(weight) / 4) @ weight.flatten(2).transpose(1, 2)  # (O, 16, I)
    return kernel.unflatten(1, (4, 4)).permute(0, 3, 1, 2)


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
