"""What a rule sees of an update: one argument, so that a new need is a field and not a signature."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

Judge = Callable[[Tensor, Tensor | None], Tensor]
"""Images (n, 3, R, R) and labels (n,) -> logits (n,), or (n, K)."""
Imagine = Callable[[Tensor, Tensor | None], Tensor]
"""Latents (n, dim_z) and labels (n,) -> images (n, 3, R, R)."""
Augmented = Callable[[Tensor], Tensor]


def unchanged(images: Tensor) -> Tensor:
    """Without augmentation."""
    return images


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One micro-batch of an update of D, or of G.

    Both networks run in float32, as terms must that are differentiated twice, but for rules that say otherwise.
    """

    generator: Imagine
    discriminator: Judge
    real: Tensor
    """Images (n, 3, R, R) in [-1, 1]."""
    real_labels: Tensor | None
    """Classes (n,) of the real images; None where the networks have no classes."""
    fake: Tensor
    """Images (m, 3, R, R): detached in D's update, a leaf whose gradient goes on to G in G's."""
    fake_labels: Tensor | None
    """Classes (m,) that the fakes were made for."""
    z: Tensor
    """Latents (m, dim_z) of the fakes."""
    uniform: Tensor
    """Numbers (n,) in [0, 1), one a real image, for whatever a rule draws."""
    augment: Augmented = unchanged
    """Images (n, 3, R, R) -> as D sees them, augmented as the real images of this micro-batch are."""
    logits: Sequence[Tensor] | None = None
    """What the loss of D's update has of real and of fake images, (n,) or (n, K), with their graph; None in G's."""
