"""R1, the gradient penalty at real images (Mescheder et al. 2018), now and then as in StyleGAN2."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from orthogan.game.moment import Moment
from orthogan.game.regularizers.base import Regularizer, Settings
from orthogan.settings import require


@dataclass(frozen=True, kw_only=True)
class R1Settings(Settings):
    example: ClassVar[str] = "10"

    strength: float = 0.0
    """gamma of the penalty gamma / 2 * |grad D|^2 at real images (StyleGAN2 10, ADA 0.0002 * resolution^2 / batch)."""
    interval: int = 16
    """Updates of D for one with the penalty, which is multiplied by as many (StyleGAN2 16, Mescheder et al. 1)."""

    def check(self, where: str) -> None:
        super().check(where)
        require(self.interval > 0, f"{where}.interval", self.interval, "must be positive")


class R1(Regularizer):
    """strength / 2 * |grad D(augment(x))|^2 by the pixels of a real image x; of several logits, D is their sum."""

    differentiates_twice = True

    def __init__(self, settings: R1Settings):
        self.settings, self.interval = settings, settings.interval

    def on_loss(self, moment: Moment) -> Tensor:
        x = moment.real.detach().requires_grad_()
        logits = moment.discriminator(moment.augment(x), moment.real_labels)
        (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return self.interval * self.settings.strength / 2 * gradient.square().sum((1, 2, 3))
