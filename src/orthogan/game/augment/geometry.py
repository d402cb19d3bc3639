"""ADA's geometry: random steps, each as the inverse of its matrix, composed into one warp.

The matrices take (x, y, 1) in pixels from the middle of the image, x to the right and y downwards. A step's inverse
leads from the image after it to the image before it, so the product of all, first step first, leads to the original.
"""

import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from orthogan.game.augment.base import Stage, integers, normal
from orthogan.game.augment.matrices import RandomMatrix, draw_all, square
from orthogan.game.augment.resampling import SYM6, warp

SPREAD = 0.125
"""Of shifts, as a share of the side: the bound of whole ones, the deviation of fractional ones."""
OCTAVES = 0.2
"""Deviation of scales, in powers of 2."""


def scaling(x: Tensor, y: Tensor) -> Tensor:
    return square(x, 0, 0, 0, y, 0, 0, 0, 1)


def rotation(angle: Tensor) -> Tensor:
    """From the axis of x to that of y."""
    cos, sin = angle.cos(), angle.sin()
    return square(cos, -sin, 0, sin, cos, 0, 0, 0, 1)


def shift(x: Tensor, y: Tensor) -> Tensor:
    return square(1.0, 0, x, 0, 1, y, 0, 0, 1)


def _mirror(side: int, u: Tensor) -> Tensor:
    return scaling(1 - 2 * integers(u, 2), torch.ones_like(u))


def _quarter_turn(side: int, u: Tensor) -> Tensor:
    return rotation(integers(u, 4) * (-math.pi / 2))


def _whole_shift(side: int, u: Tensor, v: Tensor) -> Tensor:
    most = SPREAD * side
    return shift(-((2 * u - 1) * most).round(), -((2 * v - 1) * most).round())


def _zoom(side: int, u: Tensor) -> Tensor:
    factor = torch.exp2(-OCTAVES * normal(u))
    return scaling(factor, factor)


def _turn(side: int, u: Tensor) -> Tensor:
    return rotation((1 - 2 * u) * math.pi)


def _stretch(side: int, u: Tensor) -> Tensor:
    factor = torch.exp2(-OCTAVES * normal(u))
    return scaling(factor, 1 / factor)


def _fractional_shift(side: int, u: Tensor, v: Tensor) -> Tensor:
    deviation = SPREAD * side
    return shift(-deviation * normal(u), -deviation * normal(v))


def half_of_turns(p: Tensor) -> Tensor:
    """The chance of each of two turns, so that with chance p there is at least one. 1 where p is above 1."""
    return 1 - (1 - p).clamp(min=0).sqrt()


BLIT = (RandomMatrix(1, _mirror), RandomMatrix(1, _quarter_turn), RandomMatrix(2, _whole_shift))
"""Steps that move whole pixels."""
GEOM = (
    RandomMatrix(1, _zoom),
    RandomMatrix(1, _turn, half_of_turns),
    RandomMatrix(1, _stretch),
    RandomMatrix(1, _turn, half_of_turns),
    RandomMatrix(2, _fractional_shift),
)
"""Steps that resample. A stretch between two turns is one along any axis."""


class Geometry(Stage):
    """All steps at once, by one warp, whether any of them is applied or not: nothing waits to find out."""

    taps: Tensor

    def __init__(self, steps: Sequence[RandomMatrix]):
        super().__init__()
        self.steps = steps
        self.numbers = sum(step.numbers for step in steps)
        self.register_buffer("taps", torch.tensor(SYM6), persistent=False)

    def forward(self, images: Tensor, uniform: Tensor, p: Tensor) -> Tensor:
        inverse = reduce(torch.matmul, draw_all(self.steps, images.shape[-1], uniform, p))
        return warp(images, inverse, self.taps)
