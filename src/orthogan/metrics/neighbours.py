"""Nearest images: how close samples come to what a generator learnt from, against how close that is to itself."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 4096
"""References compared at once."""
PIXELS_SIDE = 32
"""Larger images are shrunk to so many pixels a side before their pixels are compared."""


@dataclass(frozen=True)
class Found:
    """Of each of Q images its k nearest training images."""

    distances: Tensor
    """Euclidean, (Q, k), rising."""
    indices: Tensor
    """Of the training images, (Q, k)."""
    gaps: Tensor
    """From the nearest training image to its own nearest other training image, (Q,)."""

    @property
    def closer(self) -> Tensor:
        """Which of the images are closer to a training image than any other training image is to that one, (Q,)."""
        return self.distances[:, 0] < self.gaps

    @property
    def ratios(self) -> Tensor:
        """Distance to the nearest training image over its gap, (Q,): below 1 is closer; infinite beside duplicates."""
        return torch.where(self.gaps > 0, self.distances[:, 0] / self.gaps, torch.inf)


def compare(queries_qd: Tensor, training_nd: Tensor, k: int, progress: Callable[[int], None] | None = None) -> Found:
    """The k nearest training images of each query, and how isolated the nearest one is. k is below N."""
    distances, indices = nearest(queries_qd, training_nd, k, progress=progress)
    chosen, place = indices[:, 0].unique(return_inverse=True)
    own, _ = nearest(training_nd[chosen], training_nd, 1, itself=chosen)
    return Found(distances, indices, own[place, 0])


def nearest(
    queries_qd: Tensor,
    references_nd: Tensor,
    k: int,
    itself: Tensor | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """Euclidean distances and indices (Q, k) of the nearest references, rising; `itself` (Q,) is one left out of each.

    Found by |q|^2 + |r|^2 - 2qr in float64, never with all references at once, and measured by |q - r|: the difference
    of squares alone leaves copies about 1e-6 apart, and they are at 0. Precision and recall (`manifolds`) are in float32
    as torch-fidelity's are, and the watch of a training (`stability.variety`) is on the GPU, where float64 is slow.
    """
    queries = queries_qd.double()
    best = queries.new_full((len(queries), k), torch.inf)
    where = torch.zeros(len(queries), k, dtype=torch.long)
    for start in range(0, len(references_nd), CHUNK):
        chunk = references_nd[start : start + CHUNK].double()
        squares = queries.square().sum(1)[:, None] + chunk.square().sum(1) - 2 * queries @ chunk.T
        numbers = torch.arange(start, start + len(chunk))
        if itself is not None:
            squares.masked_fill_(itself[:, None] == numbers, torch.inf)
        best, order = torch.cat([best, squares], 1).topk(k, largest=False)
        where = torch.cat([where, numbers.expand(len(queries), -1)], 1).gather(1, order)
        if progress:
            progress(min(start + CHUNK, len(references_nd)))
    measured = [(queries - references_nd[column].double()).norm(dim=1) for column in where.T]
    distances, order = torch.stack(measured, 1).sort(stable=True, dim=1)
    return distances, where.gather(1, order)


def pixels(images: Tensor) -> Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, D) in [0, 1], area-averaged to PIXELS_SIDE a side where that is smaller."""
    x = images.permute(0, 3, 1, 2).float() / 255
    if x.shape[-1] > PIXELS_SIDE:
        x = F.interpolate(x, (PIXELS_SIDE, PIXELS_SIDE), mode="area")
    return x.flatten(1)
