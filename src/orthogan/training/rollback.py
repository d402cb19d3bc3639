"""The answer to a collapse: an end, or a return to the checkpoint before its first sign.

A return leaves nothing to chance: killed at any moment of it, the run is resumed from before the alarm or from the
checkpoint that it returned to, and does the same again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orthogan.files import writing
from orthogan.ranks import of_first, together
from orthogan.stability.watch import Alarm, Sign
from orthogan.training import checkpoint, saving
from orthogan.training.changes import change
from orthogan.training.keeping import good_checkpoint
from orthogan.training.player import NonFiniteError
from orthogan.training.watch import Collapsed, in_words, watch_of

if TYPE_CHECKING:
    from orthogan.training.trainer import Trainer


def answer(run: Trainer, error: NonFiniteError | Collapsed) -> None:
    """Roll the run back, or save it where it can be saved and raise what is to end it."""
    watch, own = run.config.watch, watch_of(run)
    if isinstance(error, NonFiniteError):
        alarm = _of_non_finite(run, error)
        together(lambda: own.write_down(run, alarm))
        if watch.on_collapse == "warn":
            raise error
        if run.fabric.is_global_zero:
            run.observer.alarmed(in_words(alarm))
        error = Collapsed(alarm, diverged=True)
    if watch.on_collapse == "rollback" and len(run.rollbacks) < watch.rollbacks:
        found = of_first(lambda: good_checkpoint(run, error.alarm.before))
        if found is not None:
            roll_back(run, found)
            return
    if not error.diverged and run.saved_images != run.images:
        together(lambda: run.duties["save"].do(run))
    raise error


def _of_non_finite(run: Trainer, error: NonFiniteError) -> Alarm:
    """What is not finite is known at once: everything before the first sign, or this step, was good."""
    judge = watch_of(run).judge
    before = min(judge.clean) if judge.streaks else run.images - run.config.images_per_step
    sign = Sign("non-finite", "", str(error), run.images, 0.0, None, ("rates", "r1"))
    return Alarm(run.images, run.images, before, (sign,))


def roll_back(run: Trainer, path: Path) -> None:
    """Go on from a checkpoint with other draws and the change that is wished for; it is written anew with both."""
    attempt, rollbacks, changes = run.feed.attempt + 1, run.rollbacks, run.changes.after(run.config.watch)
    own, score, left = watch_of(run), run.duties["score"], run.images
    best, alarms = score.facts(), own.alarms
    together(lambda: saving.restore(run, checkpoint.load(path)))
    if best["best"] is not None and run.images < (best["best_images"] or run.images + 1) < left:
        # Its file stays; the checkpoint that this attempt will have at those images is another one.
        score.take({**best, "best_images": None})
    own.alarms = alarms
    run.feed.attempt = attempt
    change(run, changes)
    record = {"from": left, "to": run.images, "attempt": attempt, "change": run.config.watch.change, **changes.facts()}
    run.rollbacks = [*rollbacks, record]
    together(lambda: _forget_beyond(run), here=run.fabric.is_global_zero)
    saving.save(run)
    if run.fabric.is_global_zero:
        run.observer.told(
            f"rolled back from {left} to {run.images} images ({len(run.rollbacks)} of {run.config.watch.rollbacks})"
        )


def _forget_beyond(run: Trainer) -> None:
    """The checkpoints and the curves that the run has given up."""
    for path in checkpoint.numbered(run.checkpoints):
        if checkpoint.images_of(path) > run.images:
            with writing(path):
                path.unlink(missing_ok=True)
    run.open_log()
