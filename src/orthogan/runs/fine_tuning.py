"""A new run whose networks begin from a checkpoint of another one, on other data and other classes."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from orthogan import runtime
from orthogan.config import RunConfig
from orthogan.data import ImageCache
from orthogan.data.config import DataConfig
from orthogan.data.sources import refuse_inside_data
from orthogan.errors import UserError, some
from orthogan.formats import to_json
from orthogan.networks import build_discriminator, build_generator, family_of, find
from orthogan.pair import build_pair, without_lost_rules
from orthogan.ranks import of_first, together
from orthogan.runs.branching import found_by_first
from orthogan.runs.checks import Progress, check_compile, check_names, load_on_all, resolve
from orthogan.runs.folders import check_folder, locked, refuse_existing
from orthogan.settings import differences, require
from orthogan.training import checkpoint, saving
from orthogan.training.launch import make_fabric
from orthogan.training.limits import check_world
from orthogan.training.logs import write_config
from orthogan.training.observer import Observer
from orthogan.training.state import NetworkPart
from orthogan.training.trainer import Trainer
from orthogan.training.transfer import ClassesFrom, Transfer, class_axes, class_mixture, namesakes, transfer

SHOWN = 6
"""Names of tensors that are told at most; `config.json` has all."""


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """What a run begins from, where that is not fresh networks."""

    file: str = ""
    """Run folder or checkpoint whose networks the run begins from, short --init: their settings come from there."""
    classes: ClassesFrom = "mean"
    """How the vectors of classes begin: all as the mean of the old ones, by name as those of the same name and the
    others as the mean, or fresh."""
    discriminator: Literal["file", "fresh"] = "file"
    """Begin from the checkpoint's discriminator, if it has one, or from a fresh one."""


def configuration(found: checkpoint.Loaded, preset: RunConfig | None) -> RunConfig:
    """What a run from this checkpoint has before anything is asked for: the checkpoint's networks in a preset.

    Without a preset, all else is the checkpoint's too, but data. A checkpoint without a discriminator leaves the
    preset's, at the checkpoint's resolution.
    """
    own = found.header.config
    if preset is None:
        return replace(own, data=DataConfig(), freeze="none", freeze_d_blocks=0)
    d = own.discriminator if found.part("discriminator") else _at(preset.discriminator, own.resolution)
    networks: dict[str, Any] = {"generator": own.generator, "discriminator": d}
    rules = without_lost_rules(preset, networks)
    return replace(preset, resolution=own.resolution, n_classes=own.n_classes, regularizers=rules, **networks)


def _at(config: Any, resolution: int) -> Any:
    """A discriminator's settings at this resolution: as they are, or as published for it where they do not fit."""
    try:
        config.check(resolution, 1)
    except UserError:
        return find("discriminator", family_of(config)).config.at(resolution).as_wide_as(config)
    return config


def fine_tune(
    found: checkpoint.Loaded,
    init: InitConfig,
    config: RunConfig,
    preset: str,
    folder: Path,
    observer: Observer,
    device: torch.device,
    progress: Progress,
) -> Trainer:
    """A trainer at 0 images in a new folder, whose networks begin from those of a checkpoint.

    Average, optimisers and rules begin afresh. `config` is what `configuration` gave, changed in what changes no tensor
    of the networks that are taken. Raises `UserError`.
    """
    fresh = refuse_misfit(found, init, config)
    check_compile(config, device)
    refuse_inside_data(folder, config.data.source)
    check_folder(folder)
    fabric = make_fabric(runtime.resolve_precision(config.precision, device), device)
    with locked(fabric, folder) as lock:
        of_first(lambda: refuse_existing(folder))
        found = found_by_first(fabric, lambda: found)
        cache = load_on_all(fabric, config, progress)
        config = resolve(config, found.header.config.n_classes, cache.n_classes, device)
        check_world(config, fabric.world_size)
        trainer = Trainer(config, cache, folder, fabric, observer, preset, lock)
        trainer.parent = together(lambda: _begin_from(trainer, found, init, fresh))
        if fabric.is_global_zero:
            _tell(trainer)
        # Before the configuration: a run that has one and no checkpoint would be resumed from fresh networks.
        saving.save(trainer)
        of_first(lambda: write_config(folder, config, preset, trainer.parent))
    return trainer


def refuse_misfit(found: checkpoint.Loaded, init: InitConfig, config: RunConfig) -> str | None:
    """Refuse settings of networks that the checkpoint's tensors do not fit, before the data is read.

    Returns why the discriminator begins fresh; None where it is the checkpoint's.
    """
    check_names(config)
    own = found.header.config
    fresh = _why_fresh(found, init, config)
    rule = f"{fresh}, and its frozen layers would stay random; leave the setting out"
    require(fresh is None or not config.freeze_d_blocks, "freeze_d_blocks", config.freeze_d_blocks, rule)
    same_classes = replace(config, n_classes=own.n_classes)
    with torch.device("meta"):
        g, d = build_pair(same_classes)
    part = _generator_part(found)
    _refuse_other("generator", found, same_classes, NetworkPart(g), part)
    if fresh is None:
        _refuse_other("discriminator", found, same_classes, NetworkPart(d), "discriminator")
    return fresh


