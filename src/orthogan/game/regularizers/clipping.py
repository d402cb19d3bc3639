"""Weight clipping (Arjovsky et al. 2017)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from orthogan.game.regularizers.base import Regularizer, Settings


@dataclass(frozen=True, kw_only=True)
class ClippingSettings(Settings):
    strength: float = 0.01
    """Bound of D's weights with the stabiliser weight-clipping (Arjovsky et al. 2017)."""


class WeightClipping(Regularizer):
    """Every parameter into [-strength, strength] after each step."""

    def __init__(self, settings: ClippingSettings):
        self.settings = settings

    @torch.no_grad()
    def on_weights(self, network: nn.Module, trained: Sequence[nn.Parameter]) -> None:
        torch._foreach_clamp_max_(list(trained), self.settings.strength)
        torch._foreach_clamp_min_(list(trained), -self.settings.strength)
