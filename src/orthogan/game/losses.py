"""Adversarial losses: pure functions of logits, one term an image. The step decides how to average."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """`discriminator(real, fake)` and `generator(fake)` take logits (N,) and return terms (N,) to be minimised."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))), as SN-GAN's equation 16 and BigGAN."""
    return F.relu(1 - real) + F.relu(1 + fake)


def hinge_g(fake: Tensor) -> Tensor:
    """-D(G(z)), SN-GAN's equation 17."""
    return -fake


def non_saturating_d(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))) (Goodfellow et al. 2014), finite at any logit."""
    return F.softplus(-real) + F.softplus(fake)


def non_saturating_g(fake: Tensor) -> Tensor:
    """-log sigmoid(D(G(z)))."""
    return F.softplus(-fake)


LOSSES = {
    "hinge": Loss(hinge_d, hinge_g),
    "non-saturating": Loss(non_saturating_d, non_saturating_g),
}
