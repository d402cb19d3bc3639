"""Which checkpoints a run may be sent back to by a collapse, and so must keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orthogan.training import checkpoint
from orthogan.training.cadence import saves_at
from orthogan.training.checkpoint import BadCheckpoint
from orthogan.training.watch import watch_of

if TYPE_CHECKING:
    from orthogan.training.trainer import Trainer


def good_checkpoint(run: Trainer, before: int) -> Path | None:
    """The newest whole one at or below so many images."""
    for path in _candidates(run, before):
        try:
            checkpoint.load(path)
        except BadCheckpoint:
            continue
        return path
    return None


def checkpoint_before(run: Trainer, before: int) -> int | None:
    """Images of the newest checkpoint at or below so many."""
    found = _candidates(run, before)
    return checkpoint.images_of(found[0]) if found else None


def _candidates(run: Trainer, before: int) -> list[Path]:
    """Newest first; only those by plan if there are any: where a run was stopped by hand must not decide its future."""
    there = [path for path in checkpoint.numbered(run.checkpoints) if checkpoint.images_of(path) <= before]
    return [path for path in there if _is_by_plan(run, path)] or there


def _is_by_plan(run: Trainer, path: Path) -> bool:
    images = checkpoint.images_of(path)
    return images <= run.begun or saves_at(run.config, images - run.config.images_per_step, images)


def kept(run: Trainer) -> set[int]:
    """Images of the checkpoints that must stay: from before what may be, or was, the first sign of a collapse."""
    own = watch_of(run)
    befores = own.judge.clean | {alarm["before"] for alarm in own.alarms}
    return {images for before in befores if (images := checkpoint_before(run, before)) is not None}
