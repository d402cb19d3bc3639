"""Beginning and continuing a run: configuration, data and folder come together here."""

from pathlib import Path

import torch

from orthogan import presets, runtime
from orthogan.config import RunConfig
from orthogan.data.sources import refuse_inside_data
from orthogan.files import remove_asides
from orthogan.ranks import of_first, together
from orthogan.runs.checks import (
    Progress,
    check_classes,
    check_compile,
    check_names,
    load_on_all,
    refuse_changes,
    refuse_frozen_blocks,
    refuse_shorter,
    resolve,
    with_whole_paths,
)
from orthogan.runs.folders import check_folder, locked, refuse_existing
from orthogan.training import checkpoint, saving
from orthogan.training.launch import make_fabric
from orthogan.training.limits import check_world
from orthogan.training.logs import is_whole, read_begun, read_config, write_config
from orthogan.training.observer import Observer
from orthogan.training.trainer import Trainer


def start(
    config: RunConfig, preset: str, folder: Path, observer: Observer, device: torch.device, progress: Progress
) -> Trainer:
    """A trainer at step 0 in a new folder.

    Raises `UserError` if the folder holds a run, or another process begins one in it.
    """
    check_names(config)
    check_compile(config, device)
    refuse_frozen_blocks(config)
    refuse_inside_data(folder, config.data.source)
    check_folder(folder)
    fabric = make_fabric(runtime.resolve_precision(config.precision, device), device)
    with locked(fabric, folder) as lock:
        of_first(lambda: refuse_existing(folder))
        cache = load_on_all(fabric, config, progress)
        config = resolve(config, presets.get(preset).n_classes, cache.n_classes, device)
        check_world(config, fabric.world_size)
        trainer = Trainer(config, cache, folder, fabric, observer, preset, lock)
        of_first(lambda: write_config(folder, config, preset))
    return trainer


def resume(folder: Path, config: RunConfig, observer: Observer, device: torch.device, progress: Progress) -> Trainer:
    """A trainer where the newest whole checkpoint stands, or at step 0 if the run was stopped before its first one.

    `config` may differ from the run's own in length, cadences and the data's place; anything else is refused with all
    differences. Raises `UserError` for that, for changed data, and while another process trains the run.
    """
    config = with_whole_paths(config)
    check_names(config)
    check_compile(config, device)
    fabric = make_fabric(config.precision, device)
    check_world(config, fabric.world_size)
    with locked(fabric, folder) as lock:
        found, complaints = together(lambda: _where_to_go_on(folder, config), here=fabric.is_global_zero) or (
            None,
            [],
        )
        newest: Path | None = fabric.broadcast(None if found is None else found.path)
        begun = of_first(lambda: read_begun(folder))
        cache = load_on_all(fabric, config, progress)
        check_classes(config, cache)
        trainer = Trainer(config, cache, folder, fabric, observer, begun.preset, lock)
        trainer.parent = begun.parent
        for complaint in complaints if fabric.is_global_zero else ():
            observer.told(f"skipped: {complaint}")
        if newest is not None:
            # The first process has read and verified it already.
            together(lambda: saving.restore(trainer, found or checkpoint.load(newest)))
            if fabric.is_global_zero:
                observer.told(f"resumed from {newest}")
        of_first(lambda: _mend(trainer))
    return trainer


def _where_to_go_on(folder: Path, config: RunConfig) -> tuple[checkpoint.Loaded | None, list[str]]:
    """The newest whole checkpoint of a run, and complaints about newer ones; refuses another configuration."""
    newest: checkpoint.Loaded | None = None
    complaints: list[str] = []
    if checkpoint.numbered(folder / "checkpoints"):
        newest, complaints = checkpoint.newest(folder / "checkpoints")
    refuse_changes(newest.header.config if newest else read_config(folder), config)
    if newest:
        refuse_shorter(newest.header, config)
    return newest, complaints


def _mend(trainer: Trainer) -> None:
    """Make up for what a kill left undone, and write down what may have changed."""
    folder = trainer.folder
    remove_asides(folder)
    for duty in trainer.duties.values():
        duty.mend(trainer)
    if not is_whole(folder) or read_config(folder) != trainer.config:
        write_config(folder, trainer.config, trainer.preset, trainer.parent)
