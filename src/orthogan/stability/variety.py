"""How varied generated images are, and how far from the real ones, in a feature space that needs no trained weights.

Features are the pixels of the image shrunk to 8 x 8, and the channels of two convolutions with fixed random weights,
whose features tell textures and shapes apart without training (Jarrett et al. 2009). Each half counts as much.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from orthogan.randomness import FEATURES, draw

SIDE = 32
"""Larger images are shrunk to this before the convolutions."""
GRID = 4
"""Cells a side that the features of the convolutions are averaged over."""
CHANNELS = (3, 16, 32)

Signals = dict[str, float]


def shrunk(images: Tensor) -> Tensor:
    """Images of at most `SIDE` pixels a side, which is all that is looked at of large ones."""
    return F.adaptive_avg_pool2d(images.float(), SIDE) if images.shape[2] > SIDE else images.float()


@torch.no_grad()
def features(images: Tensor) -> list[Tensor]:
    """Images (N, 3, R, R) in [-1, 1] -> pixels (N, 192) and convolutions (N, 512)."""
    x = shrunk(images)
    small = F.adaptive_avg_pool2d(x, 8)
    source = draw(0, FEATURES, 0)
    for inputs, outputs in itertools.pairwise(CHANNELS):
        weight = torch.randn(outputs, inputs, 3, 3, generator=source) * (2 / (9 * inputs)) ** 0.5
        x = F.avg_pool2d(F.relu(F.conv2d(x, weight.to(x.device), padding=1)), 2)
    return [small.flatten(1), F.adaptive_avg_pool2d(x, GRID).flatten(1)]


@dataclass(frozen=True)
class RealImages:
    """What generated images are compared with."""

    features: Tensor
    """(N, F), centred, both halves scaled to a mean variance of 1."""
    centres: list[Tensor]
    scales: list[Tensor]
    classes: dict[int, Tensor]
    """Features (n, F) of some images of each class that is watched; none without classes."""

    @classmethod
    def of(cls, images: Tensor, by_class: dict[int, Tensor]) -> "RealImages":
        """From images (N, 3, R, R) of the whole data set, and some of each watched class."""
        halves = features(images)
        centres = [half.mean(0) for half in halves]
        scales = [(half - c).square().mean().sqrt().clamp(min=1e-6) for half, c in zip(halves, centres, strict=True)]
        unit = cls(torch.empty(0), centres, scales, {})
        return cls(unit.place(images), centres, scales, {c: unit.place(x) for c, x in by_class.items()})

    def place(self, images: Tensor) -> Tensor:
        """Features of images in this space, (N, F)."""
        halves = zip(features(images), self.centres, self.scales, strict=True)
        return torch.cat([(half - c) / s / half.shape[1] ** 0.5 for half, c, s in halves], dim=1)

    def signals(self, images: Tensor, labels: Tensor | None) -> Signals:
        """Of generated images (N, 3, R, R), each 1 for images like the real ones:

        `diversity`      mean distance of two images, against that of two real ones
        `distance`       mean distance to the nearest real image, against that between real ones
        `separation`     share of the variance that lies between classes, against that of the real images
        `class_diversity/C`  as `diversity`, within a class
        `class_distance/C`   distance of a class's mean to that of the real class, against the real class's radius
        """
        fake = self.place(images)
        found = {
            "diversity": _ratio(_spread(fake), _spread(self.features)),
            "distance": _ratio(_to_nearest(fake, self.features), _to_nearest(self.features)),
        }
        if labels is None or not self.classes:
            return found
        own = {c: fake[labels == c] for c in self.classes}
        found["separation"] = _ratio(_between(list(own.values())), _between(list(self.classes.values())))
        for c, real in self.classes.items():
            found[f"class_diversity/{c}"] = _ratio(_spread(own[c]), _spread(real))
            away, radius = own[c].mean(0) - real.mean(0), (real - real.mean(0)).square().sum(1).mean().sqrt()
            found[f"class_distance/{c}"] = _ratio(away.norm(), radius)
        return found

    def label_fit(self, images: Tensor, labels: Tensor) -> float:
        """1 where labelled images lie as near to the mean of their class as the real ones do, 0 at any labels.

        That is 1 - r, r their mean distance to the own class's mean over that to the others', against the real
        images' 1 - r. Images of classes that are not watched do not count; NaN without any, or without classes.
        """
        watched = torch.isin(labels, torch.tensor(list(self.classes), device=labels.device))
        if len(self.classes) < 2 or not watched.any():
            return math.nan
        real_labels = torch.cat([torch.full((len(x),), c) for c, x in self.classes.items()]).to(labels.device)
        own = self._nearness(torch.cat(list(self.classes.values())), real_labels)
        return _ratio(self._nearness(self.place(images[watched]), labels[watched]), own)

    def _nearness(self, x: Tensor, labels: Tensor) -> Tensor:
        classes = torch.tensor(list(self.classes), device=labels.device)
        away = torch.cdist(x, torch.stack([real.mean(0) for real in self.classes.values()]))
        mine = labels[:, None] == classes
        return 1 - away[mine].mean() / away[~mine].mean()


def _ratio(a: Tensor, b: Tensor) -> float:
    """NaN where the real images are all alike."""
    return float(a / b) if b > 1e-6 else float("nan")


def _spread(x: Tensor) -> Tensor:
    """Mean distance of two different rows."""
    return torch.pdist(x).mean() if len(x) > 1 else x.new_tensor(float("nan"))


def _to_nearest(x: Tensor, others: Tensor | None = None) -> Tensor:
    """Mean distance of a row to the nearest of others, or to the nearest other row.

    In float32 where the rows lie, of few images: `metrics.neighbours` is for many, in float64 on the processor.
    """
    if others is not None:
        return torch.cdist(x, others).min(1).values.mean()
    return torch.cdist(x, x).fill_diagonal_(float("inf")).min(1).values.mean()


def _between(groups: Sequence[Tensor]) -> Tensor:
    """Share of the variance that lies between groups of rows."""
    means = torch.stack([group.mean(0) for group in groups])
    within = torch.stack([(group - group.mean(0)).square().sum(1).mean() for group in groups]).mean()
    between = (means - means.mean(0)).square().sum(1).mean()
    return between / (between + within).clamp(min=1e-12)


def spread_out(n: int, count: int) -> np.ndarray:
    """`count` of the indices 0 ... n - 1, evenly; all of them where there are no more."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).round().astype(int))
