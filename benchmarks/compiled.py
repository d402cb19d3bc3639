"""What torch.compile brings: seconds until the first step is done, and the time of a step against one without it.

    python -m benchmarks.compiled [--widths 16 32] [--batch 64]

Rounds are interleaved, ratios are taken round by round: benchmarks/measure.py. Times are of the processor, this process
and those that it starts, so that other programs matter less.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measure import figures, spread
from benchmarks.ours import DIGITS
from orthogan import presets, runs
from orthogan.data import pack
from orthogan.settings import override
from orthogan.training.launch import make_fabric
from orthogan.training.trainer import Observer, Trainer


def make_step(width: int, batch: int, compiled: str) -> Callable[[], object]:
    """The trainer's own step of `biggan-32` with one D step, on the packed digits."""
    changes = {**presets.both(width=width), "batch": batch, "d_steps": 1, "compile": compiled, "data.source": "digits"}
    device = torch.device("cpu")
    config = runs.resolve(override(presets.get("biggan-32"), changes), 10, 10, device)
    return Trainer(config, pack(DIGITS, 32), Path(), make_fabric(config.precision, device), Observer()).step


def processor_seconds(run: Callable[[], object]) -> float:
    """Of this process and of the compilers that it waited for."""
    before = os.times()
    run()
    after = os.times()
    return sum(after[:4]) - sum(before[:4])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", nargs="+", type=int, default=[16, 32])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    title = f"biggan-32, batch {options.batch}, 1 D step, {torch.get_num_threads()} threads; processor seconds"
    table = Table("width", "first step", "first step, compiled", "of them waited", "a step / compiled", title=title)
    for width in options.widths:
        plain, compiled = make_step(width, options.batch, "none"), make_step(width, options.batch, "both")
        first = processor_seconds(plain)
        began = time.perf_counter()
        start = processor_seconds(compiled)
        waited = time.perf_counter() - began
        for step in (plain, compiled):
            step()
        ratios = [processor_seconds(plain) / processor_seconds(compiled) for _ in range(options.rounds)]
        table.add_row(str(width), figures(first), figures(start), figures(waited), str(spread(ratios)))
    Console().print(table)


if __name__ == "__main__":
    main()
