"""What a look of the collapse watch costs, as a share of the training between two looks.

    python -m benchmarks.looks [--presets digits small-64] [--data SOURCE] [--steps 10]

Times are of the processor, so that other programs matter less. The digits are packed at each preset's resolution.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measure import figures, seconds
from orthogan import presets, runs
from orthogan.settings import override
from orthogan.training.trainer import Observer, Trainer
from orthogan.training.watch import LEAST_STEPS, watch_of


def begun(name: str, source: str, folder: Path) -> Trainer:
    """A trainer of a preset that looks, as the first step of its loop finds it."""
    config = override(presets.get(name), {"data.source": source})
    trainer = runs.start(config, name, folder, Observer(), torch.device("cpu"), lambda done, total: None)
    trainer.open_log()
    for duty in trainer.duties.values():
        duty.prepare(trainer)
    return trainer


def each(run: Callable[[], object], times: int) -> float:
    """Processor seconds of one call, the first left out."""
    run()
    return seconds(run, times, "cpu", time.process_time) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["digits", "small-64"])
    parser.add_argument("--data", default="digits")
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    table = Table("preset", "a step, s", "a look, s", "steps between looks", "share of training")
    for name in options.presets:
        with tempfile.TemporaryDirectory() as folder:
            trainer = begun(name, options.data, Path(folder) / "run")
            step = each(trainer.step, options.steps)
            look = each(lambda own=trainer: watch_of(own).do(own), 3)  # type: ignore[misc]
            config = trainer.config
            between = max(config.watch.every_images / config.images_per_step, LEAST_STEPS)
            row = [figures(step), figures(look), figures(between), f"{100 * look / (between * step):.1f} %"]
            table.add_row(name, *row)
            trainer.close()
    Console().print(table)


if __name__ == "__main__":
    main()
