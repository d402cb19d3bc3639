"""`orthogan resume RUN`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from orthogan import runs, runtime
from orthogan.commands.options import expand, parse, run_type
from orthogan.commands.train import train
from orthogan.config import RunConfig
from orthogan.errors import UserError
from orthogan.reports import TrainingView, console, counting
from orthogan.training.logs import read_config

USAGE = """usage: orthogan resume RUN [options]

Goes on from the newest whole checkpoint, bit for bit as if the run had never stopped (on a CPU).
Length and cadences may change: orthogan resume RUN --images 500000 --cadence.checkpoint-images 10000"""


def options_of(config: RunConfig[Any]) -> type:
    settings: Any = run_type(config)

    @dataclass(frozen=True, kw_only=True)
    class Options:
        run: Annotated[settings, tyro.conf.arg(name="")]
        device: str | None = None
        """cpu, cuda or cuda:1; the GPU if there is one."""

    return Options


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        console.print(USAGE, markup=False)
        return 0
    folder, words = Path(argv[0]), argv[1:]
    if not runs.is_run(folder):
        raise UserError(f"{folder} is not the folder of a run: it has no config.json; start one with `orthogan train`")
    config = read_config(folder)
    cls = options_of(config)
    options = parse(cls, expand(words), f"resume {folder}", "Go on with a run.", cls(run=config))
    view = TrainingView(options.run.images)
    device = runtime.pick_device(options.device)
    with counting("reading images") as progress:
        trainer = runs.resume(folder, options.run, view, device, progress)
    return train(trainer, view)
