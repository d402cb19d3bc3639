"""`orthogan train PRESET --data SOURCE`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from orthogan import presets, runs, runtime
from orthogan.commands import stopped
from orthogan.commands.options import SHORTENED, expand, parse, run_type
from orthogan.commands.presets import show
from orthogan.config import RunConfig
from orthogan.errors import UserError
from orthogan.files import CannotWrite
from orthogan.reports import TrainingView, amount, console, counting, table
from orthogan.training.estimate import estimate
from orthogan.training.launch import leave_together
from orthogan.training.steps import NonFiniteError
from orthogan.training.trainer import Trainer

USAGE = """usage: orthogan train PRESET --data SOURCE [options]

Trains a preset on a folder, a zip, arrays, a Hugging Face data set, or the word digits.
The options of a preset:  orthogan train PRESET --help
The presets:              orthogan presets"""


def options_of(config: RunConfig[Any]) -> type:
    """The options of `orthogan train` for one family: the run's settings without a prefix, and three more."""
    settings: Any = run_type(config)

    @dataclass(frozen=True, kw_only=True)
    class Options:
        run: Annotated[settings, tyro.conf.arg(name="")]
        out: Path | None = None
        """Folder of the run; runs/PRESET if left out."""
        device: str | None = None
        """cpu, cuda or cuda:1; the GPU if there is one."""
        dry_run: bool = False
        """Print what would run, with parameters, arithmetic and memory, and stop."""

    return Options


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        console.print(USAGE, markup=False)
        return 0
    if argv[0].startswith("-"):
        raise UserError(f"name a preset first, as in `orthogan train digits {' '.join(argv)}`; see `orthogan presets`")
    name, *words = argv
    config = presets.get(name)
    cls = options_of(config)
    options = parse(cls, expand(words), f"train {name}", f"{presets.describe(name)}\n{SHORTENED}", cls(run=config))
    device = runtime.pick_device(options.device)
    folder = options.out or Path("runs") / name
    if options.dry_run:
        return dry_run(options.run, name, device)
    runs.refuse_existing(folder)
    view = TrainingView(options.run.images)
    with counting("reading images") as progress:
        trainer = runs.start(options.run, name, folder, view, device, progress)
    return train(trainer, view)


def train(trainer: Trainer, view: TrainingView) -> int:
    """Run to the end or to a signal, and say what to do next."""
    folder = trainer.folder
    begun = trainer.images
    try:
        with view:
            finished = trainer.run()
    except (NonFiniteError, CannotWrite, MemoryError, RuntimeError) as error:
        told = stopped.why(trainer, error)
        if told is None:
            raise
        raise UserError(told) from error
    leave_together()
    if not trainer.fabric.is_global_zero:
        return 0
    if not finished:
        console.print(f"stopped at {trainer.images} images; go on with\n  orthogan resume {folder}", markup=False)
        return 128 + trainer.stopped_by if trainer.stopped_by else 0
    console.print(
        f"trained {trainer.images - begun} images; the run is in {folder}\n"
        f"  orthogan sample {folder} -n 64 --out {folder}/samples\n"
        f"  orthogan evaluate {folder} --against {trainer.config.data.source}\n"
        f"  tensorboard --logdir {folder}/curves",
        markup=False,
    )
    return 0


def dry_run(config: RunConfig[Any], name: str, device: torch.device) -> int:
    """Print the resolved configuration and what it needs, without training."""
    if config.data.source:
        with counting("reading images") as progress:
            cache = runs.load_data(config, progress)
        config = runs.resolve(config, name, cache.n_classes, device)
    precision = runtime.resolve_precision(config.precision, device)
    needs = estimate(config, precision, device)
    show(config, "configuration")
    rows = [
        ["parameters of G", f"{needs.g_parameters:,}"],
        ["parameters of D", f"{needs.d_parameters:,}"],
        ["arithmetic of an image through G", amount(needs.g_flops, "FLOP")],
        ["arithmetic of an image through D", amount(needs.d_flops, "FLOP")],
        ["arithmetic of a step, a real image", amount(needs.step_flops, "FLOP")],
        [f"memory at the peak ({precision})", amount(needs.peak_bytes, "B")],
        ["images", f"{config.images:,} in {-(-config.images // config.images_per_step):,} steps"],
    ]
    table("needs of one process", ["what", "how much"], rows)
    return 0
