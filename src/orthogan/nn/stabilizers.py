"""The stabilisers of the SN-GAN paper's comparison: what each builds D from, and what else it brings along.

Everything that is particular to one stabiliser stands in its row of the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import nn

from orthogan.nn.layers import PLAIN, Layers
from orthogan.nn.norm import BatchNorm2d
from orthogan.nn.spectral import spectral
from orthogan.nn.weight_norm import WEIGHT_NORM

Stabilizer = Literal[
    "none",
    "spectral-norm",
    "weight-norm",
    "weight-clipping",
    "gradient-penalty",
    "wgan-gp",
    "batch-norm",
    "layer-norm",
    "orthonormal",
]


@dataclass(frozen=True)
class Parts:
    """Constructors that blocks build with: layers, and a norm for so many channels."""

    layers: Layers
    norm: Callable[[int], nn.Module]


def no_norm(channels: int) -> nn.Module:
    return nn.Identity()


def layer_norm(channels: int) -> nn.Module:
    """Over channels and pixels of each image, with a gain and a bias a channel (Ba et al. 2016)."""
    return nn.GroupNorm(1, channels)


def plain(sn_eps: float, bn_eps: float) -> Parts:
    return Parts(PLAIN, no_norm)


@dataclass(frozen=True)
class Kind:
    """A stabiliser."""

    parts: Callable[[float, float], Parts] = plain
    """From the eps of spectral norm and that of batch norm."""
    rule: str | None = None
    """The rule of `game.regularizers` that it is, where it acts on the loss or on the weights."""
    loss: str | None = None
    """The only loss that it goes with."""
    otherwise: str | None = None
    """The stabiliser that is the same with other losses."""
    contains: tuple[str, ...] = ()
    """Rules that would do again what it does."""


STABILIZERS: dict[str, Kind] = {
    "none": Kind(),
    "spectral-norm": Kind(lambda sn_eps, bn_eps: Parts(spectral(sn_eps), no_norm)),
    "weight-norm": Kind(lambda sn_eps, bn_eps: Parts(WEIGHT_NORM, no_norm)),
    "weight-clipping": Kind(rule="d_clip"),
    "gradient-penalty": Kind(rule="d_penalty"),
    "wgan-gp": Kind(rule="d_penalty", loss="wasserstein", otherwise="gradient-penalty"),
    "batch-norm": Kind(lambda sn_eps, bn_eps: Parts(PLAIN, partial(BatchNorm2d, eps=bn_eps))),
    "layer-norm": Kind(lambda sn_eps, bn_eps: Parts(PLAIN, layer_norm)),
    "orthonormal": Kind(rule="d_orthonormal", contains=("d_ortho",)),
}


def parts(stabilizer: Stabilizer, sn_eps: float, bn_eps: float = 1e-4) -> Parts:
    """What a discriminator with this stabiliser is built from."""
    return STABILIZERS[stabilizer].parts(sn_eps, bn_eps)
