"""The answer to a collapse: an end, or a return to the checkpoint before its first sign.

A return leaves nothing to chance: killed at any moment of it, the run is resumed from before the alarm or from the
checkpoint that it returned to, and does the same again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orthogan.stability.watch import Alarm, Sign
from orthogan.training import checkpoint
from orthogan.training.checkpoint import BadCheckpoint, Loaded
from orthogan.training.duties import saves_at
from orthogan.training.launch import of_first
from orthogan.training.player import NonFiniteError
from orthogan.training.watch import Collapsed, in_words, watch_of

if TYPE_CHECKING:
    from orthogan.training.trainer import Trainer


def answer(run: Trainer, error: NonFiniteError | Collapsed) -> None:
    """Roll the run back, or save it where it can be saved and raise what is to end it."""
    watch, own = run.config.watch, watch_of(run)
    if isinstance(error, NonFiniteError):
        alarm = _of_non_finite(run, error)
        own.write_down(run, alarm)
        if watch.on_collapse == "warn":
            raise error
        run.observer.alarmed(in_words(alarm))
        error = Collapsed(alarm, diverged=True)
    if watch.on_collapse == "rollback" and len(run.rollbacks) < watch.rollbacks:
        found = of_first(run.fabric, lambda: good_checkpoint(run, error.alarm.before))
        if found is not None:
            roll_back(run, checkpoint.load(found), error.alarm)
            return
    if not error.diverged and run.saved_images != run.images:
        run.save()
    raise error


def _of_non_finite(run: Trainer, error: NonFiniteError) -> Alarm:
    """What is not finite is known at once: everything before the first sign, or this step, was good."""
    judge = watch_of(run).judge
    before = min(judge.clean) if judge.streaks else run.images - run.config.images_per_step
    sign = Sign("non-finite", "", str(error), run.images, 0.0, None, ("rates", "r1"))
    return Alarm(run.images, run.images, before, (sign,))


def roll_back(run: Trainer, found: Loaded, alarm: Alarm) -> None:
    """Go on from a checkpoint with other draws and the change that is wished for; it is written anew with both."""
    attempt, rollbacks, changes = run.feed.attempt + 1, run.rollbacks, run.changes.after(run.config.watch)
    own, score, left = watch_of(run), run.duties["score"], run.images
    best, alarms = score.facts(), own.alarms
    run.restore(found)
    if best["best"] is not None and run.images < (best["best_images"] or run.images + 1) < left:
        # Its file stays; the checkpoint that this attempt will have at those images is another one.
        score.take({**best, "best_images": None})
    own.alarms = alarms
    run.feed.attempt = attempt
    run.change(changes)
    record = {"from": left, "to": run.images, "attempt": attempt, "change": run.config.watch.change, **changes.facts()}
    run.rollbacks = [*rollbacks, record]
    if run.fabric.is_global_zero:
        for path in checkpoint.numbered(run.checkpoints):
            if checkpoint.images_of(path) > run.images:
                path.unlink(missing_ok=True)
    run.open_log()
    run.save()
    run.observer.told(
        f"rolled back from {left} to {run.images} images ({len(run.rollbacks)} of {run.config.watch.rollbacks})"
    )


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
    there = [path for path in checkpoint.numbered(run.checkpoints) if 0 <= checkpoint.images_of(path) <= before]
    return [path for path in there if _is_by_plan(run, path)] or there


def _is_by_plan(run: Trainer, path: Path) -> bool:
    images = checkpoint.images_of(path)
    return images <= run.begun or saves_at(run.config, images - run.config.images_per_step, images)


def kept(run: Trainer) -> set[int]:
    """Images of the checkpoints that must stay: from before what may be, or was, the first sign of a collapse."""
    own = watch_of(run)
    befores = own.judge.clean | {alarm["before"] for alarm in own.alarms}
    return {images for before in befores if (images := checkpoint_before(run, before)) is not None}