def _generator_part(found: checkpoint.Loaded) -> str:
    """G as it was trained, which D is used to, or where a file has only that, its average."""
    for part in ("generator", "ema"):
        if found.part(part):
            return part
    raise UserError(f"{found.path} has no generator to begin from")


def _why_fresh(found: checkpoint.Loaded, init: InitConfig, config: RunConfig) -> str | None:
    own, wanted = found.header.config.discriminator, config.discriminator
    if init.discriminator == "fresh":
        return "the discriminator begins fresh, as asked by init.discriminator"
    if not found.part("discriminator"):
        return "the checkpoint has no discriminator, which begins fresh"
    if family_of(own) != family_of(wanted):
        return f"the discriminator begins fresh: it is {family_of(wanted)}, not the checkpoint's {family_of(own)}"
    return None


def _refuse_other(role: str, found: checkpoint.Loaded, config: RunConfig, network: NetworkPart, part: str) -> None:
    """Refuse settings by which a network would not have the shapes of the checkpoint's."""
    try:
        network.require_fit(found, part)
    except checkpoint.BadCheckpoint as error:
        changed = differences(to_json(found.header.config), to_json(config))
        told = [f"{p} {a!r} -> {b!r}" for p, a, b in changed if p.startswith((f"{role}.", "resolution"))]
        other = "; or begin with a fresh one: --init.discriminator fresh" if role == "discriminator" else ""
        if not told:
            raise UserError(f"{error}{other}") from error
        raise UserError(
            f"the {role} of {found.path} does not fit these settings: {', '.join(told)}; leave them out{other}"
        ) from error


def _begin_from(trainer: Trainer, found: checkpoint.Loaded, init: InitConfig, fresh: str | None) -> dict[str, Any]:
    """Give the networks their tensors; returns what is recorded of it."""
    config, own, g, d = trainer.config, found.header.config, trainer.game.g, trainer.game.d
    names, old_names = _names(trainer.cache, config), list(found.header.extra.get("class_names", []))
    mixture = class_mixture(init.classes, names, old_names, config.n_classes, own.n_classes)
    part, resolution = _generator_part(found), config.resolution
    made = {
        "generator": transfer(
            g.network,
            found.part(part),
            class_axes(partial(build_generator, config.generator, resolution), config.n_classes),
            mixture,
        )
    }
    if fresh is None:
        axes = class_axes(partial(build_discriminator, config.discriminator, resolution), config.n_classes)
        made["discriminator"] = transfer(d.network, found.part("discriminator"), axes, mixture)
    trainer.ema.module.load_state_dict(g.network.state_dict())
    for player in (g, d):
        for rule in player.rules.values():  # what they remember of the weights
            rule.begin(player.network, player.trained)
    by_name = init.classes == "name" and mixture is not None
    pairs = namesakes(names, old_names) if by_name else {}
    return {
        "checkpoint": str(found.path.absolute()),
        "images": found.header.images,
        "checksum": found.header.checksum,
        "init": {"classes": _how(init, mixture, config), "namesakes": [names[i] for i in pairs], "from": part},
        "changed": {p: [a, b] for p, a, b in differences(to_json(own), to_json(config))},
        **_recorded(made),
        "afresh": [*([] if fresh is None else ["discriminator"]), "ema", "g_optimizer", "d_optimizer"],
        **({} if fresh is None else {"discriminator": fresh}),
    }


def _names(cache: ImageCache, config: RunConfig) -> list[str]:
    return list(cache.class_names) or [str(i) for i in range(config.n_classes)]


def _how(init: InitConfig, mixture: torch.Tensor | None, config: RunConfig) -> str:
    """How the vectors of classes were made."""
    if not config.n_classes:
        return "none"
    return "fresh" if mixture is None else init.classes


def _recorded(made: dict[str, Transfer]) -> dict[str, list[str]]:
    """The names of all tensors, with that of their network."""
    return {
        what: [f"{role}.{name}" for role, done in made.items() for name in getattr(done, what)]
        for what in ("taken", "remade", "left")
    }


def _tell(trainer: Trainer) -> None:
    parent, told = trainer.parent, trainer.observer.told
    assert parent is not None
    init = parent["init"]
    told(f"begun from {parent['checkpoint']} at {parent['images']} images")
    of_g, of_d = (sum(name.startswith(role) for name in parent["taken"]) for role in ("generator.", "discriminator."))
    average = " (the average, for the checkpoint has no other)" if init["from"] == "ema" else ""
    told(f"taken over: {of_g} tensors of the generator{average}, {of_d} of the discriminator")
    if parent["remade"]:
        ways = {"mean": "as the mean of the old classes", "name": "by the names of classes", "fresh": "fresh"}
        way = ways.get(init["classes"], "for data without classes")
        told(f"remade for {trainer.config.n_classes} classes, {way}: {some(parent['remade'], SHOWN)}")
    if init["namesakes"]:
        told(f"classes found by name: {some(init['namesakes'], SHOWN)}")
    if parent["left"]:
        told(f"left behind: {some(parent['left'], SHOWN)}")
    if "discriminator" in parent:
        told(parent["discriminator"])
    told(f"begins afresh: {', '.join(parent['afresh'])}")
