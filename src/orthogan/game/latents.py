"""Latents, classes, truncation, and ways between two latents."""

import torch
from torch import Tensor

from orthogan.config import require
from orthogan.randomness import draw

TRUNCATION_FORMS = ("redraw", "scaled")
"""`redraw`: the paper's. `scaled`: the released models', t times a normal truncated to [-2, 2]."""


def check_truncation(truncation: float | None, form: str) -> None:
    """Refuse thresholds that the form does not have. None means the plain normal distribution."""
    require(form in TRUNCATION_FORMS, "truncation_form", form, f"must be one of {', '.join(TRUNCATION_FORMS)}")
    if truncation is None:
        require(form == "redraw", "truncation_form", form, "needs a truncation threshold; give one in (0, 1]")
        return
    require(truncation > 0, "truncation", truncation, "must be positive; 0.04 is the paper's smallest")
    if form == "scaled":
        require(truncation <= 1, "truncation", truncation, "the scaled form takes thresholds in (0, 1]")


def normal(n: int, dim: int, generator: torch.Generator) -> Tensor:
    """N(0, I) latents, (n, dim), on the CPU."""
    return torch.randn(n, dim, generator=generator)


def truncated_normal(n: int, dim: int, threshold: float, generator: torch.Generator) -> Tensor:
    """N(0, 1) given |z| <= threshold: the law that redrawing every component outside it has (BigGAN, section 3.1).

    Drawn by inverting the distribution function in float64, so that a threshold of 0.04 costs what one of 2 does.
    """
    tail = torch.special.ndtr(torch.tensor(-threshold, dtype=torch.float64))
    quantile = tail + (1 - 2 * tail) * torch.rand(n, dim, generator=generator, dtype=torch.float64)
    return torch.special.ndtri(quantile).clamp(-threshold, threshold).float()


def sample_latents(
    n: int, dim: int, generator: torch.Generator, truncation: float | None = None, form: str = "redraw"
) -> Tensor:
    """Latents (n, dim) at a truncation threshold, or plain normal ones."""
    check_truncation(truncation, form)
    if truncation is None:
        return normal(n, dim, generator)
    if form == "scaled":
        return truncation * truncated_normal(n, dim, 2.0, generator)
    return truncated_normal(n, dim, truncation, generator)


def latents_at(
    seed: int, first: int, n: int, dim: int, truncation: float | None = None, form: str = "redraw"
) -> Tensor:
    """The latents of samples first ... first + n - 1 of a seed, each drawn by its own index: (n, dim)."""
    rows = (sample_latents(1, dim, draw(seed, "sample", i), truncation, form) for i in range(first, first + n))
    return torch.cat(list(rows))


def uniform_classes(n: int, n_classes: int, generator: torch.Generator) -> Tensor:
    """Class indices (n,), each class equally likely."""
    return torch.randint(n_classes, (n,), generator=generator)


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Straight line from a to b at t (steps,): a, b (..., d) -> (steps, ..., d)."""
    t = t.view(-1, *(1 for _ in a.shape))
    return a + t * (b - a)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Great circle from a to b at t (steps,), which keeps the length typical of a normal latent on the way.

    Falls back to the straight line where the directions (almost) coincide.
    """
    cosine = torch.cosine_similarity(a, b, dim=-1).clamp(-1, 1)[..., None]
    angle = torch.arccos(cosine)
    t_ = t.view(-1, *(1 for _ in a.shape))
    arc = (torch.sin((1 - t_) * angle) * a + torch.sin(t_ * angle) * b) / torch.sin(angle)
    return torch.where(torch.sin(angle).abs() < 1e-4, lerp(a, b, t), arc)
