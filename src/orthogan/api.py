"""What `import orthogan` offers."""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from orthogan.config import RunConfig
from orthogan.errors import UserError
from orthogan.formats import whole_paths
from orthogan.model import Model, load
from orthogan.networks.base import Discriminator, Generator
from orthogan.pair import build_pair, with_networks
from orthogan.presets import get
from orthogan.settings import flatten, override

__all__ = ["Model", "Pair", "UserError", "build", "load"]


@dataclass(frozen=True)
class Pair:
    """The two networks of a configuration."""

    generator: Generator
    discriminator: Discriminator
    config: RunConfig


def build(
    preset: str,
    *,
    device: str = "cpu",
    generator: str | None = None,
    discriminator: str | None = None,
    **settings: Any,
) -> Pair:
    """The untrained networks of a preset, or others by name, with settings replaced by keyword.

    `build("biggan-128", device="meta", width=64)` costs no memory and counts parameters. A setting that both networks
    have goes to both; one of a single network is given by its path: `**{"discriminator.downs": 3}`. Raises `UserError`
    for an unknown preset, network or setting.
    """
    names = {"generator": generator, "discriminator": discriminator}
    run = with_networks(get(preset), names, settings.get("resolution"))
    known = flatten(run)
    run = override(run, {path: value for name, value in settings.items() for path in whole_paths(name, known)})
    with torch.device("meta") if device == "meta" else nullcontext():
        pair = Pair(*build_pair(run), run)
    if device != "meta":
        pair.generator.to(device)
        pair.discriminator.to(device)
    return pair
