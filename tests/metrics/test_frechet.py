"""What every image adds to a Fréchet distance, against differences of the distance itself."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from orthogan.metrics import frechet, scores


def gaussian(seed: int, n: int, d: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d)))


@pytest.mark.parametrize(("n", "m", "d"), [(60, 50, 6), (20, 15, 40), (20, 60, 40), (60, 20, 40)])
def test_the_distance_is_that_of_the_moments(n: int, m: int, d: int) -> None:
    real, fake = gaussian(0, n, d), 1.3 * gaussian(1, m, d) + 0.4
    whole = scores.frechet_distance(scores.statistics(real), scores.statistics(fake))
    assert frechet.terms(real, fake)[0] == pytest.approx(whole, rel=1e-6)


def weighted(x: torch.Tensor, w: torch.Tensor) -> scores.Statistics:
    """Moments with weights, by their definition."""
    share, n = w / w.sum(), len(x)
    mean = share @ x
    sigma = ((x - mean) * share[:, None]).T @ (x - mean) * n / (n - 1)
    return {"mu": mean.numpy(), "sigma": sigma.numpy()}


@pytest.mark.parametrize("side", ["real", "fake"])
def test_terms_are_the_derivatives_by_the_weights_of_images(side: str) -> None:
    real, fake = gaussian(0, 40, 5), 1.3 * gaussian(1, 30, 5) + 0.4
    _, *found = frechet.terms(real, fake)
    x, terms = (real, found[0]) if side == "real" else (fake, found[1])
    assert float(terms.mean()) == pytest.approx(0, abs=1e-12)
    for i in range(5):
        step = 1e-4 * torch.eye(len(x), dtype=torch.float64)[i]
        higher, lower = weighted(x, 1 + step), weighted(x, 1 - step)
        other = scores.statistics(fake if side == "real" else real)
        slope = (scores.frechet_distance(higher, other) - scores.frechet_distance(lower, other)) / 2e-4
        assert len(x) * slope == pytest.approx(float(terms[i]), rel=1e-5)


def test_fewer_images_than_dimensions_have_the_terms_of_the_space_that_they_span() -> None:
    real, fake = gaussian(0, 40, 5), gaussian(1, 30, 5) + 0.4
    turn = torch.linalg.qr(gaussian(2, 50, 5)).Q.T  # 5 dimensions inside 50
    for here, there in zip(frechet.terms(real, fake)[1:], frechet.terms(real @ turn, fake @ turn)[1:], strict=True):
        torch.testing.assert_close(here, there, rtol=1e-5, atol=1e-5)


class Largest(TorchDispatchMode):
    """Remembers the most numbers that one operation has given."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        each = found if isinstance(found, tuple | list) else [found]
        self.numbers = max([self.numbers, *(x.numel() for x in each if isinstance(x, torch.Tensor))])
        return found


def test_many_images_are_read_in_blocks_and_never_copied_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = gaussian(0, 400, 6), 1.3 * gaussian(1, 300, 6) + 0.4
    whole = frechet.terms(real, fake)
    monkeypatch.setattr(scores, "_ROWS", 32)
    with Largest() as largest:
        found = frechet.terms(real, fake)
    assert largest.numbers == 400
    for blocks, once in zip(found, whole, strict=True):
        torch.testing.assert_close(torch.as_tensor(blocks), torch.as_tensor(once), rtol=1e-10, atol=1e-10)
