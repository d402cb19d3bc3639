"""Scores over features, by torch-fidelity's functions: pure functions of tensors and a seed.

Everything random comes from the seed; NumPy's and PyTorch's global generators are neither read nor moved.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orthogan import optional
from orthogan.errors import UserError
from orthogan.metrics import MIN_IMAGES

NEIGHBOURHOOD = 3
"""Which nearest neighbour gives a ball its radius, in precision and recall (Kynkäänniemi et al. 2019, section 2)."""

_NOT_FINITE = "the feature network answers with numbers that are not finite; its weights are damaged"

Statistics = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the number of images decides; part of the protocol."""

    kernel_subset_size: int
    kernel_subsets: int
    classifier_splits: int
    neighbourhood: int = NEIGHBOURHOOD

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
    """Mean and unbiased covariance in float64 of features (N, D)."""
    result = _fidelity("metric_fid").fid_features_to_statistics(features_nd.double())
    if not np.isfinite(result["sigma"]).all():
        raise UserError(_NOT_FINITE)
    return result


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


def precision_recall(real_nd: Tensor, fake_md: Tensor, *, neighbourhood: int = NEIGHBOURHOOD) -> tuple[float, float]:
    """Share of generated images inside the real manifold, and of real ones inside the generated (both in 0..1).

    A manifold is the union of balls around its points that reach their k-th neighbour (Kynkäänniemi et al. 2019).
    """
    fidelity = _fidelity("metric_prc")
    result = fidelity.prc_features_to_metric(
        fake_md,
        real_nd,
        prc_neighborhood=neighbourhood,
        prc_batch_size=2000,
        save_cpu_ram=True,  # rows of distances at a time: the full matrices of 50,000 images take 40 GB
        verbose=False,
    )
    return result[fidelity.KEY_METRIC_PRECISION], result[fidelity.KEY_METRIC_RECALL]


def _fidelity(module: str) -> Any:
    return optional.need(f"torch_fidelity.{module}", "scores", "scoring")


def _for_numpy(seed: int) -> int:
    return seed % 2**32  # the range of numpy.random.RandomState
