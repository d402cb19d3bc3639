"""A new run that begins from a checkpoint of another one, with other settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from orthogan import runtime
from orthogan.config import RunConfig
from orthogan.data.sources import refuse_inside_data
from orthogan.errors import UserError
from orthogan.formats import to_json
from orthogan.pair import build_pair
from orthogan.ranks import of_first, together
from orthogan.runs.checks import Progress, check_classes, check_compile, check_names, load_on_all, with_whole_paths
from orthogan.runs.folders import check_folder, locked, refuse_existing
from orthogan.settings import differences, override, require
from orthogan.training import checkpoint, saving
from orthogan.training.launch import make_fabric
from orthogan.training.limits import check_world
from orthogan.training.logs import write_config
from orthogan.training.observer import Observer
from orthogan.training.state import NetworkPart
from orthogan.training.trainer import Trainer

OF_NETWORKS = ("generator.", "discriminator.", "resolution", "n_classes")
"""Beginnings of the paths that the tensors of the two networks may depend on."""


def branch(
    parent: Path,
    config: RunConfig,
    folder: Path,
    observer: Observer,
    device: torch.device,
    progress: Progress,
    at: int | None = None,
) -> Trainer:
    """A trainer in a new folder where the newest whole checkpoint of `parent`, at or below `at` images, stands.

    `config` may differ from the parent's in whatever changes no tensor of the networks. Draws are those of the
    parent from there on, unless the seed is another one. Raises `UserError`.
    """
    check_names(config)
    check_compile(config, device)
    refuse_inside_data(folder, config.data.source)
    check_folder(folder)
    precision = runtime.resolve_precision(config.precision, device)
    config = override(with_whole_paths(config), {"precision": precision})
    fabric = make_fabric(precision, device)
    check_world(config, fabric.world_size)
    with locked(fabric, folder) as lock:
        of_first(lambda: refuse_existing(folder))
        found = found_by_first(fabric, lambda: _where_to_branch(parent, config, at, observer))
        cache = load_on_all(fabric, config, progress)
        check_classes(config, cache)
        trainer = Trainer(config, cache, folder, fabric, observer, found.header.extra.get("preset", ""), lock)
        taken = together(lambda: saving.branch_from(trainer, found))
        assert taken is not None
        trainer.parent = _parent(found, config, *taken)
        if fabric.is_global_zero:
            _tell_branch(trainer)
        # Before the configuration: a run that has one and no checkpoint would be resumed from step 0.
        saving.save(trainer)
        of_first(lambda: write_config(folder, config, trainer.preset, trainer.parent))
    return trainer


def found_by_first(fabric: Fabric, find: Callable[[], checkpoint.Loaded]) -> checkpoint.Loaded:
    """The checkpoint that the first process finds and verifies, which the others then read."""
    first = together(find, here=fabric.is_global_zero)
    path: Any = fabric.broadcast(None if first is None else first.path)
    found = together(lambda: first or checkpoint.load(path))
    assert found is not None
    return found


def _where_to_branch(parent: Path, config: RunConfig, at: int | None, observer: Observer) -> checkpoint.Loaded:
    """The checkpoint that a branch begins from; refuses networks that it does not fit, and a length without a step."""
    if not checkpoint.numbered(parent / "checkpoints"):
        raise UserError(f"{parent} has no checkpoint to branch from yet; begin a new run with `orthogan train`")
    found, complaints = checkpoint.newest(parent / "checkpoints", at)
    for complaint in complaints:
        observer.told(f"skipped: {complaint}")
    refuse_other_networks(found, config)
    rule = f"the branch begins at {found.header.images:,} images; give more by --images, or begin earlier by --at"
    require(config.images > found.header.images, "images", config.images, rule)
    return found


def refuse_other_networks(found: checkpoint.Loaded, config: RunConfig) -> None:
    """Refuse settings by which the networks would not fit the tensors of a checkpoint."""
    changed = [d for d in _changed(found, config) if d[0].startswith(OF_NETWORKS)]
    if not changed:
        return
    with torch.device("meta"):
        g, d = build_pair(config)
    try:
        for name, network in (("generator", g), ("discriminator", d), ("ema", g)):
            NetworkPart(network).require_fit(found, name)
    except checkpoint.BadCheckpoint as error:
        told = ", ".join(f"{path} {before!r} -> {after!r}" for path, before, after in changed)
        raise UserError(
            f"a branch keeps the networks of its parent, whose tensors do not fit these settings: {told}; leave them "
            "out, or begin a new run with `orthogan train`"
        ) from error


def _changed(found: checkpoint.Loaded, config: RunConfig) -> list[tuple[str, Any, Any]]:
    return differences(to_json(found.header.config), to_json(config))


def _parent(found: checkpoint.Loaded, config: RunConfig, taken: list[str], afresh: list[str]) -> dict[str, Any]:
    """What a branch records of where it began."""
    return {
        "checkpoint": str(found.path.absolute()),
        "images": found.header.images,
        "checksum": found.header.checksum,
        "changed": {path: [before, after] for path, before, after in _changed(found, config)},
        "taken": taken,
        "afresh": afresh,
    }


def _tell_branch(trainer: Trainer) -> None:
    parent, told = trainer.parent, trainer.observer.told
    assert parent is not None
    told(f"branched from {parent['checkpoint']} at {parent['images']} images")
    changed = [f"{path} {before!r} -> {after!r}" for path, (before, after) in parent["changed"].items()]
    told(f"changed: {', '.join(changed) or 'nothing'}")
    told(f"taken over: {', '.join(parent['taken'])}")
    if parent["afresh"]:
        told(f"begins afresh: {', '.join(parent['afresh'])}")
