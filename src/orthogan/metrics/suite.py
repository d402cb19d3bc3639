"""Every score that two sides allow, with its interval."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from orthogan.features.pretrained import CLIP, FeatureNet
from orthogan.metrics import frechet, intervals, scores
from orthogan.metrics.by_class import by_class
from orthogan.metrics.intervals import Interval, Resampling
from orthogan.metrics.manifolds import manifolds
from orthogan.metrics.sides import Measured, Real


@dataclass
class Found:
    """Scores by name, their intervals where images were resampled, the classes one by one, and notes."""

    scores: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    classes: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


Steps = Callable[[int, int], None]
"""Called with the number of steps done, and of all."""


def suite(
    real: Real,
    fake: Measured,
    net: FeatureNet,
    settings: scores.Settings,
    how: Resampling,
    progress: Steps | None = None,
) -> Found:
    """All scores over one feature network; without logits no classifier score, without classes none of theirs."""
    found = Found()
    steps: list[Callable[[], None]] = [
        partial(_frechet, found, real, fake, how),
        partial(_kernels, found, real, fake, net, settings, how),
        partial(_manifolds, found, real, fake, settings, how),
    ]
    if fake.logits.shape[1]:
        steps.append(partial(_classifier, found, fake, settings, how))
    if real.labels is not None and fake.labels is not None and len(real.class_names) > 1:
        steps.append(partial(_classes, found, real, fake, net, how))
    for done, step in enumerate(steps, 1):
        step()
        if progress:
            progress(done, len(steps))
    return found


def _frechet(found: Found, real: Real, fake: Measured, how: Resampling) -> None:
    distance = scores.frechet_distance(real.statistics, scores.statistics(fake.features))
    found.scores["frechet_distance"] = distance
    if how.resamples:
        _, of_real, of_fake = frechet.terms(real.features, fake.features)
        sides = {"real": of_real, "fake": of_fake}
        found.intervals["frechet_distance"] = intervals.of_sum_of_means(distance, how, **sides)


def _kernels(
    found: Found, real: Real, fake: Measured, net: FeatureNet, settings: scores.Settings, how: Resampling
) -> None:
    both = real.features, fake.features
    subsets = settings.kernel_subsets
    kernel, spread = scores.kernel_distance(
        *both, seed=how.seed, subsets=subsets, subset_size=settings.kernel_subset_size
    )
    found.scores |= {"kernel_distance": kernel, "kernel_distance_std": spread}
    if how.resamples:
        found.intervals["kernel_distance"] = scores.kernel_interval(kernel, *both, how, subsets)
    if net.facts.get("embedding") == CLIP:
        found.scores["clip_mmd"] = scores.clip_mmd(*both)
        if how.resamples:
            found.intervals["clip_mmd"] = scores.clip_interval(found.scores["clip_mmd"], *both, how)


def _classifier(found: Found, fake: Measured, settings: scores.Settings, how: Resampling) -> None:
    value, spread = scores.classifier_score(fake.logits, seed=how.seed, splits=settings.classifier_splits)
    found.scores |= {"classifier_score": value, "classifier_score_std": spread}
    if how.resamples:
        found.intervals["classifier_score"] = scores.classifier_interval(value, fake.logits, how)


def _manifolds(found: Found, real: Real, fake: Measured, settings: scores.Settings, how: Resampling) -> None:
    images = manifolds(
        real.features,
        fake.features,
        neighbourhood=settings.neighbourhood,
        density_neighbourhood=settings.density_neighbourhood,
    )
    shares = {"precision": images.precise, "recall": images.recalled, "coverage": images.covered}
    density = float(images.density.mean())
    found.scores |= {name: float(hits.double().mean()) for name, hits in shares.items()} | {"density": density}
    if how.resamples:
        found.intervals |= {name: intervals.of_share(hits) for name, hits in shares.items()}
        if images.density.any():  # else every resample is 0 too, which does not say that the score is exactly 0
            found.intervals["density"] = intervals.of_sum_of_means(density, how, density=images.density)


def _classes(found: Found, real: Real, fake: Measured, net: FeatureNet, how: Resampling) -> None:
    assert real.labels is not None
    assert fake.labels is not None
    within = by_class((real.features, real.labels), (fake.features, fake.labels), real.class_names, how)
    found.scores |= within.scores
    found.intervals |= within.intervals
    found.classes |= within.classes
    found.notes += within.notes
    if net.facts.get("trained_on") == "classes":  # its logits are of these classes
        hits = fake.logits.argmax(1) == fake.labels
        found.scores["conditional_accuracy"] = float(hits.double().mean())
        if how.resamples:
            found.intervals["conditional_accuracy"] = intervals.of_share(hits)
