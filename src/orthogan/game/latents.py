"""Latents and their priors, classes, truncation, and ways between two latents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from orthogan.errors import unknown
from orthogan.randomness import SAMPLE, draw
from orthogan.settings import require

TRUNCATION_FORMS = ("redraw", "scaled")
"""`redraw`: the paper's. `scaled`: the released models', t times a normal truncated to [-2, 2]."""

VARIANCES = (0.5, 1.5)
"""Range of `per-sample-variance`. The paper gives none; this one has the mean variance of the normal prior."""

LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class How:
    """How to draw from a prior: redraw normals beyond `threshold`, then multiply them by `scale`."""

    threshold: float | None = None
    scale: float = 1.0
    progress: float = 1.0
    """Share of the run done, in [0, 1]."""


Generators = torch.Generator | Sequence[torch.Generator]
"""One for all rows, or one for each."""


def _numbers(
    take: Callable[..., Tensor], n: int, dim: int, generator: Generators, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Raw numbers (n, dim). What becomes of them is worked out for all rows at once, whosever they are."""
    if isinstance(generator, torch.Generator):
        return take((n, dim), generator=generator, dtype=dtype)
    return torch.cat([take((1, dim), generator=own, dtype=dtype) for own in generator])


def normals(n: int, dim: int, generator: Generators, how: How, std: float | Tensor = 1.0) -> Tensor:
    """N(0, std^2), truncated as told; std may differ by row (n, 1). The threshold is that of the values drawn."""
    if how.threshold is None:
        return std * _numbers(torch.randn, n, dim, generator)
    z = std * truncated_normal(n, dim, how.threshold / std, generator)
    reach = min(how.threshold, LARGEST)
    return how.scale * z.clamp(-reach, reach)  # the product may round to just beyond it


def annealed_variance(progress: float) -> float:
    """From 2 to 1 in the first half of the run, then 1, so that G ends on the law that is sampled after training.

    The paper names only the two ends and that the schedule was piecewise.
    """
    return 2 - min(2 * progress, 1.0)


def normal(n: int, dim: int, generator: Generators, how: How) -> Tensor:
    """N(0, I)."""
    return normals(n, dim, generator, how)


def uniform(n: int, dim: int, generator: Generators, how: How) -> Tensor:
    """U[-1, 1]; redrawing what lies beyond t leaves U[-t, t], which is also t U[-1, 1]."""
    reach = 1.0 if how.threshold is None else how.scale * min(how.threshold, 1.0)
    return reach * (2 * _numbers(torch.rand, n, dim, generator) - 1)


def bernoulli(n: int, dim: int, generator: Generators, how: How) -> Tensor:
    """0 or 1, equally likely."""
    return _numbers(partial(torch.randint, 2), n, dim, generator)


def rademacher(n: int, dim: int, generator: Generators, how: How) -> Tensor:
    """-1 or 1."""
    return 2 * bernoulli(n, dim, generator, how) - 1


def censored_normal(n: int, dim: int, generator: Generators, how: How) -> Tensor:
    """max(N(0, I), 0). The normal is truncated before it is censored, so that half of the components stay 0."""
    return normals(n, dim, generator, how).clamp(min=0)


def categorical(n: int, dim: int, generator: Generators, how: How) -> Tensor:
    """-1, 0 or 1."""
    return _numbers(partial(torch.randint, -1, 2), n, dim, generator)


def normal_times_bernoulli(n: int, dim: int, generator: Generators, how: How) -> Tensor:
    """A normal that is switched off in half of the components; truncation is that of the normal."""
    return normals(n, dim, generator, how) * bernoulli(n, dim, generator, how)


def normal_and_bernoulli(n: int, dim: int, generator: Generators, how: How) -> Tensor:
    """Normal in the first half (the larger one of an odd dim), 0 or 1 in the second, which truncation leaves alone."""
    discrete = dim // 2
    return torch.cat([normals(n, dim - discrete, generator, how), bernoulli(n, discrete, generator, how)], dim=1)


def annealed_normal(n: int, dim: int, generator: Generators, how: How) -> Tensor:
    """N(0, sigma I), sigma a variance that falls from 2 to 1 over the run."""
    return normals(n, dim, generator, how, annealed_variance(how.progress) ** 0.5)


def per_sample_variance(n: int, dim: int, generator: Generators, how: How) -> Tensor:
    """N(0, sigma_i I), sigma_i uniform in VARIANCES, one for each row; redrawing keeps the row's sigma_i."""
    low, high = VARIANCES
    variance = low + (high - low) * _numbers(torch.rand, n, 1, generator)
    return normals(n, dim, generator, how, variance.sqrt())


@dataclass(frozen=True)
class Prior:
    """A law of latents: `draw(n, dim, generator, how)` gives (n, dim), float32, on the CPU."""

    draw: Callable[[int, int, Generators, How], Tensor]
    untruncatable: str | None = None
    """Why truncation is refused; None where it has a meaning."""
    limit: float = float("inf")
    """The largest threshold that changes anything."""


