"""What to say of a run that had to stop: why, which checkpoint is good, and what to do next, in one line."""

from orthogan.errors import is_out_of_memory, one_line
from orthogan.files import CannotWrite, free_beside
from orthogan.reports import command
from orthogan.training import advice, checkpoint
from orthogan.training.keeping import checkpoint_before
from orthogan.training.launch import is_lost_process
from orthogan.training.player import NonFiniteError
from orthogan.training.trainer import Trainer
from orthogan.training.watch import Collapsed, watch_of


def why(trainer: Trainer, error: BaseException) -> str | None:
    """The line for an error that is nobody's mistake in the code; None for any other."""
    if isinstance(error, NonFiniteError):
        return _diverged(trainer, error)
    if isinstance(error, Collapsed):
        return _collapsed(trainer, error)
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
        f"with half the learning rates, for example: {_otherwise(trainer, halved, trainer.saved_images)}"
    )


def _collapsed(trainer: Trainer, error: Collapsed) -> str:
    """What was seen has been told already."""
    tries = len(trainer.rollbacks)
    again = f" again after {tries} rollback{'s' * (tries > 1)}" if tries else ""
    return f"stopped at {trainer.images} images, for the run collapses{again}. {after_alarm(trainer)}"


def after_alarm(trainer: Trainer) -> str:
    """Which checkpoint is from before the last alarm's first sign, and the command that begins there otherwise."""
    alarm = next(alarm for alarm in reversed(watch_of(trainer).alarms) if not alarm["notice"])
    names = [name for sign in alarm["signs"] for name in sign["advice"]]
    changes = advice.settings(names, trainer.config)
    options = [word for path, value in changes.items() for word in _as_option(path, value)]
    at = checkpoint_before(trainer, alarm["before"])
    if at is None:
        return f"No checkpoint is from before the first sign; try {_otherwise(trainer, options, at)}"
    path = trainer.checkpoints / checkpoint.file_name(at)
    return (
        f"The last checkpoint from before the first sign is {path}; try for example {_otherwise(trainer, options, at)}"
    )


def _as_option(path: str, value: object) -> tuple[str, str]:
    return f"--{path.replace('_', '-')}", f"{value:g}" if isinstance(value, float) else str(value)


def _otherwise(trainer: Trainer, options: list[str], at: int | None) -> str:
    """How to train with other settings: from a good checkpoint or, where there is none, from the beginning."""
    if at is None:
        return f"the command that began this run, with another --out and {' '.join(options)}"
    out = ["--out", str(free_beside(trainer.folder, "branch"))]
    return f"`{command('branch', trainer.folder, '--at', at, *out, *options)}`"


def _out_of_memory(trainer: Trainer, error: BaseException) -> str:
    config = trainer.config
    told = one_line(error, 200) or "MemoryError"
    return (
        f"not enough memory for a step ({told}). {_good(trainer)} If other programs held the memory, end them and go "
        f"on by {_again(trainer)}; else begin a new run with --accumulate {2 * config.accumulate} or a smaller --batch "
        f"than {config.batch}; --dry-run says what a step needs"
    )
