"""What the families share: checks of their shapes, and the way a new network gets its weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from orthogan.config import NetworkConfig
from orthogan.nn.initializers import Init, initialize
from orthogan.nn.spectral import advance
from orthogan.nn.weight_norm import WeightNorm
from orthogan.settings import require

MOST = 2**31
"""No size of a network reaches this: PyTorch could not count the elements."""


def check_positive(config: NetworkConfig, *names: str) -> None:
    """Each of these settings is a positive number, or a tuple of some."""
    for name in names:
        value = getattr(config, name)
        least = min(value, default=0) if isinstance(value, tuple) else value
        require(least > 0, f"network.{name}", value, "must be positive")
        most = max(value) if isinstance(value, tuple) else value
        require(most < MOST, f"network.{name}", value, f"must be below {MOST}")


def check_resolution(resolution: int, step: int) -> None:
    """The resolution is a multiple of what the blocks double or halve it by."""
    below = resolution // step * step
    near = " or ".join(str(r) for r in (below, below + step) if r)
    rule = f"these blocks need a multiple of {step}: {near}; or start from a preset with fewer blocks"
    require(resolution % step == 0, "network.resolution", resolution, rule)


def check_attention(name: str, at: int, maps: dict[int, int]) -> None:
    """Attention is at 0 (none) or at one of the maps {resolution: channels}, of even side, with enough channels."""
    fitting = [str(r) for r in maps if r % 2 == 0]
    rule = f"must be 0 (none) or a map after a block: {', '.join(fitting)}"
    require(at == 0 or str(at) in fitting, f"network.{name}", at, rule)
    channels = maps.get(at, 8)
    require(channels % 8 == 0, f"network.{name}", at, f"needs a multiple of 8 channels there, not {channels}")


def check_inputs(x: Tensor, shape: tuple[int, ...], y: Tensor | None, config: NetworkConfig) -> None:
    """Refuse what would otherwise pass silently: a latent or image of another size, labels that nothing reads."""
    if x.shape[1:] != shape:
        raise ValueError(f"this network takes inputs (N, {', '.join(map(str, shape))}), not {tuple(x.shape)}")
    if y is not None and not config.n_classes:
        raise ValueError("this network has no classes: it takes no labels y")


def prepare(network: nn.Module, init: Init, adjust: Callable[[], None] = lambda: None) -> None:
    """Initialise a new network, adjust that, and make lengths and singular vectors fit. No-op on the meta device."""
    if not any(p.is_meta for p in network.parameters()):
        initialize(network, init)
        with torch.no_grad():
            adjust()
        for module in network.modules():
            if isinstance(module, WeightNorm):
                module.reset_lengths()
        advance(network)
