"""Nearest training images, against slow loops and numbers worked by hand."""

import numpy as np
import pytest
import torch

from orthogan.metrics import neighbours


def noise(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_neighbours_are_those_of_a_loop_over_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "CHUNK", 7)
    queries, references = noise(5, 6, 0), noise(23, 6, 1)
    distances, indices = neighbours.nearest(queries, references, 3)
    for q, query in enumerate(queries.numpy()):
        slow = [float(np.sqrt(((query - reference) ** 2).sum())) for reference in references.numpy()]
        order = np.argsort(slow)[:3]
        assert indices[q].tolist() == order.tolist()
        assert distances[q].numpy() == pytest.approx(np.array(slow)[order], rel=1e-5)


def test_closeness_by_hand() -> None:
    """On a line: training images at 0, 1 and 10; their gaps to the nearest other are 1, 1 and 9."""
    training = torch.tensor([[0.0], [1.0], [10.0]])
    found = neighbours.compare(torch.tensor([[0.25], [-3.0], [14.0], [10.0]]), training, 2)
    assert found.indices[:, 0].tolist() == [0, 0, 2, 2]
    assert found.gaps.tolist() == [1, 1, 9, 9]
    assert found.closer.tolist() == [True, False, True, True]
    assert found.ratios.tolist() == pytest.approx([0.25, 3, 4 / 9, 0])


def test_the_gap_of_a_duplicated_image_is_to_the_nearest_that_differs() -> None:
    training = torch.tensor([[2.0]] * 9 + [[5.0], [9.0]])
    found = neighbours.compare(torch.tensor([[2.0], [3.0], [-2.0], [6.0]]), training, 1)
    assert found.gaps.tolist() == [3, 3, 3, 3]
    assert found.closer.tolist() == [True, True, False, True]
    assert found.ratios.tolist() == pytest.approx([0, 1 / 3, 4 / 3, 1 / 3])


def test_copies_of_duplicated_images_are_closer_than_any_other() -> None:
    training = noise(60, 30, 0).repeat(2, 1)
    found = neighbours.compare(torch.cat([noise(50, 30, 1), training[:50]]), training, 1)
    assert found.closer[50:].all()
    assert sorted(found.ratios.argsort(stable=True)[:50].tolist()) == list(range(50, 100))


def test_of_training_images_that_are_all_the_same_the_gap_is_infinite() -> None:
    found = neighbours.compare(torch.tensor([[2.0], [3.0]]), torch.full((6, 1), 2.0), 1)
    assert found.gaps.isinf().all()
    assert found.ratios.tolist() == [0, 0]


def test_copies_are_at_0() -> None:
    """Also where the difference of squares leaves something: in float64 it does, of most float32 images."""
    training = torch.rand(150, 3072, generator=torch.Generator().manual_seed(0))
    distances, indices = neighbours.nearest(training[:100].clone(), training, 2)
    assert indices[:, 0].tolist() == list(range(100))
    assert (distances[:, 0] == 0).all()
    assert (distances[:, 1] > 1).all()


def test_near_copies_are_not_at_0_in_large_features() -> None:
    """In float32 the squares of such features would swallow the distance."""
    training = 1000 + noise(10, 2000, 0)
    queries = torch.cat([training[:1], training[1:2] + 1e-3])
    distances, indices = neighbours.nearest(queries, training, 1)
    assert indices[:, 0].tolist() == [0, 1]
    assert distances[0, 0] == 0
    assert float(distances[1, 0]) == pytest.approx(float((queries[1] - training[1]).double().norm()))


def test_pixels_of_large_images_are_means_of_squares() -> None:
    images = torch.randint(256, (2, 64, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    by_hand = images.view(2, 32, 2, 32, 2, 3).float().mean((2, 4)).permute(0, 3, 1, 2) / 255
    assert torch.allclose(neighbours.pixels(images), by_hand.flatten(1))
    assert neighbours.pixels(images[:, :16, :16]).shape == (2, 3 * 16 * 16)
