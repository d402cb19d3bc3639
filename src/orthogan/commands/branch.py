"""`orthogan branch RUN --out NEW`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from orthogan import runs, runtime
from orthogan.commands.options import choose, expand, parse, separate
from orthogan.commands.resume import check_place, folder_of
from orthogan.commands.train import train
from orthogan.config import RunConfig
from orthogan.pair import remarks, with_networks
from orthogan.reports import TrainingView, command, console, counting, warn
from orthogan.settings import flatten
from orthogan.training.cadence import duties_never_due
from orthogan.training.logs import read_config

USAGE = """usage: orthogan branch RUN --out NEW [options]

Begins a new run from a checkpoint of another one, with other settings; what is not given is as it was there.
After a divergence:       orthogan branch RUN --out NEW --at 400000 --optimizer.g-lr 1e-5
Only one network learns:  orthogan branch RUN --out NEW --freeze generator
On other images:          orthogan branch RUN --out NEW --data OTHER --images 2000000
All that may change:      orthogan branch RUN --help"""

DESCRIPTION = """Begin a new run from a checkpoint of another one.

Settings that change tensors of the networks are refused."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The settings of the run that is branched from, and where the branch begins and is written."""

    run: Annotated[RunConfig, tyro.conf.arg(name="")]
    out: Path
    """Folder of the new run."""
    at: int | None = None
    """Begin from the newest checkpoint at or below so many images, or the best one; none: the newest of all."""
    device: str | None = None
    """cpu, cuda or cuda:1; the GPU if there is one."""


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        console.print(USAGE)
        return 0
    parent = folder_of(argv[0])
    networks, words = choose(separate(argv[1:]))
    begun = with_networks(read_config(parent), networks)  # another one is refused by its tensors
    default = Options(run=begun, out=tyro.MISSING)
    options = parse(Options, expand(words, flatten(begun)), f"branch {parent}", DESCRIPTION, default)
    config = options.run
    runs.refuse_unread(begun, config)
    runs.refuse_existing(options.out)
    check_place(config.data.source, command("branch", parent, "--out", options.out, "--data", "NEW/PLACE"))
    device = runtime.pick_device(options.device)
    view = TrainingView(config.images, config.images_per_step)
    with counting("reading images") as progress:
        trainer = runs.branch(parent, config, options.out, view, device, progress, options.at)
    if trainer.fabric.is_global_zero:
        for text in (*remarks(config), *duties_never_due(config)):
            warn(text)
    return train(trainer, view)