PRIORS = {
    "normal": Prior(normal),
    "uniform": Prior(uniform, limit=1.0),
    "bernoulli": Prior(bernoulli, "is 0 or 1: a threshold below 1 leaves one single latent, all zeros"),
    "rademacher": Prior(rademacher, "is -1 or 1: a threshold below 1 leaves nothing to draw"),
    "censored-normal": Prior(censored_normal),
    "categorical": Prior(categorical, "is -1, 0 or 1: a threshold below 1 leaves one single latent, all zeros"),
    "normal-times-bernoulli": Prior(normal_times_bernoulli),
    "normal-and-bernoulli": Prior(normal_and_bernoulli),
    "annealed-normal": Prior(annealed_normal),
    "per-sample-variance": Prior(per_sample_variance),
}
"""The latents of BigGAN's appendix E."""


def check_truncation(truncation: float | None, form: str, prior: str = "normal") -> None:
    """Refuse thresholds that the form or the prior does not have. None means the plain prior."""
    if prior not in PRIORS:
        raise unknown("prior", prior, PRIORS)
    require(form in TRUNCATION_FORMS, "truncation_form", form, f"must be one of {', '.join(TRUNCATION_FORMS)}")
    reason, limit = PRIORS[prior].untruncatable, PRIORS[prior].limit
    if truncation is None:
        rule = "needs a truncation threshold; give one in (0, 1]"
        if reason:
            rule = f"is a form of truncation, and prior={prior!r} {reason}; leave it at 'redraw'"
        require(form == "redraw", "truncation_form", form, rule)
        return
    way_out = "leave the threshold out, or use a model trained on normal latents"
    require(reason is None, "truncation", truncation, f"prior={prior!r} {reason}; {way_out}")
    require(truncation > 0, "truncation", truncation, "must be positive; 0.04 is the paper's smallest")
    if form == "scaled":
        require(truncation <= 1, "truncation", truncation, "the scaled form takes thresholds in (0, 1]")
    rule = f"prior={prior!r} has nothing beyond {limit:g}; give a threshold in (0, {limit:g}], or leave it out"
    require(truncation <= limit, "truncation", truncation, rule)


def truncated_normal(n: int, dim: int, threshold: float | Tensor, generator: Generators) -> Tensor:
    """N(0, 1) given |z| <= threshold: the law that redrawing every component outside it has (BigGAN, section 3.1).

    Drawn by inverting the distribution function in float64, so that a threshold of 0.04 costs what one of 2 does.
    The threshold may differ by row (n, 1).
    """
    bound = torch.as_tensor(threshold, dtype=torch.float64)
    tail = torch.special.ndtr(-bound)
    quantile = tail + (1 - 2 * tail) * _numbers(torch.rand, n, dim, generator, torch.float64)
    return torch.special.ndtri(quantile).clamp(-bound, bound).float()


def sample_latents(
    n: int,
    dim: int,
    generator: Generators,
    truncation: float | None = None,
    form: str = "redraw",
    prior: str = "normal",
    progress: float = 1.0,
) -> Tensor:
    """Latents (n, dim) of a prior at a truncation threshold, or plain ones, when a share of the run is done.

    Of a generator for each row, a row is what its own gives alone, to the last bit.
    """
    check_truncation(truncation, form, prior)
    threshold, scale = (truncation, 1.0) if truncation is None or form == "redraw" else (2.0, truncation)
    return PRIORS[prior].draw(n, dim, generator, How(threshold, scale, progress))


def latents_at(
    seed: int,
    first: int,
    n: int,
    dim: int,
    truncation: float | None = None,
    form: str = "redraw",
    prior: str = "normal",
) -> Tensor:
    """The latents of samples first ... first + n - 1 of a seed, each drawn by its own index: (n, dim)."""
    own = [draw(seed, SAMPLE, i) for i in range(first, first + n)]
    return sample_latents(n, dim, own, truncation, form, prior)


def uniform_classes(n: int, n_classes: int, generator: torch.Generator) -> Tensor:
    """Class indices (n,), each class equally likely."""
    return torch.randint(n_classes, (n,), generator=generator)


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Straight line from a to b at t (steps,): a, b (..., d) -> (steps, ..., d)."""
    t = t.view(-1, *(1 for _ in a.shape))
    return a + t * (b - a)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Great circle from a to b at t (steps,), which keeps the length typical of a normal latent on the way.

    Falls back to the straight line where the directions (almost) coincide or oppose each other.
    """
    cosine = torch.cosine_similarity(a, b, dim=-1).clamp(-1, 1)[..., None]
    angle = torch.arccos(cosine)
    t_ = t.view(-1, *(1 for _ in a.shape))
    arc = (torch.sin((1 - t_) * angle) * a + torch.sin(t_ * angle) * b) / torch.sin(angle)
    return torch.where(torch.sin(angle).abs() < 1e-4, lerp(a, b, t), arc)
