"""Adversarial losses: pure functions of logits, one term an image. The step decides how to average."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """`discriminator(real, fake)` and `generator(real, fake)` take logits (N,) and return terms (N,) to be minimised.

    G's terms see the logits of real images only where the loss is `paired`; otherwise `real` is None.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor | None, Tensor], Tensor]
    paired: bool = False
    """Each fake image is judged against a real one, so G's step needs as many real images as fakes."""
    boundary: float | None = 0.0
    """The logit above which D takes an image for real; None where only differences of logits mean anything."""


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))), as SN-GAN's equation 16 and BigGAN."""
    return F.relu(1 - real) + F.relu(1 + fake)


def hinge_g(real: Tensor | None, fake: Tensor) -> Tensor:
    """-D(G(z)), SN-GAN's equation 17."""
    return -fake


def non_saturating_d(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))) (Goodfellow et al. 2014), finite at any logit."""
    return F.softplus(-real) + F.softplus(fake)


def non_saturating_g(real: Tensor | None, fake: Tensor) -> Tensor:
    """-log sigmoid(D(G(z)))."""
    return F.softplus(-fake)


def minimax_g(real: Tensor | None, fake: Tensor) -> Tensor:
    """log(1 - sigmoid(D(G(z)))): what D maximises. Its gradient vanishes where D is sure that the image is fake."""
    return -F.softplus(fake)


def wasserstein_d(real: Tensor, fake: Tensor) -> Tensor:
    """D(G(z)) - D(x) (Arjovsky et al. 2017): minus the estimated distance, if something keeps D Lipschitz."""
    return fake - real


def least_squares_d(real: Tensor, fake: Tensor) -> Tensor:
    """((D(x) - 1)^2 + D(G(z))^2) / 2 (Mao et al. 2017, labels 1 and 0)."""
    return ((real - 1).square() + fake.square()) / 2


def least_squares_g(real: Tensor | None, fake: Tensor) -> Tensor:
    """(D(G(z)) - 1)^2 / 2."""
    return (fake - 1).square() / 2


def relativistic_d(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(x) - D(G(z))): RpGAN (Jolicoeur-Martineau 2020), the loss of R3GAN."""
    return F.softplus(fake - real)


def relativistic_g(real: Tensor | None, fake: Tensor) -> Tensor:
    """-log sigmoid(D(G(z)) - D(x)): the same pairs with the roles exchanged."""
    assert real is not None, "a paired loss needs the logits of the real images"
    return F.softplus(real - fake)


LOSSES = {
    "hinge": Loss(hinge_d, hinge_g),
    "non-saturating": Loss(non_saturating_d, non_saturating_g),
    "minimax": Loss(non_saturating_d, minimax_g),
    "wasserstein": Loss(wasserstein_d, hinge_g, boundary=None),
    "least-squares": Loss(least_squares_d, least_squares_g, boundary=0.5),
    "relativistic": Loss(relativistic_d, relativistic_g, paired=True, boundary=None),
}
