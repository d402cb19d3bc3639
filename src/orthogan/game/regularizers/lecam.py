"""LeCam regularisation, for little data (Tseng et al. 2021): D's logits stay near their running averages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.game.moment import Moment
from orthogan.game.regularizers.base import Regularizer, Settings
from orthogan.game.regularizers.processes import over_processes
from orthogan.settings import require


@dataclass(frozen=True, kw_only=True)
class LeCamSettings(Settings):
    example: ClassVar[str] = "0.1"

    strength: float = 0.0
    """Weight of LeCam regularisation of D's logits (Tseng et al. 2021)."""
    decay: float = 0.99
    """Share of the running averages of D's logits that an update keeps (Tseng et al. 2021: 0.99)."""

    def check(self, where: str) -> None:
        super().check(where)
        require(0 <= self.decay < 1, f"{where}.decay", self.decay, "must be in [0, 1)")


class LeCam(Regularizer):
    """strength * (relu(D(x) - a_fake)^2 + relu(a_real - D(G(z)))^2), a the running averages of D's logits.

    The averages are over the updates before this one, all their micro-batches and processes; in the first update they
    are 0. The logits are those of the loss, of augmented images where these are.
    """

    def __init__(self, settings: LeCamSettings):
        self.settings = settings
        self.means, self.updates = torch.zeros(2), torch.zeros((), dtype=torch.float64)
        """Of the logits of real images and of fakes, and over how many updates."""
        self._found: list[Tensor] = []

    def on_loss(self, moment: Moment) -> Tensor:
        assert moment.logits is not None
        on_real, on_fake = (logits.float() for logits in moment.logits)
        self._found.append(torch.stack([on_real.mean(), on_fake.mean()]).detach())
        real, fake = self.means.to(on_real.device)
        return self.settings.strength * (F.relu(on_real - fake).square() + F.relu(real - on_fake).square())

    @torch.no_grad()
    def on_weights(self, network: nn.Module, trained: Sequence[nn.Parameter]) -> None:
        found = over_processes(torch.stack(self._found).mean(0))
        self._found = []
        self.updates = self.updates.to(found.device) + 1
        # The average of few updates is not pulled towards the 0 that it began at (Kingma and Ba 2015, section 3).
        decay = self.settings.decay
        share = (1 - decay) / (1 - decay**self.updates)
        self.means = torch.lerp(self.means.to(found.device), found, share.float())

    def state_dict(self) -> dict[str, Tensor]:
        return {"means": self.means, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.means, self.updates = state["means"].clone(), state["updates"].clone()
