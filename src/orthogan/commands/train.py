"""`orthogan train PRESET --data SOURCE`."""

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, get_args

import tyro

from orthogan import presets, ranks, runs, runtime
from orthogan.commands import stopped
from orthogan.commands.forecast import dry_run, tell_before
from orthogan.commands.options import SHORTENED, choose, expand, parse, separate
from orthogan.config import RunConfig
from orthogan.data.sources import refuse_inside_data
from orthogan.errors import UserError
from orthogan.files import CannotWrite
from orthogan.game.augment import AugmentConfig, Kind
from orthogan.model import find_checkpoint
from orthogan.pair import with_networks
from orthogan.reports import TrainingView, command, console, counting, quoted, warn
from orthogan.settings import flatten, require
from orthogan.training.cadence import follow_length
from orthogan.training.checkpoint import Loaded
from orthogan.training.launch import leave_together
from orthogan.training.player import NonFiniteError
from orthogan.training.trainer import Trainer
from orthogan.training.watch import Collapsed, watch_of

USAGE = """usage: orthogan train PRESET --data SOURCE [options]

Trains a preset on a folder, a zip, arrays, a Hugging Face data set, or the word digits.
For images of your own start with small-32 or small-64, and look first: orthogan data inspect SOURCE
Another network by name:  orthogan train PRESET --discriminator sngan
From networks of a run:   orthogan train [PRESET] --init RUN_OR_FILE --data SOURCE
The options of a preset:  orthogan train PRESET --help
The presets:              orthogan presets"""

FRESH = runs.InitConfig()


@dataclass(frozen=True, kw_only=True)
class Options:
    """The run's settings without a prefix, and where and how it begins."""

    run: Annotated[RunConfig, tyro.conf.arg(name="")]
    init: runs.InitConfig = FRESH
    out: Path | None = None
    """Folder of the run; runs/PRESET if left out, or runs/fine-tuned without a preset."""
    device: str | None = None
    """cpu, cuda or cuda:1; the GPU if there is one."""
    dry_run: bool = False
    """Print what would run, with arithmetic, memory, disk and time, and stop."""


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        console.print(USAGE)
        return 0
    networks, words = choose(expand(separate(argv), FILE_OF_INIT))
    found = checkpoint_of(words)
    if argv[0].startswith("-") and found is None:
        raise UserError(f"name a preset first, as in `orthogan train digits {' '.join(argv)}`; see `orthogan presets`")
    name, words = ("", words) if argv[0].startswith("-") else (words[0], words[1:])
    preset = presets.get(name) if name else None
    if found is not None:
        preset = runs.configuration(found, preset)
    assert preset is not None
    resolution = number(words, "--resolution") or number(words, "--network.resolution")
    config = with_networks(preset, networks, resolution)
    words = expand(words, flatten(config))
    config = with_augmentation(at_length(config, words), words)
    described = presets.describe(name) if name else "Begin from the networks of another run."
    options = parse(Options, words, f"train {name}".strip(), f"{described}\n{SHORTENED}", Options(run=config))
    runs.refuse_unread(config, options.run)
    device = runtime.pick_device(options.device)
    folder = options.out or Path("runs") / (name or "fine-tuned")
    if found is not None:
        runs.refuse_misfit(found, options.init, options.run)
    else:
        stray = next((word for word in words if word.startswith("--init.")), None)
        require(stray is None, "init.file", "", f"{stray} is for runs that begin from a checkpoint: give --init too")
    if options.dry_run:
        return dry_run(options.run, preset, name, folder, device)
    runs.refuse_existing(folder)
    refuse_inside_data(folder, options.run.data.source)
    runs.check_folder(folder)
    runs.check_names(options.run)
    if ranks.speaks_for_all():
        tell_before(options.run, preset, begun=found is not None)
    view = TrainingView(options.run.images, options.run.images_per_step)
    with counting("reading images") as progress:
        if found is None:
            trainer = runs.start(options.run, name, folder, view, device, progress)
        else:
            trainer = runs.fine_tune(found, options.init, options.run, name, folder, view, device, progress)
    return train(trainer, view)


FILE_OF_INIT = ("init.file",)
"""What `--init` is short for."""


def checkpoint_of(words: list[str]) -> Loaded | None:
    """The checkpoint that `--init` names: the settings of its networks decide which options there are."""
    given = [value for word, value in itertools.pairwise(words) if word == "--init.file"]
    return find_checkpoint(given[-1]) if given else None


def at_length(preset: RunConfig, words: list[str]) -> RunConfig:
    """The preset with what depends on the length as it fits the length that the words ask for."""
    images, batch, d_steps = (number(words, name) for name in ("--images", "--batch", "--d-steps"))
    return follow_length(preset, images or preset.images, batch or preset.batch, d_steps or preset.d_steps)


def with_augmentation(config: RunConfig, words: list[str]) -> RunConfig:
    """With another kind of augmentation the settings of the preset's own go."""
    chosen = [value for word, value in itertools.pairwise(words) if word == "--augment.kind"]
    if not chosen or chosen[-1] == config.augment.kind or chosen[-1] not in get_args(Kind):
        return config
    return replace(config, augment=AugmentConfig(kind=chosen[-1]))  # type: ignore[arg-type]


def number(words: list[str], option: str) -> int | None:
    """What follows an option, where it is a positive number; what is wrong with others is told by the parser."""
    given = [value for word, value in itertools.pairwise(words) if word.replace("_", "-") == option]
    return int(given[-1]) if given and given[-1].isdecimal() and int(given[-1]) else None


def train(trainer: Trainer, view: TrainingView) -> int:
    """Run to the end or to a signal, and say what to do next."""
    folder = trainer.folder
    begun = trainer.images
    try:
        with view:
            finished = trainer.run()
    except (NonFiniteError, Collapsed, CannotWrite, MemoryError, RuntimeError) as error:
        told = stopped.why(trainer, error)
        if told is None:
            raise
        raise UserError(told) from error
    leave_together()
    if not trainer.fabric.is_global_zero:
        return 0
    if not finished:
        console.print(f"stopped at {trainer.images} images; go on with\n  {command('resume', folder)}")
        return 128 + trainer.stop.by if trainer.stop.by else 0
    if alarms := [alarm for alarm in watch_of(trainer).alarms if not alarm["notice"]]:
        told = (
            f"{len(alarms)} alarm{'s' * (len(alarms) > 1)} of a collapse, the last at {alarms[-1]['images']:,} images"
        )
        warn(f"{told}. {stopped.after_alarm(trainer)}")
    console.print(
        f"trained {trainer.images - begun} images; the run is in {folder}\n"
        f"  {command('sample', folder, '-n', 64, '--out', folder / f'samples-{trainer.images}')}\n"
        f"  {command('evaluate', folder)}\n"
        f"  {command('report', folder)}\n"
        f"  tensorboard --logdir {quoted(folder / 'curves')}",
    )
    return 0
