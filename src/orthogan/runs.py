"""Beginning and continuing a run: configuration, data and folder come together here."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from filelock import BaseFileLock, FileLock, Timeout
from lightning_fabric import Fabric

from orthogan import presets, runtime
from orthogan.config import CadenceConfig, RunConfig, may_change_on_resume
from orthogan.data import ImageCache, pack
from orthogan.data.sources import NAMED
from orthogan.errors import UserError, unknown
from orthogan.features import weights
from orthogan.files import writing
from orthogan.formats import to_json
from orthogan.game.latents import PRIORS
from orthogan.game.losses import LOSSES
from orthogan.game.regularizers import RULES
from orthogan.metrics.scores import MIN_IMAGES
from orthogan.pair import build_pair
from orthogan.settings import differences, override, require
from orthogan.training import checkpoint
from orthogan.training.launch import make_fabric, of_first, together
from orthogan.training.logs import is_whole, read_config, read_parent, read_preset, write_config
from orthogan.training.state import NetworkPart
from orthogan.training.trainer import Observer, Trainer, check_world

Progress = Callable[[int, int], None]

OF_NETWORKS = ("generator.", "discriminator.", "resolution", "n_classes")
"""Beginnings of the paths that the tensors of the two networks may depend on."""

LOCK = "lock"
"""File in a run's folder that the process which trains it holds."""


def check_names(config: RunConfig[Any, Any]) -> None:
    """Refuse names that are in no table, and scores whose network or weights are missing, before any work."""
    if config.loss not in LOSSES:
        raise unknown("loss", config.loss, LOSSES)
    if config.generator.latent not in PRIORS:
        raise unknown("latent", config.generator.latent, PRIORS)
    for network in (config.generator, config.discriminator):
        network.check_present()
    for rule in RULES:
        getattr(config.regularizers, rule).check_present()
    if config.cadence.score_images:
        check_scores(config.cadence)


def check_scores(cadence: CadenceConfig) -> None:
    """Refuse scores whose network, packages or weights are missing, and too few images for one."""
    known = [*weights.NETWORKS, weights.OF_DATA]
    if cadence.score_features not in known:
        raise unknown("cadence.score_features", cadence.score_features, known)
    rule = f"scores need at least {MIN_IMAGES} images"
    require(cadence.score_samples >= MIN_IMAGES, "cadence.score_samples", cadence.score_samples, rule)
    try:
        weights.check_scoring(cadence.score_features)
    except UserError as error:
        raise UserError(f"{error}; or train without scores: --cadence.score-images 0") from error


def resolve(config: RunConfig[Any, Any], preset: str, n_classes: int, device: torch.device) -> RunConfig[Any, Any]:
    """Fill in what depends on the data and the machine: number of classes, precision, the whole path of the source.

    Raises `UserError` if the number of classes was set by hand to something that the data does not have.
    """
    check_names(config)
    asked = config.n_classes
    if asked not in (n_classes, presets.get(preset).n_classes):
        raise UserError(
            f"n_classes={asked}, but the data has {n_classes} classes; leave the setting out to take the data's"
        )
    precision = runtime.resolve_precision(config.precision, device)
    source = whole_path(config.data.source)
    return override(config, {"n_classes": n_classes, "precision": precision, "data.source": source})


def whole_path(source: str) -> str:
    """A source as a run written here can be resumed from elsewhere; names such as `digits` stay."""
    return source if source in NAMED or not source else str(Path(source).expanduser().absolute())


def load_data(config: RunConfig[Any, Any], progress: Progress | None = None) -> ImageCache:
    """The packed images of a run's source. Raises `UserError`, naming every unreadable file, before any training."""
    if not config.data.source:
        raise UserError("data.source is not set: give --data a folder, a zip, an array file, or the word digits")
    return pack(config.data, config.resolution, progress)


def is_run(folder: Path) -> bool:
    """Whether a run was begun in the folder."""
    return (folder / "config.json").exists() or bool(checkpoint.numbered(folder / "checkpoints"))


def refuse_existing(folder: Path) -> None:
    """Raises `UserError` if a run was begun in the folder."""
    if is_run(folder):
        raise UserError(
            f"{folder} already holds a run: go on with it by `orthogan resume {folder}`, or choose another --out"
        )


def refuse_inside_data(folder: Path, source: str) -> None:
    """Refuse a run folder that is the data or lies in it, where its sheets would be trained on."""
    if source in NAMED or not source:
        return
    data, out = Path(source).expanduser().resolve(), folder.resolve()
    if data in (out, *out.parents):
        raise UserError(f"out={str(folder)!r} is in the data, {source!r}: choose a folder beside it by --out")


