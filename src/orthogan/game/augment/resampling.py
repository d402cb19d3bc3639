"""Images warped by matrices, as ADA does it: doubled by a wavelet, sampled there, and halved by the same wavelet.

Beyond its border an image goes on as its own reflection. A doubled image holds one whole period of that, so that any
place can be looked up, and no margin has to be found from the matrices. Wavelet and reflection are one small matrix.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SYM6 = (
    0.0154041093, 0.0034907121, -0.1179901111, -0.0483117426, 0.4910559419, 0.7876411410,
    0.3379294217, -0.0726375228, -0.0210602925, 0.0447249018, 0.0017677119, -0.0078007083,
)  # fmt: skip
"""The low-pass filter of the symlet of order 6. Orthonormal: halving undoes doubling."""
MIDDLE = 5
"""The tap nearest to the mean of SYM6 (5.1): pixel k of an image lies at place 2 k + MIDDLE of the doubled axis."""


def reflected(before: int, side: int, after: int, like: Tensor) -> Tensor:
    """The identity with `before` more columns in front and `after` behind, which repeat the reflected ones.

    (side, before + side + after). The first and last pixel stand once; reflections go on for ever.
    """
    places = torch.arange(-before, side + after, device=like.device)
    folded = side - 1 - (places.remainder(2 * side - 2) - (side - 1)).abs()
    return torch.eye(side, dtype=like.dtype, device=like.device)[:, folded]


def doubling(taps: Tensor, side: int) -> Tensor:
    """Pixels of an axis -> one period of the doubled, endlessly reflected axis and its first place again.

    (4 side - 3, side), for orthonormal taps (12,).
    """
    before = (len(taps) - 1) // 2
    lasting = reflected(before, side, side - 1, taps)[:, None]  # (side, 1, ...)
    doubled = F.conv_transpose1d(lasting, taps[None, None] * 2**0.5, stride=2)
    return doubled[:, 0, 2 * before :][:, : 4 * side - 3].T


def halving(taps: Tensor, side: int) -> Tensor:
    """The doubled axis, all places that reach one of the pixels -> pixels. (side, 2 side + 10)."""
    pixels = torch.eye(side, dtype=taps.dtype, device=taps.device)[:, None]
    return F.conv_transpose1d(pixels, taps[None, None] / 2**0.5, stride=2)[:, 0]


def sampling_grid(inverse: Tensor, side: int, places: int) -> Tensor:
    """Where in the doubled images each of `places`^2 places of the warped ones is found. (N, 3, 3) -> (N, P, P, 2).

    The matrices take (x, y, 1) of a warped image to that of the original, in pixels from the middle of the image.
    """
    middle = MIDDLE + side - 1
    at = (torch.arange(places, device=inverse.device) - middle) / 2
    x, y, one = inverse[:, :2, :, None, None].unbind(2)  # (N, 2, 1, 1) each
    found = 2 * (x * at + y * at[:, None] + one) + middle  # (N, 2, P, P)
    period = 4 * side - 4
    return ((found.remainder(period) + 0.5) * (2 / (period + 1)) - 1).movedim(1, -1)


def warp(images: Tensor, inverse: Tensor, taps: Tensor) -> Tensor:
    """Images (N, C, R, R) by matrices (N, 3, 3) in float32 -> (N, C, R, R)."""
    side = images.shape[-1]
    double, halve = doubling(taps, side).to(images.dtype), halving(taps, side).to(images.dtype)
    grid = sampling_grid(inverse, side, halve.shape[1]).to(images.dtype)
    doubled = double @ images @ double.T  # (N, C, 4 R - 3, 4 R - 3)
    found: Tensor = _Sample.apply(doubled, grid)  # (N, C, 2 R + 10, 2 R + 10)
    return halve @ found @ halve.T


class _Sample(torch.autograd.Function):
    """Bilinear sampling, linear in the images. PyTorch's own cannot be differentiated twice, which penalties need."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.size = images.shape
        return F.grid_sample(images, grid, align_corners=False)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Spread.apply(gradient, ctx.saved_tensors[0], ctx.size), None


class _Spread(torch.autograd.Function):
    """The transpose of `_Sample`."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, size: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        unread = gradient.new_zeros(()).expand(size)
        spread: Tensor = torch.ops.aten.grid_sampler_2d_backward(gradient, unread, grid, 0, 0, False, [True, False])[0]
        return spread

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _Sample.apply(gradient, ctx.saved_tensors[0]), None, None
