"""`orthogan resume RUN`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from orthogan import runs, runtime
from orthogan.commands.options import choose, expand, parse, separate
from orthogan.commands.train import train
from orthogan.config import CadenceConfig, RunConfig, WatchConfig
from orthogan.data.sources import NAMED
from orthogan.errors import UserError
from orthogan.pair import remarks, with_networks
from orthogan.reports import TrainingView, command, console, counting, warn
from orthogan.settings import flatten
from orthogan.training.cadence import duties_never_due
from orthogan.training.launch import leave_together
from orthogan.training.logs import read_config

USAGE = """usage: orthogan resume RUN [options]

Goes on from the newest whole checkpoint, bit for bit as if the run had never stopped (on a CPU).
Length, cadences and the watch may change: orthogan resume RUN --images 500000 --on-collapse stop
Data that has moved:                       orthogan resume RUN --data NEW/PLACE
All that may change:                       orthogan resume RUN --help"""

MAY_CHANGE = ("--images", "--cadence.", "--watch.", "--data.source", "--device", "-h", "--help")
"""Beginnings of the options that `--help` tells."""


@dataclass(frozen=True, kw_only=True)
class Place:
    source: str
    """Where the data is now, short --data; it must be the same images."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What may change."""

    images: int
    """Length of the run in real images; fixed where the learning rate or the latent depends on it."""
    data: Place
    cadence: CadenceConfig
    watch: WatchConfig
    device: str | None = None
    """cpu, cuda or cuda:1; the GPU if there is one."""


@dataclass(frozen=True, kw_only=True)
class EveryOption:
    """All settings of a run: what may not change is then refused by its name and values."""

    run: Annotated[RunConfig, tyro.conf.arg(name="")]
    device: str | None = None


def read_options(folder: Path, config: RunConfig, words: list[str]) -> tuple[RunConfig, str | None]:
    """The run's configuration with what the words change, and the device."""
    named = [word for word in words if word.startswith("-")]
    if all(word.startswith(MAY_CHANGE) for word in named):
        here = Place(source=config.data.source)
        begun = Options(images=config.images, data=here, cadence=config.cadence, watch=config.watch)
        given = parse(Options, words, f"resume {folder}", "Go on with a run.", begun)
        data = replace(config.data, source=runs.whole_path(given.data.source))
        return replace(config, images=given.images, data=data, cadence=given.cadence, watch=given.watch), given.device
    options = parse(EveryOption, words, f"resume {folder}", "Go on with a run.", EveryOption(run=config))
    return options.run, options.device


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        console.print(USAGE)
        return 0
    folder = folder_of(argv[0])
    networks, words = choose(separate(argv[1:]))
    begun = with_networks(read_config(folder), networks)  # another one is refused like any other change
    config, wanted = read_options(folder, begun, expand(words, flatten(begun)))
    runs.refuse_unread(begun, config)
    check_place(config.data.source, command("resume", folder, "--data", "NEW/PLACE"))
    device = runtime.pick_device(wanted)
    view = TrainingView(config.images, config.images_per_step)
    with counting("reading images") as progress:
        trainer = runs.resume(folder, config, view, device, progress)
    if trainer.fabric.is_global_zero:
        for text in (*remarks(config), *duties_never_due(config)):
            warn(text)
    if trainer.images >= config.images:
        trainer.close()
        leave_together()
        if trainer.fabric.is_global_zero:
            longer = command("resume", folder, "--images", 2 * config.images)
            console.print(f"{folder} has all its {config.images:,} images already; for longer: {longer}")
        return 0
    return train(trainer, view)


def folder_of(word: str) -> Path:
    """The folder of a run that the first word names."""
    folder = Path(word)
    if not runs.is_run(folder):
        raise UserError(f"{folder} is not the folder of a run: it has no config.json; start one with `orthogan train`")
    return folder


def check_place(source: str, way_out: str) -> None:
    """Refuse data that is not where it was, with the command that says where it is now."""
    if source not in NAMED and not Path(source).expanduser().exists():
        raise UserError(f"data.source={source!r} is not there any more; if it has moved: {way_out}")
