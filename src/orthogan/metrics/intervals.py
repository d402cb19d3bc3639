"""Confidence intervals of scores: bootstrap over images, seeded; of shares, Wilson's.

A score is first written as a mean over images, exactly or to first order (see `frechet.terms`), so that a thousand
resamples cost a product of matrices. They tell the luck of drawing the images, and not of training the generator.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from scipy.stats import binomtest
from torch import Tensor

from orthogan.randomness import draw

LEVEL = 0.95
RESAMPLES = 1000
"""Of every score, unless told otherwise."""
KERNEL_IMAGES = 1000
"""At most so many images of a side are resampled for a kernel's distance, and the interval narrowed to all of them."""
_AT_ONCE = 100

Interval = list[float]
"""[low, high]."""


@dataclass(frozen=True)
class Resampling:
    """How often images are drawn again, and the seed of these draws; 0 for no intervals."""

    seed: int
    resamples: int = RESAMPLES

    def counts(self, name: str, n: int) -> Iterator[Tensor]:
        """How often each of n images is drawn in each resample, float64 (at most 100, n); others for another name."""
        source = draw(self.seed, f"scores/resamples/{name}", n)
        for start in range(0, self.resamples, _AT_ONCE):
            rows = min(_AT_ONCE, self.resamples - start)
            picked = torch.randint(n, (rows, n), generator=source)
            yield torch.zeros(rows, n, dtype=torch.float64).scatter_add_(
                1, picked, torch.ones((), dtype=torch.float64).expand(rows, n)
            )

    def means(self, name: str, values: Tensor) -> Tensor:
        """Resampled means (resamples, ...) of values (N, ...)."""
        n = len(values)
        flat = values.double().reshape(n, -1)
        found = torch.cat([counts @ flat / n for counts in self.counts(name, n)])
        return found.reshape(-1, *values.shape[1:])


def around(value: float, replicates: Tensor) -> Interval:
    """The interval of a score from its replicates (B,): theirs, moved to the score, since resampling has a bias."""
    ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = torch.quantile(replicates.double() - replicates.double().mean(), ends).tolist()
    return [value + low, value + high]


def of_sum_of_means(value: float, how: Resampling, **sides: Tensor) -> Interval:
    """Of a score that changes with its images as the sum of means of these terms (N,) does, one tensor a side."""
    return around(value, torch.stack([how.means(side, terms) for side, terms in sides.items()]).sum(0))


def of_share(hits: Tensor) -> Interval:
    """Wilson's interval of the mean of booleans (N,): it has a width at 0 and at 1 too, where resampling has none."""
    ends: Any = binomtest(int(hits.sum()), len(hits)).proportion_ci(LEVEL, method="wilson")
    return [float(ends.low), float(ends.high)]


def of_kernel(value: float, how: Resampling, kernels: tuple[Tensor, ...], n: int, subsets: int) -> Interval:
    """Of a squared MMD over n images a side, from kernels (s, s) of real, fake, and real with fake images.

    Pairs of an image with itself are left out. Deviations of s images are narrowed by sqrt(s / n), which is too little
    for equal distributions, and widened by what averaging over so many random `subsets` adds.
    """
    real, fake, between = (kernel.double() for kernel in kernels)
    s = len(real)
    parts = []
    for w, v in zip(how.counts("kernel/real", s), how.counts("kernel/fake", len(fake)), strict=True):
        cross = ((w @ between) * v).sum(1) / (w.sum(1) * v.sum(1))
        parts.append(_within(real, w) + _within(fake, v) - 2 * cross)
    replicates = torch.cat(parts)
    share = s / n + (1 / subsets if subsets > 1 else 0)
    return around(value, (replicates - replicates.mean()) * min(share, 1.0) ** 0.5)


def _within(kernel: Tensor, w: Tensor) -> Tensor:
    """Weighted means (B,) of a kernel (s, s) over pairs of different images, weights (B, s)."""
    squares = w.square()
    pairs = ((w @ kernel) * w).sum(1) - squares @ kernel.diagonal()
    return pairs / (w.sum(1).square() - squares.sum(1))
