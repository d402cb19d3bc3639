"""Intervals against what repeated draws from known distributions show."""

from collections.abc import Callable

import pytest
import torch
from scipy.stats import norm

from orthogan.metrics import frechet, intervals, scores
from orthogan.metrics.intervals import Resampling

Z = float(norm.ppf(0.975))


def draws(seed: int, n: int, d: int) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    real = torch.randn(n, d, generator=source, dtype=torch.float64)
    return real, 1.2 * torch.randn(n, d, generator=source, dtype=torch.float64) + 0.4


def error(interval: list[float]) -> float:
    return (interval[1] - interval[0]) / (2 * Z)


def test_of_means_is_the_textbook_interval() -> None:
    real, fake = torch.linspace(-1, 1, 200), torch.linspace(-1, 3, 300)
    low, high = intervals.of_sum_of_means(7.0, Resampling(0, 4000), real=real, fake=fake)
    expected = Z * float(real.var() / 200 + fake.var() / 300) ** 0.5
    assert high - 7 == pytest.approx(expected, rel=0.05)
    assert 7 - low == pytest.approx(expected, rel=0.05)


def test_same_seed_same_interval() -> None:
    terms = torch.linspace(-1, 1, 50)
    first, again, other = (intervals.of_sum_of_means(0.0, Resampling(seed, 100), x=terms) for seed in (1, 1, 2))
    assert first == again != other


def test_resampled_means_are_means_of_drawn_images() -> None:
    values = torch.arange(12.0).reshape(4, 3)
    how = Resampling(3, 150)  # in two goes
    counts = torch.cat(list(how.counts("x", 4)))
    assert counts.shape == (150, 4)
    assert (counts.sum(1) == 4).all()
    assert not torch.equal(counts[:50], counts[100:])
    torch.testing.assert_close(how.means("x", values)[120], (counts[120] @ values.double()) / 4)


def test_a_share_of_none_and_of_all_has_a_width() -> None:
    assert intervals.of_share(torch.zeros(20, dtype=torch.bool)) == pytest.approx([0, 0.1611], abs=1e-4)
    # Wilson's by hand: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    hits = torch.arange(50) < 20
    middle, half = (0.4 + Z**2 / 100) / (1 + Z**2 / 50), Z * (0.24 / 50 + Z**2 / 10_000) ** 0.5 / (1 + Z**2 / 50)
    assert intervals.of_share(hits) == pytest.approx([middle - half, middle + half])


def of_frechet(real: torch.Tensor, fake: torch.Tensor, how: Resampling) -> tuple[float, list[float]]:
    value, of_real, of_fake = frechet.terms(real, fake)
    return value, intervals.of_sum_of_means(value, how, real=of_real, fake=of_fake)


def of_kernel(real: torch.Tensor, fake: torch.Tensor, how: Resampling) -> tuple[float, list[float]]:
    value, _ = scores.kernel_distance(real, fake, seed=0, subsets=1, subset_size=len(real))
    return value, scores.kernel_interval(value, real, fake, how, 1)


def of_classifier(real: torch.Tensor, fake: torch.Tensor, how: Resampling) -> tuple[float, list[float]]:
    value, _ = scores.classifier_score(fake, seed=0, splits=1)
    return value, scores.classifier_interval(value, fake, how)


def of_clip(real: torch.Tensor, fake: torch.Tensor, how: Resampling) -> tuple[float, list[float]]:
    value = scores.clip_mmd(real, fake)
    return value, scores.clip_interval(value, real, fake, how)


@pytest.mark.parametrize("score", [of_frechet, of_kernel, of_classifier, of_clip])
def test_intervals_are_as_wide_as_the_scores_of_new_images_scatter(score: Callable[..., tuple[float, list[float]]]):
    # Deviation over 150 draws, known to 6 %, and the mean of what ten of them say of themselves.
    found = [score(*draws(seed, 200, 4), Resampling(seed, 200 if seed < 10 else 2)) for seed in range(150)]
    scatter = float(torch.tensor([value for value, _ in found], dtype=torch.float64).std())
    told = sum(error(interval) for _, interval in found[:10]) / 10
    assert told == pytest.approx(scatter, rel=0.25)


def test_of_more_images_than_are_resampled_the_interval_is_narrower(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = draws(0, 800, 4)
    whole = error(scores.kernel_interval(0.0, *sides, Resampling(0, 300), 1))
    monkeypatch.setattr(intervals, "KERNEL_IMAGES", 200)
    assert error(scores.kernel_interval(0.0, *sides, Resampling(0, 300), 1)) == pytest.approx(whole, rel=0.3)


def naive_kernel_distances(x: torch.Tensor, y: torch.Tensor, how: Resampling, n: int) -> torch.Tensor:
    """Squared MMDs of resamples, each drawn as a list of images; pairs of one image with itself are left out."""
    found = []
    for w, v in zip(how.counts("kernel/real", n), how.counts("kernel/fake", n), strict=True):
        for real_counts, fake_counts in zip(w.long(), v.long(), strict=True):
            i, j = (torch.arange(n).repeat_interleave(counts) for counts in (real_counts, fake_counts))

            def mean(a: torch.Tensor, b: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
                return ((a @ b.T / a.shape[1] + 1) ** 3)[others].mean()

            everything = torch.ones(n, n, dtype=torch.bool)
            within = mean(x[i], x[i], i[:, None] != i) + mean(y[j], y[j], j[:, None] != j)
            found.append(within - 2 * mean(x[i], y[j], everything))
    return torch.stack(found)


@pytest.mark.parametrize(("images", "subsets"), [(30, 1), (120, 1), (120, 5)])
def test_a_kernel_s_interval_is_that_of_distances_of_drawn_images(images: int, subsets: int) -> None:
    """Narrowed to the root of what the images are fewer, and widened by averaging over subsets at random."""
    n, how = 30, Resampling(2, 100)
    real, fake = draws(1, n, 3)
    kernels = tuple((a @ b.T / 3 + 1) ** 3 for a, b in ((real, real), (fake, fake), (real, fake)))
    low, high = intervals.of_kernel(5.0, how, kernels, images, subsets)  # type: ignore[arg-type]
    replicates = naive_kernel_distances(real, fake, how, n)
    share = min(1.0, n / images + (1 / subsets if subsets > 1 else 0))
    expected = 5 + (torch.quantile(replicates, torch.tensor([0.025, 0.975]).double()) - replicates.mean()) * share**0.5
    assert [low, high] == pytest.approx(expected.tolist())
