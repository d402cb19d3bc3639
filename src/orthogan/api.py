"""What `import orthogan` offers."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from orthogan.config import NetworkConfig
from orthogan.errors import UserError
from orthogan.model import Model, load
from orthogan.networks import build_discriminator, build_generator
from orthogan.presets import get
from orthogan.settings import override

__all__ = ["Model", "Pair", "UserError", "build", "load"]


@dataclass(frozen=True)
class Pair:
    """The two networks of a configuration."""

    generator: nn.Module
    discriminator: nn.Module
    config: NetworkConfig


def build(preset: str, *, device: str = "cpu", **network: Any) -> Pair:
    """The untrained networks of a preset, with settings of its network replaced by keyword.

    `build("biggan-128", device="meta", width=64)` costs no memory and counts parameters. Raises `UserError` for an
    unknown preset or setting.
    """
    run = override(get(preset), {f"network.{key}": value for key, value in network.items()})
    with torch.device("meta") if device == "meta" else nullcontext():
        pair = Pair(build_generator(run.network), build_discriminator(run.network), run.network)
    if device != "meta":
        pair.generator.to(device)
        pair.discriminator.to(device)
    return pair
