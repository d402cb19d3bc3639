"""What to say of a run that had to stop: why, which checkpoint is good, and what to do next, in one line."""

import itertools
from pathlib import Path

from orthogan.errors import is_out_of_memory
from orthogan.files import CannotWrite
from orthogan.reports import command
from orthogan.training import checkpoint
from orthogan.training.launch import is_lost_process
from orthogan.training.player import NonFiniteError
from orthogan.training.trainer import Trainer


def why(trainer: Trainer, error: BaseException) -> str | None:
    """The line for an error that is nobody's mistake in the code; None for any other."""
    if isinstance(error, NonFiniteError):
        return _diverged(trainer, error)
    if isinstance(error, CannotWrite):
        return f"{error}. {_good(trainer)} When there is room, go on by {_again(trainer)}"
    if is_out_of_memory(error):
        return _out_of_memory(trainer, error)
    if is_lost_process(error):
        return (
            f"another process of this run has ended, so this one stops. {_good(trainer)} "
            f"Start all of them again by {_again(trainer)}, under torchrun or srun as before"
        )
    return None


def _again(trainer: Trainer) -> str:
    return f"`{command('resume', trainer.folder)}`"


def _good(trainer: Trainer) -> str:
    if trainer.saved_images is None:
        return "No checkpoint had been written yet."
    return f"The last good checkpoint is {trainer.checkpoints / checkpoint.file_name(trainer.saved_images)}."


def _diverged(trainer: Trainer, error: NonFiniteError) -> str:
    """Resuming is not advised: it would repeat the same steps bit for bit."""
    rates = trainer.config.optimizer
    halved = ["--optimizer.g-lr", f"{rates.g_lr / 2:g}", "--optimizer.d-lr", f"{rates.d_lr / 2:g}"]
    return (
        f"training diverged at {trainer.images} images: {error}. {_good(trainer)} Resuming would end the same way; "
        f"with half the learning rates, for example: {_otherwise(trainer, halved)}"
    )


def _otherwise(trainer: Trainer, options: list[str]) -> str:
    """How to train with other settings: from the last good checkpoint or, where there is none, from the beginning."""
    if trainer.saved_images is None:
        return f"the command that began this run, with another --out and {' '.join(options)}"
    out = ["--out", _free_place(trainer.folder)]
    return f"`{command('branch', trainer.folder, '--at', trainer.saved_images, *out, *options)}`"


def _free_place(folder: Path) -> Path:
    """A folder beside that of a run, which does not exist."""
    run = folder.resolve() if folder.name in ("", "..") else folder
    beside = (run.with_name(f"{run.name}-branch-{number}") for number in itertools.count(1))
    return next(place for place in beside if not place.exists())


def _out_of_memory(trainer: Trainer, error: BaseException) -> str:
    config = trainer.config
    told = " ".join(str(error).split())[:200] or "MemoryError"
    return (
        f"not enough memory for a step ({told}). {_good(trainer)} If other programs held the memory, end them and go "
        f"on by {_again(trainer)}; else begin a new run with --accumulate {2 * config.accumulate} or a smaller --batch "
        f"than {config.batch}; --dry-run says what a step needs"
    )