def nearest_existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def check_writable(folder: Path) -> None:
    """Refuse a place that cannot be written before hours of decoding, not after."""
    require(folder.is_dir() or not folder.exists(), "out", str(folder), "is a file; name a folder")
    nearest = nearest_existing(folder)
    if not os.access(nearest, os.W_OK):
        raise UserError(f"out={str(folder)!r}: {nearest} cannot be written; choose another place")


def start(
    config: RunConfig[Any, Any], preset: str, folder: Path, observer: Observer, device: torch.device, progress: Progress
) -> Trainer:
    """A trainer at step 0 in a new folder.

    Raises `UserError` if the folder holds a run, or another process begins one in it.
    """
    check_names(config)
    refuse_inside_data(folder, config.data.source)
    check_writable(folder)
    fabric = make_fabric(runtime.resolve_precision(config.precision, device), device)
    with _locked(fabric, folder) as lock:
        of_first(fabric, lambda: refuse_existing(folder))
        cache = _load_on_all(fabric, config, progress)
        config = resolve(config, preset, cache.n_classes, device)
        check_world(config, fabric.world_size)
        trainer = Trainer(config, cache, folder, fabric, observer, preset, lock)
        of_first(fabric, lambda: write_config(folder, config, preset))
    return trainer


def resume(
    folder: Path, config: RunConfig[Any, Any], observer: Observer, device: torch.device, progress: Progress
) -> Trainer:
    """A trainer where the newest whole checkpoint stands, or at step 0 if the run was stopped before its first one.

    `config` may differ from the run's own in length, cadences and the data's place; anything else is refused with all
    differences. Raises `UserError` for that, for changed data, and while another process trains the run.
    """
    check_names(config)
    fabric = make_fabric(config.precision, device)
    check_world(config, fabric.world_size)
    with _locked(fabric, folder) as lock:
        found, complaints = together(fabric, lambda: _where_to_go_on(folder, config), here=fabric.is_global_zero) or (
            None,
            [],
        )
        newest: Path | None = fabric.broadcast(None if found is None else found.path)
        preset = of_first(fabric, lambda: read_preset(folder))
        cache = _load_on_all(fabric, config, progress)
        check_classes(config, cache)
        trainer = Trainer(config, cache, folder, fabric, observer, preset, lock)
        trainer.parent = of_first(fabric, lambda: read_parent(folder))
        for complaint in complaints if fabric.is_global_zero else ():
            observer.told(f"skipped: {complaint}")
        if newest is not None:
            # The first process has read and verified it already.
            together(fabric, lambda: trainer.restore(found or checkpoint.load(newest)))
            if fabric.is_global_zero:
                observer.told(f"resumed from {newest}")
        of_first(fabric, lambda: _mend(trainer))
    return trainer


def _where_to_go_on(folder: Path, config: RunConfig[Any, Any]) -> tuple[checkpoint.Loaded | None, list[str]]:
    """The newest whole checkpoint of a run, and complaints about newer ones; refuses another configuration."""
    newest: checkpoint.Loaded | None = None
    complaints: list[str] = []
    if checkpoint.numbered(folder / "checkpoints"):
        newest, complaints = checkpoint.newest(folder / "checkpoints")
    refuse_changes(newest.header.config if newest else read_config(folder), config)
    if newest:
        refuse_shorter(newest.header, config)
    return newest, complaints


