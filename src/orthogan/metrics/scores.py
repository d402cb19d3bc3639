"""Scores over features, by torch-fidelity's functions where it has them: pure functions of tensors and a seed.

Everything random comes from the seed; NumPy's and PyTorch's global generators are neither read nor moved.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from orthogan import optional
from orthogan.errors import UserError
from orthogan.metrics import MIN_IMAGES, intervals
from orthogan.metrics.intervals import Interval, Resampling
from orthogan.metrics.manifolds import DENSITY_NEIGHBOURHOOD, NEIGHBOURHOOD
from orthogan.randomness import draw

CLIP_BANDWIDTH, CLIP_SCALE = 10.0, 1000.0
"""Of the kernel, and what the distance is multiplied by, in the authors' code of CMMD (Jayasumana et al. 2024)."""

_ROWS = 1024
"""Rows of features in float64 at a time."""
_NOT_FINITE = "the feature network answers with numbers that are not finite; its weights are damaged"

Statistics = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the number of images decides; part of the protocol."""

    kernel_subset_size: int
    kernel_subsets: int
    classifier_splits: int
    neighbourhood: int = NEIGHBOURHOOD
    density_neighbourhood: int = DENSITY_NEIGHBOURHOOD

    @classmethod
    def of(cls, n_real: int, n_fake: int) -> "Settings":
        """100 subsets of 1,000 images for KID and splits of 5,000 for the classifier score, where there are enough.

        Raises UserError below MIN_IMAGES images on either side.
        """
        check_count("real", n_real)
        check_count("generated", n_fake)
        subset = min(1000, n_real, n_fake)
        return cls(
            kernel_subset_size=subset,
            kernel_subsets=1 if subset == max(n_real, n_fake) else 100,
            classifier_splits=min(10, max(1, n_fake // 5000)),
        )


def check_count(side: str, n: int) -> None:
    """Raises UserError for too few images of a side, real or generated."""
    if n < MIN_IMAGES:
        raise UserError(f"scores need at least {MIN_IMAGES} {side} images, got {n}")


def statistics(features_nd: Tensor) -> Statistics:
    """Mean and unbiased covariance in float64 of features (N, D), which are never copied whole."""
    middle = mean(features_nd)
    sigma = covariance(features_nd, middle)
    if not torch.isfinite(sigma).all():
        raise UserError(_NOT_FINITE)
    return {"mu": middle.numpy(), "sigma": sigma.numpy()}


def mean(x_nd: Tensor) -> Tensor:
    found = torch.zeros(x_nd.shape[1], dtype=torch.float64)
    for rows in x_nd.split(_ROWS):
        found += rows.double().sum(0) / len(x_nd)
    return found


def covariance(x_nd: Tensor, middle: Tensor) -> Tensor:
    """Unbiased, of rows with this mean."""
    found = torch.zeros(len(middle), len(middle), dtype=torch.float64)
    for rows in centred(x_nd, middle):
        found.addmm_(rows.T, rows, alpha=1 / (len(x_nd) - 1))
    return found


def centred(x_nd: Tensor, middle: Tensor) -> Iterator[Tensor]:
    """Blocks of rows without their mean, float64."""
    for rows in x_nd.split(_ROWS):
        yield rows.double() - middle


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """Squared Fréchet distance of two Gaussians, |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Heusel et al. 2017)."""
    fidelity = _fidelity("metric_fid")
    return fidelity.fid_statistics_to_metric(a, b, verbose=False)[fidelity.KEY_METRIC_FID]


def kernel_distance(
    real_nd: Tensor, fake_md: Tensor, *, seed: int, subsets: int, subset_size: int
) -> tuple[float, float]:
    """Mean and deviation over subsets of the unbiased squared MMD with kernel (x.y / D + 1)^3 (Bińkowski et al. 2018).

    In float64: the distance is a small difference of large sums. May be slightly negative.
    """
    fidelity = _fidelity("metric_kid")
    result = fidelity.kid_features_to_metric(
        fake_md.double(),
        real_nd.double(),
        kid_subsets=subsets,
        kid_subset_size=subset_size,
        rng_seed=_for_numpy(seed),
        verbose=False,
    )
    return result[fidelity.KEY_METRIC_KID_MEAN], result[fidelity.KEY_METRIC_KID_STD]


def classifier_score(logits_nk: Tensor, *, seed: int, splits: int) -> tuple[float, float]:
    """Mean and deviation over splits of exp(mean KL(p(y|x) || p(y))), from 1 to K (Salimans et al. 2016).

    It is the Inception Score only for logits of the feature network `inception`.
    """
    fidelity = _fidelity("metric_isc")
    if not torch.isfinite(logits_nk).all():
        raise UserError(_NOT_FINITE)
    result = fidelity.isc_features_to_metric(logits_nk, splits=splits, shuffle=True, rng_seed=_for_numpy(seed))
    return result[fidelity.KEY_METRIC_ISC_MEAN], result[fidelity.KEY_METRIC_ISC_STD]


def classifier_interval(value: float, logits_nk: Tensor, how: Resampling) -> Interval:
    """Of the classifier score, by resampling all images together whatever the splits."""
    logs = logits_nk.double().log_softmax(1)
    own = (logs.exp() * logs).sum(1, keepdim=True)  # minus each image's entropy
    means = how.means("classifier", torch.cat([own, logs.exp()], 1))
    marginal = means[:, 1:]
    return intervals.around(value, (means[:, 0] - torch.xlogy(marginal, marginal).sum(1)).exp())


def clip_mmd(real_nd: Tensor, fake_md: Tensor) -> float:
    """CMMD (Jayasumana et al. 2024): 1000 times the biased squared MMD of embeddings of length 1, a Gaussian kernel."""
    real, fake = (F.normalize(side.double(), dim=1) for side in (real_nd, fake_md))

    def mean_kernel(a: Tensor, b: Tensor) -> float:
        return sum(float(_gaussian(rows, b).sum()) for rows in a.split(_ROWS)) / (len(a) * len(b))

    return CLIP_SCALE * (mean_kernel(real, real) + mean_kernel(fake, fake) - 2 * mean_kernel(real, fake))


def _gaussian(a: Tensor, b: Tensor) -> Tensor:
    """Kernel (n, m) of rows of length 1, of which squared distances are 2 - 2 a.b."""
    return ((a @ b.T - 1) / CLIP_BANDWIDTH**2).exp()


def _cubic(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def kernel_interval(value: float, real_nd: Tensor, fake_md: Tensor, how: Resampling, subsets: int) -> Interval:
    """Of the kernel distance, a mean over so many random subsets."""
    return intervals.of_kernel(value, how, _kernels(_cubic, real_nd, fake_md, how), _fewer(real_nd, fake_md), subsets)


def clip_interval(value: float, real_nd: Tensor, fake_md: Tensor, how: Resampling) -> Interval:
    """Of CMMD."""
    sides = F.normalize(real_nd.double(), dim=1), F.normalize(fake_md.double(), dim=1)
    kernels = tuple(CLIP_SCALE * kernel for kernel in _kernels(_gaussian, *sides, how))
    return intervals.of_kernel(value, how, kernels, _fewer(*sides), 1)


def _kernels(
    kernel: Callable[[Tensor, Tensor], Tensor], real_nd: Tensor, fake_md: Tensor, how: Resampling
) -> tuple[Tensor, ...]:
    """Kernels of real, of fake, and of real with fake images, of as many of each as are resampled."""
    count = min(intervals.KERNEL_IMAGES, _fewer(real_nd, fake_md))
    real, fake = (
        side[torch.randperm(len(side), generator=draw(how.seed, f"scores/kernel/{name}", len(side)))[:count]].double()
        for name, side in (("real", real_nd), ("fake", fake_md))
    )
    return kernel(real, real), kernel(fake, fake), kernel(real, fake)


def _fewer(real_nd: Tensor, fake_md: Tensor) -> int:
    return min(len(real_nd), len(fake_md))


def _fidelity(module: str) -> Any:
    return optional.need(f"torch_fidelity.{module}", "scores", "scoring")


def _for_numpy(seed: int) -> int:
    return seed % 2**32  # the range of numpy.random.RandomState
