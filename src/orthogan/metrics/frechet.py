"""What every image adds to a Fréchet distance: for its interval, and for distances of few images.

With centred features A (fakes) and B (reals), each row divided by sqrt(n - 1), the covariances are A'A and B'B, and the
trace of the root of their product is the nuclear norm of AB', the sum over images of the diagonal of (AB'BA')^(1/2).
Where an image's weight changes, the norm changes by half its entry of the diagonal: no covariance is inverted, and
fewer images than dimensions do no harm. More are read in blocks of rows, and never copied whole.
"""

import torch
from torch import Tensor

from orthogan.metrics.scores import centred, covariance, mean


def terms(real_nd: Tensor, fake_md: Tensor) -> tuple[float, Tensor, Tensor]:
    """The squared Fréchet distance, and its first-order changes with the weights of images: float64 (N,) and (M,).

    A change of the weights, from 1 to w, changes the distance by mean((w - 1) * terms) on that side.
    """
    means = mean(real_nd), mean(fake_md)
    few = max(len(real_nd), len(fake_md)) <= real_nd.shape[1]
    of_real, of_fake = (_of_few if few else _of_many)((real_nd, means[0]), (fake_md, means[1]))
    shift = means[1] - means[0]
    on_real, on_fake = _squares(real_nd, means[0]), _squares(fake_md, means[1])
    distance = shift.square().sum() + on_fake.sum() + on_real.sum() - of_fake.sum() - of_real.sum()
    return (
        float(distance),
        _terms(real_nd, means[0], -shift, on_real - of_real),
        _terms(fake_md, means[1], shift, on_fake - of_fake),
    )


def _terms(x: Tensor, middle: Tensor, shift: Tensor, excess: Tensor) -> Tensor:
    found = 2 * torch.cat([rows @ shift for rows in centred(x, middle)]) + len(x) * excess
    return found - found.mean()


def _squares(x: Tensor, middle: Tensor) -> Tensor:
    """What each image (N,) adds to the trace of the covariance."""
    return torch.cat([rows.square().sum(1) for rows in centred(x, middle)]) / (len(x) - 1)


Side = tuple[Tensor, Tensor]
"""Features (N, D) and their mean."""


def _of_few(real: Side, fake: Side) -> tuple[Tensor, Tensor]:
    """Diagonals (N,) and (M,) of the roots of B A'A B' and of A B'B A', whose sums are equal."""
    c = _scaled(*real) @ _scaled(*fake).T
    return _root_diagonal(c @ c.T), _root_diagonal(c.T @ c)


def _of_many(real: Side, fake: Side) -> tuple[Tensor, Tensor]:
    """The same where a side has more images than dimensions, by its covariances."""
    of_real, of_fake = covariance(*real), covariance(*fake)
    return _diagonal(*real, of_real, _root(of_fake)), _diagonal(*fake, of_fake, _root(of_real))


def _diagonal(x: Tensor, middle: Tensor, own: Tensor, half: Tensor) -> Tensor:
    """With `own` A'A and `half` the root of B'B, by the smaller of two symmetric matrices of one spectrum."""
    n, d = x.shape
    if n <= d:
        c = _scaled(x, middle) @ half
        return _root_diagonal(c @ c.T)
    values, vectors = torch.linalg.eigh(half @ own @ half)
    sound = values > values[-1].clamp(min=0) * 1e-13
    inverse = torch.where(sound, values, 1.0).rsqrt() * sound
    turned = half @ vectors
    return torch.cat([(rows @ turned).square() @ inverse for rows in centred(x, middle)]) / (n - 1)


def _scaled(x: Tensor, middle: Tensor) -> Tensor:
    return torch.cat(list(centred(x, middle))) / (len(x) - 1) ** 0.5


def _root_diagonal(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors.square() @ values.clamp(min=0).sqrt()


def _root(matrix: Tensor) -> Tensor:
    """The square root of a symmetric positive matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
