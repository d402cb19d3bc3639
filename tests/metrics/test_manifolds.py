"""Precision, recall, density and coverage against torch-fidelity, and against the definitions pair by pair."""

import numpy as np
import pytest
import torch

from orthogan.metrics import manifolds as module
from orthogan.metrics.manifolds import Manifolds, manifolds


def gaussian(seed: int, n: int, d: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d)))


def shares(found: Manifolds) -> tuple[float, float, float, float]:
    parts = (found.precise, found.recalled, found.density, found.covered)
    return tuple(float(part.double().mean()) for part in parts)  # type: ignore[return-value]


def test_precision_and_recall_on_a_line() -> None:
    # Real points 0..9: the third neighbour of an inner point is 2 away, of 0 and 9 it is 3 away, of 1 and 8 it is 2.
    # Generated points 100..103 are outside; 4.5 four times over is inside, and its own balls have radius 0.
    real = torch.arange(10.0)[:, None]
    fake = torch.tensor([4.5, 4.5, 4.5, 4.5, 100.0, 101.0, 102.0, 103.0])[:, None]
    assert shares(manifolds(real, fake))[:2] == (pytest.approx(4 / 8), pytest.approx(0))


def test_recall_counts_real_points_inside_generated_balls() -> None:
    # Generated 0..5: third neighbours are 3, 2, 2, 2, 2 and 3 away, so the balls reach from -3 to 8.
    real = torch.tensor([-4.0, -2.5, 0.5, 5.5, 9.0, 20.0])[:, None]
    assert shares(manifolds(real, torch.arange(6.0)[:, None]))[1] == pytest.approx(3 / 6)


def test_density_and_coverage_on_a_line() -> None:
    # With the first neighbour the balls of 0, 1 and 3 are [-1, 1], [0, 2] and [1, 5]: 1 lies in three, 4.5 in one.
    real, fake = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[1.0], [4.5], [30.0], [40.0]])
    found = manifolds(real, fake, neighbourhood=1, density_neighbourhood=1)
    assert found.density.tolist() == [3, 1, 0, 0]
    assert found.covered.tolist() == [True, True, True]
    assert manifolds(real, fake[1:], neighbourhood=1, density_neighbourhood=1).covered.tolist() == [False, False, True]


def test_balls_are_closed() -> None:
    """An image at exactly the radius is inside, on either side: on a line, where all distances are exact."""
    real = torch.arange(4.0)[:, None]  # with the first neighbour their balls reach from -1 to 4
    found = manifolds(real, torch.tensor([[-1.0], [4.0], [4.5], [6.0]]), neighbourhood=1, density_neighbourhood=1)
    assert found.precise.tolist() == [True, True, False, False]
    assert found.density.tolist() == [1, 1, 0, 0]
    assert found.covered.tolist() == [True, False, False, True]
    # The generated ones' own radii are 5, 0.5, 0.5 and 1.5.
    assert found.recalled.tolist() == [True, True, True, True]
    real, fake = torch.tensor([[3.5], [7.5], [7.75]]), torch.tensor([[4.0], [4.5], [6.0]])  # balls to 3.5 and to 7.5
    assert manifolds(real, fake, neighbourhood=1, density_neighbourhood=1).recalled.tolist() == [True, True, False]


def naive(real: np.ndarray, fake: np.ndarray, k: int) -> tuple[float, float]:
    """Density and coverage as Naeem et al. 2020 write them, equations 3 and 4."""
    radii = [sorted(np.linalg.norm(x - y) for y in real)[k] for x in real]
    inside = [[np.linalg.norm(x - y) <= r for y in fake] for x, r in zip(real, radii, strict=True)]
    return np.sum(inside) / (k * len(fake)), float(np.mean([any(row) for row in inside]))


@pytest.mark.parametrize("rows", [7, 1000])
def test_all_four_agree_with_others_whatever_the_rows_at_once(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fidelity = pytest.importorskip("torch_fidelity.metric_prc")
    monkeypatch.setattr(module, "_ROWS", rows)
    real, fake = gaussian(0, 60, 4), gaussian(1, 50, 4) * 0.7 + 0.6
    precision, recall, density, coverage = shares(manifolds(real, fake))
    theirs = fidelity.prc_features_to_metric(
        fake, real, prc_neighborhood=3, prc_batch_size=1000, save_cpu_ram=False, verbose=False
    )
    assert 0 < recall < precision < 1
    assert (precision, recall) == (pytest.approx(theirs["precision"]), pytest.approx(theirs["recall"]))
    assert (density, coverage) == pytest.approx(naive(real.numpy(), fake.numpy(), 5))


def test_a_set_against_itself_is_precise_and_complete() -> None:
    x = gaussian(6, 40, 8)
    precision, recall, density, coverage = shares(manifolds(x, x))
    assert (precision, recall, coverage) == (1, 1, 1)
    assert density > 1  # each image lies in its own ball too
