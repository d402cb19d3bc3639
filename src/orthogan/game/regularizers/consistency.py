"""Consistency of D under transforms of real images (Zhang et al. 2020, CR-GAN)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogan.game.moment import Moment
from orthogan.game.regularizers.base import Regularizer, Settings
from orthogan.nn.resample import shift

SHIFT = 4
"""Largest shift, in pixels each way."""


@dataclass(frozen=True, kw_only=True)
class ConsistencySettings(Settings):
    strength: float = 0.0
    """Weight of D's consistency on real images that are mirrored and shifted (Zhang et al. 2020: 10)."""


class Consistency(Regularizer):
    """strength * (D(x) - D(T(x)))^2 on real images x, T a random mirror and shift."""

    def __init__(self, settings: ConsistencySettings):
        self.settings = settings

    def on_loss(self, moment: Moment) -> Tensor:
        plain = moment.discriminator(moment.real, moment.real_labels)
        moved = moment.discriminator(mirror_and_shift(moment.real, moment.uniform), moment.real_labels)
        return self.settings.strength * (plain - moved).square()


def mirror_and_shift(x: Tensor, uniform: Tensor) -> Tensor:
    """Images (N, C, H, W), each mirrored or not and shifted by -SHIFT ... SHIFT pixels, its border repeated.

    The uniform numbers (N,) in [0, 1) choose one of the 2 * 9 * 9 transforms of each image.
    """
    span = 2 * SHIFT + 1
    chosen = (uniform * 2 * span**2).long()
    mirrored, down, right = chosen // span**2, chosen // span % span - SHIFT, chosen % span - SHIFT
    return shift(torch.where(mirrored[:, None, None, None] == 1, x.flip(3), x), down, right)
