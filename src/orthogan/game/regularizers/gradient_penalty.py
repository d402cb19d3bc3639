"""The gradient penalty of WGAN-GP (Gulrajani et al. 2017)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from orthogan.game.moment import Moment
from orthogan.game.regularizers.base import Regularizer, Settings


@dataclass(frozen=True, kw_only=True)
class GradientPenaltySettings(Settings):
    strength: float = 10.0
    """Weight of the penalty with the stabilisers gradient-penalty and wgan-gp (Gulrajani et al. 2017)."""


class GradientPenalty(Regularizer):
    """strength * (||grad D(x')|| - 1)^2 at x' between a real and a fake image (equation 3)."""

    differentiates_twice = True

    def __init__(self, settings: GradientPenaltySettings):
        self.settings = settings

    def on_loss(self, moment: Moment) -> Tensor:
        between = torch.lerp(moment.fake, moment.real, moment.uniform[:, None, None, None]).requires_grad_()
        logits = moment.discriminator(moment.augment(between), moment.real_labels)
        (gradient,) = torch.autograd.grad(logits.sum(), between, create_graph=True)
        return self.settings.strength * (gradient.flatten(1).norm(dim=1) - 1).square()
