"""Random matrices, one an image: what geometry and colour of ADA have in common."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Chance = Callable[[Tensor], Tensor]


def _unchanged(p: Tensor) -> Tensor:
    return p


@dataclass(frozen=True)
class RandomMatrix:
    """Applied with a chance, the identity otherwise."""

    values: int
    """Uniform numbers that the matrix is made of; one more decides whether it is applied."""
    matrix: Callable[..., Tensor]
    """The side of the images and as many uniform numbers (N,) -> matrices (N, K, K)."""
    chance: Chance = _unchanged
    """p, a scalar -> the chance of being applied."""

    @property
    def numbers(self) -> int:
        return self.values + 1

    def __call__(self, side: int, uniform: Tensor, p: Tensor) -> Tensor:
        """By uniform numbers (N, `numbers`)."""
        drawn = self.matrix(side, *uniform[:, 1:].unbind(1))
        applied = uniform[:, 0] < self.chance(p)
        identity = torch.eye(drawn.shape[1], dtype=drawn.dtype, device=drawn.device)
        return torch.where(applied[:, None, None], drawn, identity)


def draw_all(steps: Sequence[RandomMatrix], side: int, uniform: Tensor, p: Tensor) -> list[Tensor]:
    """A matrix (N, K, K) for each step, by the numbers (N, k) of all."""
    parts = uniform.split([step.numbers for step in steps], dim=1)
    return [step(side, part, p) for step, part in zip(steps, parts, strict=True)]


def square(*entries: Tensor | float) -> Tensor:
    """Matrices (N, K, K) of K * K entries (N,), row by row; a number stands for every image."""
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    filled = [entry if isinstance(entry, Tensor) else torch.full_like(like, entry) for entry in entries]
    side = int(len(entries) ** 0.5)
    return torch.stack(filled, dim=1).unflatten(1, (side, side))
