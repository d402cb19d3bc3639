"""Scores within classes against the same scores of each class alone."""

import numpy as np
import pytest
import torch

from orthogan.metrics import by_class as module
from orthogan.metrics import scores
from orthogan.metrics.by_class import by_class
from orthogan.metrics.intervals import Resampling

NAMES = ["cat", "dog", "emu"]
LABELS = torch.arange(90) % 3


def features(seed: int) -> torch.Tensor:
    """Three classes apart from each other, in 4 dimensions."""
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((90, 4)))
    return x + 5 * torch.nn.functional.one_hot(LABELS, 4)


def mean_squared_distance(x: torch.Tensor) -> float:
    """Of all pairs, one by one."""
    pairs = [(x[i] - x[j]).square().sum() for i in range(len(x)) for j in range(i)]
    return float(torch.stack(pairs).mean())


def test_each_class_is_scored_as_if_alone() -> None:
    real, fake = features(0), features(1) * 0.9
    found = by_class((real, LABELS), (fake, LABELS), NAMES, Resampling(0, 200))
    alone = {
        name: scores.frechet_distance(
            scores.statistics(real[index == LABELS]), scores.statistics(fake[index == LABELS])
        )
        for index, name in enumerate(NAMES)
    }
    assert {name: of["frechet_distance"] for name, of in found.classes.items()} == pytest.approx(alone, rel=1e-6)
    assert found.scores["intra_frechet_distance"] == pytest.approx(sum(alone.values()) / 3, rel=1e-6)
    dog = found.classes["dog"]
    apart = [mean_squared_distance(x[LABELS == 1]) for x in (fake, real)]
    assert (dog["real"], dog["generated"]) == (30, 30)
    assert dog["diversity"] == pytest.approx(apart[0] / apart[1])
    assert found.notes == []
    for name, (low, high) in found.intervals.items():
        assert low < found.scores[name] < high


def test_diversity_is_that_of_all_pairs_whatever_the_numbers_of_images() -> None:
    more = torch.cat([features(1), features(2) * 1.5])
    labels = torch.cat([LABELS, LABELS])
    found = by_class((features(0)[:45], LABELS[:45]), (more, labels), NAMES, Resampling(0, 0))
    real, fake = (mean_squared_distance(x) for x in (features(0)[:45][LABELS[:45] == 2], more[labels == 2]))
    assert found.classes["emu"]["diversity"] == pytest.approx(fake / real)


def test_the_interval_of_diversity_is_as_wide_as_that_of_a_ratio_of_means() -> None:
    """By the delta method: the relative variances of both sides add up, and the ratio scales them."""
    real = torch.from_numpy(np.random.default_rng(0).standard_normal((600, 4)))
    fake = 2 * torch.from_numpy(np.random.default_rng(1).standard_normal((600, 4)))
    labels = torch.arange(600) % 2
    found = by_class((real, labels), (fake, labels), ["a", "b"], Resampling(0, 2000))
    squares = []
    for side in (real, fake):
        for label in (0, 1):
            terms = (side[labels == label] - side[labels == label].mean(0)).square().sum(1)
            squares.append(float(terms.var() / terms.mean() ** 2 / len(terms)))
    ratios = [found.classes[name]["diversity"] for name in "ab"]
    each = [ratio**2 * (squares[i] + squares[i + 2]) for i, ratio in enumerate(ratios)]
    low, high = found.intervals["class_diversity"]
    assert (high - low) / (2 * 1.96) == pytest.approx(sum(each) ** 0.5 / 2, rel=0.1)


def test_a_generator_of_one_image_a_class_has_no_diversity() -> None:
    same = 5 * torch.nn.functional.one_hot(LABELS, 4).double()
    found = by_class((features(0), LABELS), (same, LABELS), NAMES, Resampling(0, 0))
    assert found.scores["class_diversity"] == 0
    assert found.intervals == {}
    assert by_class((same, LABELS), (same, LABELS), NAMES, Resampling(0, 100)).scores["class_diversity"] == 0


def test_mixed_up_classes_show_within_classes_and_not_over_all() -> None:
    real = features(0)
    found = by_class((real, LABELS), (real, (LABELS + 1) % 3), NAMES, Resampling(0, 0))
    assert found.scores["intra_frechet_distance"] > 40  # the classes lie 5 * sqrt(2) apart


def test_classes_with_few_images_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    few = torch.where((LABELS == 1) & (torch.arange(90) > 20), -1, LABELS)
    found = by_class((features(0), LABELS), (features(1), few), NAMES, Resampling(0, 0))
    assert found.classes.keys() == {"cat", "emu"}
    assert found.notes == ["1 of 3 classes have fewer than 10 real or generated images and are left out: dog"]
    monkeypatch.setattr(module, "MIN_IMAGES", 31)
    nothing = by_class((features(0), LABELS), (features(1), LABELS), NAMES, Resampling(0, 0))
    assert (nothing.scores, nothing.classes) == ({}, {})
    assert "cat, dog, emu" in nothing.notes[0]


def test_classes_of_fewer_images_than_dimensions_have_distances_too() -> None:
    wide = torch.nn.functional.pad(features(0), (0, 40))
    found = by_class((wide, LABELS), (wide, LABELS), NAMES, Resampling(0, 0))
    assert found.scores["intra_frechet_distance"] == pytest.approx(0, abs=1e-6)
