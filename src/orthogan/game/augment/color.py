"""ADA's colour: random affine maps of (r, g, b, 1), composed into one."""

import math
from functools import reduce

import torch
from torch import Tensor

from orthogan.game.augment.base import Stage, integers, normal
from orthogan.game.augment.matrices import RandomMatrix, draw_all, square


def _about_grey(along: Tensor, across: Tensor, spin: Tensor) -> Tensor:
    """along v v^T + across (I - v v^T) + spin [v]x, with the grey axis v = (1, 1, 1) / sqrt(3), as a 4x4 matrix."""
    third = (along - across) / 3
    turned = spin / 3**0.5
    on, up, down = third + across, third + turned, third - turned
    return square(on, down, up, 0, up, on, down, 0, down, up, on, 0, 0, 0, 0, 1)


def _brightness(side: int, u: Tensor) -> Tensor:
    by = 0.2 * normal(u)
    return square(1.0, 0, 0, by, 0, 1, 0, by, 0, 0, 1, by, 0, 0, 0, 1)


def _contrast(side: int, u: Tensor) -> Tensor:
    factor = torch.exp2(0.5 * normal(u))
    return _about_grey(factor, factor, torch.zeros_like(u))


def _luma_flip(side: int, u: Tensor) -> Tensor:
    """Half of the time the grey of every pixel changes its sign (Householder)."""
    return _about_grey(1 - 2 * integers(u, 2), torch.ones_like(u), torch.zeros_like(u))


def _hue(side: int, u: Tensor) -> Tensor:
    """A rotation about the grey axis by up to half a turn each way (Rodrigues)."""
    angle = (2 * u - 1) * math.pi
    return _about_grey(torch.ones_like(u), angle.cos(), angle.sin())


def _saturation(side: int, u: Tensor) -> Tensor:
    return _about_grey(torch.ones_like(u), torch.exp2(normal(u)), torch.zeros_like(u))


COLOR = tuple(RandomMatrix(1, matrix) for matrix in (_brightness, _contrast, _luma_flip, _hue, _saturation))


class Color(Stage):
    numbers = sum(step.numbers for step in COLOR)

    def forward(self, images: Tensor, uniform: Tensor, p: Tensor) -> Tensor:
        steps = draw_all(COLOR, images.shape[-1], uniform, p)
        affine = reduce(lambda done, step: step @ done, steps).to(images.dtype)
        return torch.baddbmm(affine[:, :3, 3:], affine[:, :3, :3], images.flatten(2)).view_as(images)
