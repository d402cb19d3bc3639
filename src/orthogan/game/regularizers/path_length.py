"""StyleGAN2's path length regularisation (Karras et al. 2020, equation 4), now and then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, cast

import torch
from torch import Tensor, nn

from orthogan.game.moment import Moment
from orthogan.game.regularizers.base import Regularizer, Settings
from orthogan.game.regularizers.processes import over_processes
from orthogan.nn.noise import PATH_LENGTH, Noise, keys, normals
from orthogan.settings import require


@dataclass(frozen=True, kw_only=True)
class PathLengthSettings(Settings):
    example: ClassVar[str] = "2"

    strength: float = 0.0
    """Weight of G's path length regularisation (StyleGAN2: 2)."""
    interval: int = 4
    """Updates of G for one with the penalty, which is multiplied by as many (StyleGAN2 4)."""
    decay: float = 0.01
    """Share of the new mean length in the running one (StyleGAN2 0.01)."""
    batch_shrink: int = 2
    """The penalty is of one in so many images of a micro-batch, the first one at least (StyleGAN2 2)."""

    def check(self, where: str) -> None:
        super().check(where)
        require(self.interval > 0, f"{where}.interval", self.interval, "must be positive")
        require(0 < self.decay <= 1, f"{where}.decay", self.decay, "must be in (0, 1]")
        require(self.batch_shrink > 0, f"{where}.batch_shrink", self.batch_shrink, "must be positive")


class Styled(Protocol):
    """A generator with an intermediate latent, as far as the rule knows it: see `orthogan.networks.base`."""

    noise: str

    def styles(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """w (N, L, D)."""

    def synthesize(self, w: Tensor, noise: Noise) -> Tensor:
        """Images (N, 3, R, R)."""


class PathLength(Regularizer):
    """strength * (|J^T y| - a)^2, J the derivative of an image by w, y a random image, a the running mean of |J^T y|.

    The length of a w with several layers is the root of the mean square over them. In the penalty the running mean is
    that with the micro-batch's own lengths, through which gradients go. What is kept has those of all micro-batches
    and processes, once an update.
    """

    def __init__(self, settings: PathLengthSettings):
        self.settings, self.interval = settings, settings.interval
        self.mean = torch.zeros(())
        self._found: list[Tensor] = []

    def on_loss(self, moment: Moment) -> Tensor:
        # One in so many, and not the first so many: the same ones however the batch is split into multiples of it.
        some = slice(None, None, self.settings.batch_shrink)
        g, z = cast(Styled, moment.generator), moment.z[some]
        y = None if moment.fake_labels is None else moment.fake_labels[some]
        lengths = path_lengths(g, z, y)
        self._found.append(lengths.detach().mean())
        mean = torch.lerp(self.mean.to(lengths.device), lengths.mean(), self.settings.decay)
        return self.interval * self.settings.strength * (lengths - mean).square()

    @torch.no_grad()
    def on_weights(self, network: nn.Module, trained: Sequence[nn.Parameter]) -> None:
        if self._found:
            found = over_processes(torch.stack(self._found).mean())
            self.mean = torch.lerp(self.mean.to(found.device), found, self.settings.decay)
            self._found = []

    def state_dict(self) -> dict[str, Tensor]:
        return {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.mean = state["mean"].clone()


def path_lengths(g: Styled, z: Tensor, y: Tensor | None) -> Tensor:
    """|J^T y| (N,) at latents (N, dim_z), with y of N(0, 1) / sqrt(pixels), a function of the latent."""
    w, of = g.styles(z, y), keys(z)  # (N, L, D)
    images = g.synthesize(w, Noise(g.noise, of))  # (N, 3, R, R)
    pixels = images.shape[2] * images.shape[3]
    toward = normals(of, PATH_LENGTH, *images.shape[1:]) / pixels**0.5
    (gradient,) = torch.autograd.grad((images * toward).sum(), w, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()
