"""Singular values of every weight matrix of a network: exactly, or quickly while it trains."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from scipy.sparse.linalg import ArpackError, svds
from torch import Tensor, nn

from orthogan.nn.layers import Conv2d, Linear
from orthogan.nn.singular import FIRST_ITERATIONS, Subspaces, matrices, matrix
from orthogan.nn.singular import layers as layers_of

K = 3
"""How many are kept: those of the BigGAN paper's figure 3."""

Spectrum = dict[str, list[float]]
"""The largest singular values by layer, falling; fewer than K where the matrix has no more."""


def exact(network: nn.Module, k: int = K) -> Spectrum:
    """By Arnoldi iteration, of the weights before normalisation; seconds for large networks. NaN: not finite."""
    return {name: top_singular_values(m, k).tolist() for name, m in matrices(network).items()}


def live(network: nn.Module, k: int = K) -> Spectrum:
    """By block iteration on the network's device, within about 1 %.

    It begins at the same vectors every time. What it says is then a function of the weights alone, and a resumed run
    writes the lines of the uninterrupted one without a state to keep.
    """
    found = {name: m.detach() for name, m in matrices(network).items()}
    if not found:
        return {}
    values = Subspaces(found).update(found, k, FIRST_ITERATIONS).tolist()
    return {name: [_short(v) for v in row if math.isfinite(v)] for name, row in zip(found, values, strict=True)}


def top_singular_values(rows: Tensor, k: int = K) -> np.ndarray:
    """The k largest, or all where there are fewer, falling, in float64: ARPACK's Arnoldi iteration, as in the paper.

    LAPACK where ARPACK cannot: of nearly as many values as there are, and of matrices of zeros.
    """
    a = rows.detach().double().cpu().numpy()
    if k < min(a.shape) and np.isfinite(a).all():
        start = np.random.default_rng(0).standard_normal(min(a.shape))
        try:
            return np.sort(svds(a, k, v0=start, solver="arpack", return_singular_vectors=False))[::-1]
        except ArpackError:
            pass
    return all_singular_values(torch.from_numpy(a))[:k].numpy()


def all_singular_values(rows: Tensor) -> Tensor:
    """By LAPACK, on the CPU, in the precision of the matrix. NaN where it is not finite, which LAPACK refuses."""
    rows = rows.detach().cpu()
    if not torch.isfinite(rows).all():
        return rows.new_full((min(rows.shape),), math.nan)
    return torch.linalg.svdvals(rows)


@torch.no_grad()
def of_weights_in_use(network: nn.Module) -> Mapping[str, Tensor]:
    """All singular values, by layer, of what linear layers and convolutions multiply with.

    Those with one output or input have no spectrum and are left out, and so are embeddings.
    """
    kinds = (layer for layer in layers_of(network).items() if isinstance(layer[1], Linear | Conv2d))
    found = {name: matrix(layer, in_use=True).float() for name, layer in kinds}
    return {name: all_singular_values(m) for name, m in found.items() if min(m.shape) > 1}


def _short(value: float) -> float:
    """With the digits that it has."""
    return float(f"{value:.6g}")
