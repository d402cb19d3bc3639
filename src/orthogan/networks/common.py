"""What the families share: shapes to begin with, checks of them, and the way a new network gets its weights."""

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from orthogan.networks.base import Network, NetworkConfig
from orthogan.nn.initializers import Init, initialize
from orthogan.nn.spectral import advance
from orthogan.nn.weight_norm import WeightNorm
from orthogan.settings import require

Row = TypeVar("Row")

SMALLEST = 4
"""Side of the smallest map, where the side of the images is a power of two; else 5 to 7."""


def nearest(published: Mapping[int, Row], resolution: int) -> Row:
    """The row of a table by resolutions whose resolution is nearest as a ratio."""
    return published[min(published, key=lambda known: abs(math.log(known / max(1, resolution))))]


def halvings(resolution: int, smallest: int = 1) -> int:
    """How often a side can be halved without falling below `smallest` pixels."""
    times = 0
    while resolution % 2 == 0 and resolution // 2 >= smallest:
        resolution, times = resolution // 2, times + 1
    return times


def from_four(channels: tuple[int, ...], resolution: int) -> tuple[int, ...]:
    """Multiples for a generator of this resolution whose first map has 4 to 7 pixels a side if that is possible.

    They end like `channels`, whose first is repeated where they are more.
    """
    maps = halvings(resolution, SMALLEST) + 1
    return (channels[0],) * (maps - len(channels)) + channels[-maps:]


def first_side(channels: tuple[int, ...], resolution: int) -> int:
    """Side of a generator's first map, which is doubled after each of `channels` but the last."""
    return resolution >> (len(channels) - 1)


def check_resolution(config: NetworkConfig, resolution: int, step: int) -> None:
    """The resolution is a multiple of what the blocks double or halve it by."""
    below = resolution // step * step
    near = " or ".join(str(r) for r in (below, below + step) if r)
    rule = f"the {config.role}'s blocks need a multiple of {step}: {near}; or start from a preset with fewer blocks"
    require(resolution % step == 0, "resolution", resolution, rule)


def check_doublings(config: NetworkConfig, resolution: int, most: int = 29) -> None:
    """The resolution is that of a map of 4 to 7 pixels a side after 1 to `most` doublings; 29 exceed any image."""
    fitting = [side << times for times in range(1, most + 1) for side in range(SMALLEST, 2 * SMALLEST)]
    near = [r for r in fitting if r < resolution][-1:] + [r for r in fitting if r > resolution][:1]
    rule = f"the {config.role} needs 4 to 7 pixels doubled 1 to {most} times: {' or '.join(map(str, near))}"
    require(resolution in fitting, "resolution", resolution, rule)


def check_attention(config: NetworkConfig, at: int, maps: Mapping[int, int]) -> None:
    """Attention is at 0 (none) or at one of the maps {resolution: channels}, of even side, with enough channels."""
    fitting = [str(r) for r in maps if r % 2 == 0]
    rule = f"must be 0 (none) or a map after a block: {', '.join(fitting)}"
    config.require(at == 0 or str(at) in fitting, "attention", rule)
    channels = maps.get(at, 8)
    config.require(channels % 8 == 0, "attention", f"needs a multiple of 8 channels there, not {channels}")


def check_inputs(network: Network, x: Tensor, shape: tuple[int, ...], y: Tensor | None) -> None:
    """Refuse what would otherwise pass silently: a latent or image of another size, labels that nothing reads."""
    if x.shape[1:] != shape:
        raise ValueError(f"this network takes inputs (N, {', '.join(map(str, shape))}), not {tuple(x.shape)}")
    if y is not None and not network.n_classes:
        raise ValueError("this network has no classes: it takes no labels y")


def first_map(h: Tensor, side: int) -> Tensor:
    """What a generator's linear layer puts out, as a map. (N, C * S * S) -> (N, C, S, S), of `side` S.

    Channels come first in it, as in BigGAN-PyTorch; the TensorFlow weights have them last.
    """
    return h.unflatten(1, (-1, side, side)).contiguous(memory_format=Network.memory_format)


def prepare(network: nn.Module, init: Init | None, adjust: Callable[[], None] = lambda: None) -> None:
    """Initialise a new network, adjust that, and make lengths and singular vectors fit. No-op on the meta device.

    None leaves the weights as PyTorch has drawn them.
    """
    if not any(p.is_meta for p in network.parameters()):
        if init is not None:
            initialize(network, init)
        with torch.no_grad():
            adjust()
        for module in network.modules():
            if isinstance(module, WeightNorm):
                module.reset_lengths()
        advance(network)
