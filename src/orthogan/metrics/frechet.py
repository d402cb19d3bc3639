"""What every image adds to a Fréchet distance: for its interval, and for distances of few images.

With centred features A (fakes) and B (reals), each row divided by sqrt(n - 1), the covariances are A'A and B'B, and the
trace of the root of their product is the nuclear norm of AB', the sum over images of the diagonal of (AB'BA')^(1/2).
Where an image's weight changes, the norm changes by half its entry of the diagonal: no covariance is inverted, and
fewer images than dimensions do no harm.
"""

import torch
from torch import Tensor


def terms(real_nd: Tensor, fake_md: Tensor) -> tuple[float, Tensor, Tensor]:
    """The squared Fréchet distance, and its first-order changes with the weights of images: float64 (N,) and (M,).

    A change of the weights, from 1 to w, changes the distance by mean((w - 1) * terms) on that side.
    """
    real, fake = real_nd.double(), fake_md.double()
    shift = fake.mean(0) - real.mean(0)
    b, a = _scaled(real), _scaled(fake)
    of_real, of_fake = _diagonals(b, a)
    distance = shift.square().sum() + a.square().sum() + b.square().sum() - of_fake.sum() - of_real.sum()
    return float(distance), _terms(real, b, -shift, of_real), _terms(fake, a, shift, of_fake)


def _terms(x: Tensor, scaled: Tensor, shift: Tensor, diagonal: Tensor) -> Tensor:
    n = len(x)
    found = 2 * (x - x.mean(0)) @ shift + n * (scaled.square().sum(1) - diagonal)
    return found - found.mean()


def _scaled(x_nd: Tensor) -> Tensor:
    return (x_nd - x_nd.mean(0)) / (len(x_nd) - 1) ** 0.5


def _diagonals(b_nd: Tensor, a_md: Tensor) -> tuple[Tensor, Tensor]:
    """Diagonals (N,) and (M,) of the roots of B A'A B' and of A B'B A', whose sums are equal."""
    if max(len(b_nd), len(a_md)) <= b_nd.shape[1]:
        c = b_nd @ a_md.T
        return _root_diagonal(c @ c.T), _root_diagonal(c.T @ c)
    of_b, of_a = b_nd.T @ b_nd, a_md.T @ a_md
    return _diagonal(b_nd, of_b, root(of_a)), _diagonal(a_md, of_a, root(of_b))


def _diagonal(a_nd: Tensor, own: Tensor, half: Tensor) -> Tensor:
    """With `own` A'A and `half` the root of B'B, by the smaller of two symmetric matrices of one spectrum."""
    n, d = a_nd.shape
    if n <= d:
        c = a_nd @ half
        return _root_diagonal(c @ c.T)
    values, vectors = torch.linalg.eigh(half @ own @ half)
    sound = values > values[-1].clamp(min=0) * 1e-13
    inverse = torch.where(sound, values, 1.0).rsqrt() * sound
    return (a_nd @ (half @ vectors)).square() @ inverse


def _root_diagonal(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors.square() @ values.clamp(min=0).sqrt()


def root(matrix: Tensor) -> Tensor:
    """The square root of a symmetric positive matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T
