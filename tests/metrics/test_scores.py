"""The scores against closed forms and slow, direct definitions."""

import numpy as np
import pytest
import scipy.linalg
import torch

from orthogan.errors import UserError
from orthogan.metrics import scores, titles


def gaussian(seed: int, n: int, d: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d)))


def moments(mean: list[float], covariance: np.ndarray) -> scores.Statistics:
    return {"mu": np.array(mean, dtype=np.float64), "sigma": np.asarray(covariance, dtype=np.float64)}


# Fréchet distance


def test_frechet_distance_of_axis_aligned_gaussians_is_what_the_hand_computes():
    a = moments([0, 3], np.diag([1, 9]))
    b = moments([4, 0], np.diag([4, 1]))
    assert scores.frechet_distance(a, b) == pytest.approx(4**2 + 3**2 + (1 - 2) ** 2 + (3 - 1) ** 2, rel=1e-12)


def root(matrix: np.ndarray) -> np.ndarray:
    """Square root of a symmetric positive matrix by its eigenvectors, which the code under test does not use."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def closed_form(a: scores.Statistics, b: scores.Statistics) -> float:
    """Symmetric form of the same trace: tr (A^(1/2) B A^(1/2))^(1/2)."""
    half = root(a["sigma"])
    cross = np.trace(root(half @ b["sigma"] @ half))
    return ((a["mu"] - b["mu"]) ** 2).sum() + np.trace(a["sigma"]) + np.trace(b["sigma"]) - 2 * cross


def test_frechet_distance_of_general_gaussians_equals_the_symmetric_form():
    mix = gaussian(0, 12, 12).numpy()
    a, b = moments([0.5] * 12, mix @ mix.T), moments([0] * 12, np.eye(12) + mix.T @ mix)
    assert scores.frechet_distance(a, b) == pytest.approx(closed_form(a, b), rel=1e-6)


def test_frechet_distance_with_fewer_images_than_dimensions_equals_the_symmetric_form():
    a, b = scores.statistics(gaussian(1, 15, 40)), scores.statistics(gaussian(2, 20, 40) + 1)
    assert scores.frechet_distance(a, b) == pytest.approx(closed_form(a, b), rel=1e-6)


def test_frechet_distance_needs_no_matrix_square_root_of_scipy(monkeypatch: pytest.MonkeyPatch):
    def removed(*args: object, **kwargs: object) -> None:
        raise TypeError("sqrtm() got an unexpected keyword argument 'disp'")

    monkeypatch.setattr(scipy.linalg, "sqrtm", removed)
    a, b = scores.statistics(gaussian(1, 50, 4)), scores.statistics(gaussian(2, 50, 4))
    assert scores.frechet_distance(a, b) == pytest.approx(closed_form(a, b), rel=1e-6)


def test_statistics_are_mean_and_unbiased_covariance_in_float64():
    found = scores.statistics(torch.tensor([[1.0, 0.0], [3.0, 4.0]]))
    assert found["mu"].tolist() == [2, 2]
    assert found["sigma"].tolist() == [[2, 4], [4, 8]]
    assert found["mu"].dtype == found["sigma"].dtype == np.float64


def test_statistics_refuse_features_that_are_not_finite():
    with pytest.raises(UserError, match="not finite"):
        scores.statistics(torch.tensor([[1.0, float("nan")], [3.0, 4.0]]))


# Classifier score


def test_classifier_score_of_uniform_probabilities_is_one():
    assert scores.classifier_score(torch.zeros(30, 7), seed=0, splits=1) == (pytest.approx(1), 0)


def test_classifier_score_of_certain_and_even_answers_is_the_number_of_classes():
    certain = 100 * torch.eye(5).repeat(8, 1)
    assert scores.classifier_score(certain, seed=0, splits=1)[0] == pytest.approx(5)


def test_classifier_score_of_a_hand_made_case():
    # Two images, two classes: p = (3/4, 1/4) and (1/4, 3/4), so p(y) = 1/2 each and KL = ln 2 - H(1/4).
    logits = torch.tensor([[3.0, 1.0], [1.0, 3.0]]).log()
    by_hand = 2 * 0.25**0.25 * 0.75**0.75
    assert scores.classifier_score(logits, seed=0, splits=1)[0] == pytest.approx(by_hand, rel=1e-6)


# Kernel distance


def direct_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate of the squared MMD, summed pair by pair."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    within_x = sum(kernel(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(kernel(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    between = sum(kernel(a, b) for a in x for b in y) / (n * m)
    return within_x + within_y - 2 * between


def test_kernel_distance_equals_the_direct_sum():
    real, fake = gaussian(3, 12, 5), gaussian(4, 12, 5) + 0.5
    mean, spread = scores.kernel_distance(real, fake, seed=0, subsets=1, subset_size=12)
    assert mean == pytest.approx(direct_mmd(real.numpy(), fake.numpy()), rel=1e-9)
    assert spread == 0


def test_kernel_distance_draws_its_subsets_from_the_seed_alone():
    real, fake = gaussian(3, 30, 5), gaussian(4, 30, 5)
    first, again, other = (
        scores.kernel_distance(real, fake, seed=seed, subsets=4, subset_size=10) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_scores_leave_global_random_numbers_alone():
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    scores.kernel_distance(gaussian(3, 20, 5), gaussian(4, 20, 5), seed=1, subsets=3, subset_size=10)
    scores.classifier_score(gaussian(5, 20, 3), seed=1, splits=2)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


# Settings and names


def test_settings_follow_the_number_of_images():
    assert scores.Settings.of(50_000, 50_000) == scores.Settings(
        kernel_subset_size=1000, kernel_subsets=100, classifier_splits=10
    )
    assert scores.Settings.of(64, 64) == scores.Settings(kernel_subset_size=64, kernel_subsets=1, classifier_splits=1)
    assert scores.Settings.of(5000, 300).kernel_subsets == 100


@pytest.mark.parametrize(("n_real", "n_fake", "side"), [(9, 100, "real"), (100, 9, "generated")])
def test_too_few_images_are_refused_by_number(n_real: int, n_fake: int, side: str):
    with pytest.raises(UserError, match=f"at least 10 {side} images, got 9"):
        scores.Settings.of(n_real, n_fake)


def test_only_inception_gets_the_famous_names():
    assert titles.title("frechet_distance", "inception") == "FID"
    for score in titles.TITLES.keys() - titles._OF_PIXELS:
        assert "efficientnet-lite0" in titles.title(score, "efficientnet-lite0")
        assert not any(name in titles.title(score, "efficientnet-lite0") for name in ("FID", "KID", "Inception"))


# Distances over CLIP


def test_clip_mmd_equals_the_sum_over_pairs() -> None:
    real, fake = gaussian(0, 9, 4), gaussian(1, 7, 4) + 0.5
    x, y = (side / side.norm(dim=1, keepdim=True) for side in (real, fake))

    def mean(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(np.mean([np.exp(-float((p - q).square().sum()) / (2 * 10**2)) for p in a for q in b]))

    by_hand = 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))
    assert scores.clip_mmd(real, fake) == pytest.approx(by_hand, rel=1e-9)
    assert titles.title("clip_mmd", titles.CMMD_NETWORK) == "CMMD"


def test_statistics_of_many_images_are_numpy_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "_ROWS", 7)
    x = gaussian(0, 50, 4).float() + 100
    found = scores.statistics(x)
    assert found["mu"] == pytest.approx(x.double().numpy().mean(0), rel=1e-14)
    assert found["sigma"] == pytest.approx(np.cov(x.double().numpy(), rowvar=False), rel=1e-12)
