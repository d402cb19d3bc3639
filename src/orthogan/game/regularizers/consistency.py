"""Consistency of D under transforms of real images (Zhang et al. 2020, CR-GAN)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogan.game.moment import Moment
from orthogan.game.regularizers.base import Regularizer, Settings

SHIFT = 4
"""Largest shift, in pixels each way."""


@dataclass(frozen=True, kw_only=True)
class ConsistencySettings(Settings):
    strength: float = 0.0
    """Weight of D's consistency on real images that are mirrored and shifted (Zhang et al. 2020: 10)."""


class Consistency(Regularizer):
    """weight * (D(x) - D(T(x)))^2 on real images x, T a random mirror and shift."""

    def __init__(self, weight: float = 10.0):
        self.weight = weight

    def on_loss(self, moment: Moment) -> Tensor:
        plain = moment.discriminator(moment.real, moment.real_labels)
        moved = moment.discriminator(mirror_and_shift(moment.real, moment.uniform), moment.real_labels)
        return self.weight * (plain - moved).square()


def build(settings: ConsistencySettings) -> Regularizer:
    return Consistency(settings.strength)


def mirror_and_shift(x: Tensor, uniform: Tensor) -> Tensor:
    """Images (N, C, H, W), each mirrored or not and shifted by -SHIFT ... SHIFT pixels, its border repeated.

    The uniform numbers (N,) in [0, 1) choose one of the 2 * 9 * 9 transforms of each image.
    """
    span = 2 * SHIFT + 1
    chosen = (uniform * 2 * span**2).long()
    mirrored, down, right = chosen // span**2, chosen // span % span - SHIFT, chosen % span - SHIFT
    height, width = x.shape[2:]
    rows = (torch.arange(height, device=x.device) + down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) + right[:, None]).clamp(0, width - 1)
    columns = torch.where(mirrored[:, None] == 1, width - 1 - columns, columns)
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return x[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
