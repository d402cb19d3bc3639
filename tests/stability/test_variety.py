"""Diversity and distance of images against slow definitions and cases whose answer is plain."""

import math

import pytest
import torch
from torch import Tensor

from orthogan.stability import variety
from orthogan.stability.variety import RealImages


@pytest.fixture
def images() -> Tensor:
    return torch.rand(24, 3, 20, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_features_are_the_same_every_time_and_finite(images: Tensor) -> None:
    one, other = variety.features(images), variety.features(images)
    assert [half.shape for half in one] == [(24, 192), (24, 512)]
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert torch.equal(one[0].view(24, 3, 8, 8), torch.nn.functional.adaptive_avg_pool2d(images, 8))


def test_both_halves_have_a_mean_variance_of_one_share(images: Tensor) -> None:
    placed = RealImages.of(images, {}).features
    for half in (placed[:, :192], placed[:, 192:]):
        assert float(half.square().sum(1).mean()) == pytest.approx(1, abs=1e-4)


def test_the_real_images_themselves_are_as_diverse_and_at_no_distance(images: Tensor) -> None:
    found = RealImages.of(images, {}).signals(images, None)
    assert found == {"diversity": pytest.approx(1), "distance": pytest.approx(0, abs=1e-3)}


def test_diversity_and_distance_by_loops(images: Tensor) -> None:
    real = RealImages.of(images[:14], {})
    found = real.signals(images[14:], None)
    fake = real.place(images[14:])
    pairs = [float((a - b).norm()) for i, a in enumerate(fake) for b in fake[:i]]
    real_pairs = [float((a - b).norm()) for i, a in enumerate(real.features) for b in real.features[:i]]
    assert found["diversity"] == pytest.approx(sum(pairs) / len(pairs) / (sum(real_pairs) / len(real_pairs)), rel=1e-4)
    nearest = [min(float((a - b).norm()) for b in real.features) for a in fake]
    own = [min(float((a - b).norm()) for b in real.features if not torch.equal(a, b)) for a in real.features]
    assert found["distance"] == pytest.approx(sum(nearest) / len(nearest) / (sum(own) / len(own)), rel=1e-3)


def test_images_that_are_all_alike_have_no_diversity(images: Tensor) -> None:
    found = RealImages.of(images, {}).signals(images[:1].expand(10, -1, -1, -1), None)
    assert found["diversity"] == pytest.approx(0, abs=1e-6)


def test_a_class_that_is_lost_is_seen_and_the_others_are_not(images: Tensor) -> None:
    labels = torch.arange(24) % 2
    real = RealImages.of(images, {c: images[labels == c] for c in (0, 1)})
    lost = images.clone()
    lost[labels == 1] = images[1]
    found = real.signals(lost, labels)
    assert found["class_diversity/1"] == pytest.approx(0, abs=1e-6)
    assert found["class_diversity/0"] == pytest.approx(1)
    assert found["class_distance/0"] == pytest.approx(0, abs=1e-6)
    assert found["class_distance/1"] > 0.5


def test_separation_by_hand() -> None:
    """Groups {0, 2} and {10, 12}: 25 between them, 1 within; shares of 25 / 26."""
    groups = [torch.tensor([[0.0], [2.0]]), torch.tensor([[10.0], [12.0]])]
    assert float(variety._between(groups)) == pytest.approx(25 / 26)


def test_real_images_that_are_all_alike_give_no_number() -> None:
    flat = torch.zeros(4, 3, 16, 16)
    found = RealImages.of(flat, {}).signals(flat, None)
    assert all(math.isnan(value) for value in found.values())


def test_indices_are_spread_evenly() -> None:
    assert variety.spread_out(3, 8).tolist() == [0, 1, 2]
    assert variety.spread_out(9, 3).tolist() == [0, 4, 8]


def test_labels_fit_the_images_that_they_belong_to(images: Tensor) -> None:
    labels = torch.arange(24) % 2
    images = images + labels.view(-1, 1, 1, 1)
    real = RealImages.of(images, {c: images[labels == c] for c in (0, 1)})
    assert real.label_fit(images, labels) == pytest.approx(1)
    assert real.label_fit(images, 1 - labels) < -0.5
    half = labels.clone()
    half[:12] = 1 - half[:12]
    assert real.label_fit(images, half) == pytest.approx(0, abs=0.3)
    assert math.isnan(real.label_fit(images, labels + 7)), "classes that are not watched"
