"""Nearest images: how close samples come to what a generator learnt from, against how close that is to itself."""

import hashlib
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
    """From the nearest training image to the nearest one that differs from it, (Q,); infinite where none does."""

    @property
    def closer(self) -> Tensor:
        """Which images are closer to a training image than any other one, that differs from it, is to that, (Q,)."""
        return self.distances[:, 0] < self.gaps

    @property
    def ratios(self) -> Tensor:
        """Distance to the nearest training image over its gap, (Q,): below 1 is closer, 0 a copy."""
        return self.distances[:, 0] / self.gaps


def compare(queries_qd: Tensor, training_nd: Tensor, k: int, progress: Callable[[int], None] | None = None) -> Found:
    """The k nearest training images of each query, and how isolated the nearest one is. k is below N."""
    distances, indices = nearest(queries_qd, training_nd, k, progress)
    chosen, place = indices[:, 0].unique(return_inverse=True)
    return Found(distances, indices, _gaps(training_nd[chosen], training_nd)[place])


def _gaps(chosen_md: Tensor, training_nd: Tensor) -> Tensor:
    """(M,): from chosen training images to the nearest that differs; infinite where none does."""
    once = _once(training_nd)
    different = training_nd if len(once) == len(training_nd) else training_nd[once]
    distances, _ = nearest(chosen_md, different, min(2, len(different)))  # the nearest is itself
    return distances.masked_fill(distances == 0, torch.inf).amin(1)


def _once(x_nd: Tensor) -> list[int]:
    """The first of all rows that are equal."""
    first: dict[bytes, int] = {}
    for i, row in enumerate(x_nd.numpy()):
        first.setdefault(hashlib.blake2b((row + 0).tobytes()).digest(), i)  # -0 + 0 is 0
    return list(first.values())


def nearest(
    queries_qd: Tensor, references_nd: Tensor, k: int, progress: Callable[[int], None] | None = None
) -> tuple[Tensor, Tensor]:
    """Euclidean distances and indices (Q, k) of the nearest references, rising.

    Found by |q|^2 + |r|^2 - 2qr in float64, never with all references at once, and measured by |q - r|: the difference
    of squares alone leaves copies about 1e-6 apart, and they are at 0. Precision and recall (`manifolds`) are in
    float32 as torch-fidelity's are, and the watch of a training (`stability.variety`) is on the GPU, where float64 is
    slow.
    """
    queries = queries_qd.double()
    best = queries.new_full((len(queries), k), torch.inf)
    where = torch.zeros(len(queries), k, dtype=torch.long)
    for start in range(0, len(references_nd), CHUNK):
        chunk = references_nd[start : start + CHUNK].double()
        squares = queries.square().sum(1)[:, None] + chunk.square().sum(1) - 2 * queries @ chunk.T
        numbers = torch.arange(start, start + len(chunk))
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