def branch(
    parent: Path,
    config: RunConfig[Any, Any],
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
    refuse_inside_data(folder, config.data.source)
    check_writable(folder)
    precision = runtime.resolve_precision(config.precision, device)
    config = override(config, {"precision": precision, "data.source": whole_path(config.data.source)})
    fabric = make_fabric(precision, device)
    check_world(config, fabric.world_size)
    with _locked(fabric, folder) as lock:
        of_first(fabric, lambda: refuse_existing(folder))
        found = _found_by_first(fabric, lambda: _where_to_branch(parent, config, at, observer))
        cache = _load_on_all(fabric, config, progress)
        check_classes(config, cache)
        trainer = Trainer(config, cache, folder, fabric, observer, found.header.extra.get("preset", ""), lock)
        taken = together(fabric, lambda: trainer.branch_from(found))
        assert taken is not None
        trainer.parent = _parent(found, config, *taken)
        if fabric.is_global_zero:
            _tell_branch(trainer)
        # Before the configuration: a run that has one and no checkpoint would be resumed from step 0.
        trainer.save()
        of_first(fabric, lambda: write_config(folder, config, trainer.preset, trainer.parent))
    return trainer


def _found_by_first(fabric: Fabric, find: Callable[[], checkpoint.Loaded]) -> checkpoint.Loaded:
    """The checkpoint that the first process finds and verifies, which the others then read."""
    first = together(fabric, find, here=fabric.is_global_zero)
    path: Any = fabric.broadcast(None if first is None else first.path)
    found = together(fabric, lambda: first or checkpoint.load(path))
    assert found is not None
    return found


def _where_to_branch(
    parent: Path, config: RunConfig[Any, Any], at: int | None, observer: Observer
) -> checkpoint.Loaded:
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


def refuse_other_networks(found: checkpoint.Loaded, config: RunConfig[Any, Any]) -> None:
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


def _changed(found: checkpoint.Loaded, config: RunConfig[Any, Any]) -> list[tuple[str, Any, Any]]:
    return differences(to_json(found.header.config), to_json(config))


def _parent(
    found: checkpoint.Loaded, config: RunConfig[Any, Any], taken: list[str], afresh: list[str]
) -> dict[str, Any]:
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


def _mend(trainer: Trainer) -> None:
    """Make up for what a kill left undone, and write down what may have changed."""
    folder = trainer.folder
    checkpoint.clear_leftovers(folder)
    for duty in trainer.duties.values():
        duty.mend(trainer)
    if not is_whole(folder) or read_config(folder) != trainer.config:
        write_config(folder, trainer.config, trainer.preset, trainer.parent)


@contextmanager
def _locked(fabric: Fabric, folder: Path) -> Iterator[BaseFileLock | None]:
    """Hold a run's folder for this run, whose trainer gives it back; a failure inside gives it back at once.

    The lock is the first process's; the others have None.
    """
    lock = together(fabric, lambda: _lock(folder), here=fabric.is_global_zero)
    try:
        yield lock
    except BaseException:
        if lock is not None:
            _unlock(lock, folder)
        raise


def _lock(folder: Path) -> BaseFileLock:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    with writing(folder / LOCK):
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(
                f"another process trains or begins a run in {folder}; wait until it ends, or work in another folder"
            ) from error
    return lock


def _unlock(lock: BaseFileLock, folder: Path) -> None:
    """Give a lock back, and leave no folder that holds nothing else."""
    if [path.name for path in folder.iterdir()] == [LOCK]:
        (folder / LOCK).unlink()
        lock.release()
        with suppress(OSError):
            folder.rmdir()
    else:
        lock.release()


def check_classes(config: RunConfig[Any, Any], cache: ImageCache) -> None:
    """Data of another number of classes than the run's; of a resumed run the fingerprint says the rest."""
    rule = f"has {cache.n_classes} classes, and this run was begun with {config.n_classes}; give data with as many"
    require(cache.n_classes == config.n_classes, "data.source", config.data.source, rule)


def refuse_changes(trained: RunConfig[Any, Any], config: RunConfig[Any, Any]) -> None:
    """Compare with what the newest checkpoint was trained with, or with the run's own file before the first one."""
    changed = [
        d for d in differences(to_json(trained), to_json(config)) if not d[0].startswith(may_change_on_resume(trained))
    ]
    if changed:
        told = "\n".join(f"  {path}: {before!r} -> {after!r}" for path, before, after in changed)
        raise UserError(
            f"a resumed run must keep its configuration, but these settings differ:\n{told}\n"
            "put them back (in config.json, where it was not the command line), or start a new run with "
            "`orthogan train`; cadences may change, and the length (images) unless the learning rate or the latent "
            "depends on it"
        )


def refuse_shorter(stands: checkpoint.Header, config: RunConfig[Any, Any]) -> None:
    """A new length that the run has passed already."""
    kept = config.images == stands.config.images
    rule = f"the run already stands at {stands.images:,} images; give more, or leave it out"
    require(kept or config.images >= stands.images, "images", config.images, rule)


def _load_on_all(fabric: Fabric, config: RunConfig[Any, Any], progress: Progress) -> ImageCache:
    """Let one process of each machine pack; the others then find the cache."""
    packed = together(fabric, lambda: load_data(config, progress), here=fabric.local_rank == 0)
    found = together(fabric, lambda: load_data(config, progress), here=packed is None)
    cache = found if packed is None else packed
    assert cache is not None
    return cache
