"""Scores within classes: the Fréchet distance of each class, and how varied its images are beside the real ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orthogan.metrics import MIN_IMAGES, frechet
from orthogan.metrics.intervals import Interval, Resampling, around

NAMED = 10
"""Classes that a note names; of more it gives the number."""


@dataclass(frozen=True)
class ByClass:
    """Means over classes, their intervals, the classes one by one, and what to know of those left out."""

    scores: dict[str, float]
    intervals: dict[str, Interval]
    classes: dict[str, dict[str, Any]]
    notes: list[str]


def by_class(
    real: tuple[Tensor, Tensor], fake: tuple[Tensor, Tensor], names: Sequence[str], how: Resampling
) -> ByClass:
    """From features (N, D) and labels (N,) of both sides; a label is an index of `names`, or -1 for none of them.

    `intra_frechet_distance` is the mean of the classes' (Miyato & Koyama 2018). `class_diversity` is the mean squared
    distance of two generated images of a class over that of two real ones, averaged: 1 is as varied, 0 all the same.
    A class with fewer than `MIN_IMAGES` images on either side is left out and named; none are scored without two.
    """
    (real_nd, real_labels), (fake_md, fake_labels) = real, fake
    classes: dict[str, dict[str, Any]] = {}
    spread: dict[str, list[Tensor]] = {"intra_frechet_distance": [], "class_diversity": []}
    few = []
    for index, name in enumerate(names):
        sides = real_nd[real_labels == index].double(), fake_md[fake_labels == index].double()
        if min(map(len, sides)) < MIN_IMAGES:
            few.append(name)
            continue
        classes[name], replicates = _one(name, *sides, how)
        for score, found in zip(spread, replicates, strict=True):
            spread[score].append(found)
    notes = [_left_out(few, len(names))] if few else []
    if len(classes) < 2:
        return ByClass({}, {}, {}, notes)
    shown = {"intra_frechet_distance": "frechet_distance", "class_diversity": "diversity"}
    means = {score: math.fsum(c[key] for c in classes.values()) / len(classes) for score, key in shown.items()}
    intervals = {score: around(means[score], torch.stack(spread[score]).mean(0)) for score in means if how.resamples}
    return ByClass(means, intervals, classes, notes)


def _one(name: str, real: Tensor, fake: Tensor, how: Resampling) -> tuple[dict[str, Any], list[Tensor]]:
    """The scores of one class, and their replicates (resamples,) around 0."""
    distance, of_real, of_fake = frechet.terms(real, fake)
    own, other = variance(fake), variance(real)
    ratio = float(own.mean() / other.mean().clamp(min=torch.finfo(torch.float64).tiny))
    found = {"frechet_distance": distance, "diversity": ratio, "real": len(real), "generated": len(fake)}
    if not how.resamples:
        return found, [torch.zeros(0), torch.zeros(0)]
    # Both scores of a side from the same resamples: columns (N, 2).
    on_real = how.means(f"{name}/real", torch.stack([of_real, other], 1))
    on_fake = how.means(f"{name}/fake", torch.stack([of_fake, own], 1))
    return found, [on_real[:, 0] + on_fake[:, 0], on_fake[:, 1] / on_real[:, 1].clamp(min=1e-300)]


def variance(x_nd: Tensor) -> Tensor:
    """Terms (N,) whose mean is the trace of the unbiased covariance: half the mean squared distance of two images."""
    return (x_nd - x_nd.mean(0)).square().sum(1) * (len(x_nd) / (len(x_nd) - 1))


def _left_out(few: Sequence[str], of: int) -> str:
    named = ", ".join(few[:NAMED]) + (", ..." if len(few) > NAMED else "")
    return f"{len(few)} of {of} classes have fewer than {MIN_IMAGES} real or generated images and are left out: {named}"
