"""What each stabiliser of D costs: real images a second, and the time of a step against the same D without any.

    python -m benchmarks.stabilizers [--preset biggan-32] [--width 64] [--batch 64] [--only none spectral-norm]

Rounds are interleaved, ratios are taken round by round: benchmarks/measure.py.
"""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Case, interleave, ratio
from benchmarks.ours import DIGITS
from orthogan import presets, runs, runtime
from orthogan.config import override
from orthogan.data import pack
from orthogan.nn.stabilizers import Stabilizer
from orthogan.training.trainer import Observer, Trainer, make_fabric


def make_step(preset: str, width: int, batch: int, stabilizer: str, device: torch.device) -> Callable[[], object]:
    """The trainer's own step of a preset with one D step, on the packed digits."""
    changes = {"network.width": width, "batch": batch, "d_steps": 1, "data.source": "digits", "g_batches": 1}
    changes |= {"network.stabilizer": stabilizer} | ({"loss": "wasserstein"} if stabilizer == "wgan-gp" else {})
    run = presets.get(preset)
    config = runs.resolve(override(run, changes), preset, 10, device)
    cache = pack(DIGITS, config.network.resolution)
    return Trainer(config, cache, Path(), make_fabric(config.precision, device), Observer()).step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="biggan-32")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--only", nargs="+", choices=get_args(Stabilizer), default=get_args(Stabilizer))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    device = runtime.pick_device()
    names = ["none", *(name for name in options.only if name != "none")]
    cases = [
        Case(name, make_step(options.preset, options.width, options.batch, name, device), options.batch)
        for name in names
    ]
    timings = interleave(cases, device=str(device), rounds=options.rounds, warmup=1, min_seconds=0.3)
    title = f"{options.preset}, width {options.width}, batch {options.batch}, 1 D step"
    table = Table("stabiliser", "real images/s", "time of a step / none's", title=title)
    for name in names:
        table.add_row(name, str(timings[name].rate), str(ratio(timings["none"], timings[name])))
    Console().print(table)


if __name__ == "__main__":
    main()
