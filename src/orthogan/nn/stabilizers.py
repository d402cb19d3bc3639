"""What a discriminator is built from under each stabiliser of the SN-GAN paper's comparison: layers and norms.

Those that act on the loss or on the weights instead are in `game.regularizers`; here their networks are plain.
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


def parts(stabilizer: Stabilizer, sn_eps: float, bn_eps: float = 1e-4) -> Parts:
    """What a discriminator with this stabiliser is built from."""
    match stabilizer:
        case "spectral-norm":
            return Parts(spectral(sn_eps), no_norm)
        case "weight-norm":
            return Parts(WEIGHT_NORM, no_norm)
        case "batch-norm":
            return Parts(PLAIN, partial(BatchNorm2d, eps=bn_eps))
        case "layer-norm":
            return Parts(PLAIN, layer_norm)
    return Parts(PLAIN, no_norm)
