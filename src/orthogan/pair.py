"""The two networks of a run: built from its configuration, and replaced in it by name."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

from orthogan.config import RunConfig
from orthogan.errors import UserError
from orthogan.game.regularizers import RULES, RegularizerConfig
from orthogan.networks import build_discriminator, build_generator, find
from orthogan.networks.base import Discriminator, Generator
from orthogan.nn.frozen import freeze
from orthogan.settings import require


def build_pair(run: RunConfig) -> tuple[Generator, Discriminator]:
    """G, then D, which take their initial weights from PyTorch's generator in this order."""
    shape = (run.resolution, run.n_classes)
    g, d = build_generator(run.generator, *shape), build_discriminator(run.discriminator, *shape)
    if run.freeze_d_blocks:
        freeze_first(d, run.freeze_d_blocks)
    return g, d


def remarks(run: RunConfig) -> tuple[str, ...]:
    """What every summary of a run must say of its networks."""
    return (*run.generator.remarks, *run.discriminator.remarks)


def freeze_first(d: Discriminator, count: int) -> None:
    """FreezeD (Mo, Cho and Shin 2020): the first parts of D, from the image on, are not trained.

    Raises `UserError` where it has not so many.
    """
    stages = d.stages()
    rule = f"this discriminator has {len(stages)} blocks; give at most as many"
    nothing = "this discriminator has no blocks of its own that images pass first; leave it out"
    require(count <= len(stages), "freeze_d_blocks", count, rule if stages else nothing)
    freeze(itertools.chain.from_iterable(stages[:count]))


def with_networks(run: RunConfig, names: Mapping[str, str | None], resolution: int | None = None) -> RunConfig:
    """The run with another `generator`, `discriminator` or both, by name. One that it has already stays as it is.

    Another begins with its published shape at this resolution, or the run's, and with the width of the network that it
    replaces. Raises `UserError` for an unknown name, or where a network cannot have the resolution.
    """
    side = resolution or run.resolution
    changes: dict[str, Any] = {}
    for role, name in names.items():
        replaced = getattr(run, role)
        if name is not None and find(role, name).config is not type(replaced):
            changes[role] = find(role, name).config.at(side).as_wide_as(replaced)
    if not changes:
        return run
    changes["regularizers"] = without_lost_rules(run, changes)
    try:
        return dataclasses.replace(run, resolution=side, **changes)
    except UserError:  # the other network may come to fit by settings that are still to be given
        return dataclasses.replace(run, **changes)


def without_lost_rules(run: RunConfig, changes: Mapping[str, Any]) -> RegularizerConfig:
    """The run's rules without those that need something which the new networks do not offer."""
    lost = {}
    for name, rule in RULES.items():
        offers = changes.get(rule.player, getattr(run, rule.player)).offers
        if rule.needs is not None and rule.needs not in offers:
            lost[name] = type(getattr(run.regularizers, name))()
    return dataclasses.replace(run.regularizers, **lost)
