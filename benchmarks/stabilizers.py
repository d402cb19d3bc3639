"""What each network and stabiliser costs: real images a second, and a step's time against the same D without any.

    python -m benchmarks.stabilizers [--presets biggan-32 sngan-32] [--width 64] [--batch 64] [--only spectral-norm]

Rounds are interleaved, ratios are taken round by round: benchmarks/measure.py.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Case, Timing, interleave, ratio
from benchmarks.ours import DIGITS
from orthogan import presets, runs, runtime
from orthogan.data import pack
from orthogan.nn.stabilizers import Stabilizer
from orthogan.settings import override
from orthogan.training.launch import make_fabric
from orthogan.training.trainer import Observer, Trainer


def make_step(preset: str, width: int, batch: int, stabilizer: str, device: torch.device) -> Callable[[], object]:
    """The trainer's own step of a preset with one D step, on the packed digits."""
    changes = {**presets.both(width=width), "batch": batch, "d_steps": 1, "data.source": "digits", "g_batches": 1}
    changes |= {"discriminator.stabilizer": stabilizer} | ({"loss": "wasserstein"} if stabilizer == "wgan-gp" else {})
    run = presets.get(preset)
    config = runs.resolve(override(run, changes), run.n_classes, 10, device)
    cache = pack(DIGITS, config.resolution)
    return Trainer(config, cache, Path(), make_fabric(config.precision, device), Observer()).step


def time_network(preset: str, options: argparse.Namespace, device: torch.device) -> dict[str, Timing]:
    """One network with every stabiliser, in interleaved rounds."""
    names = ["none", *(name for name in options.only if name != "none")]
    cases = [Case(name, make_step(preset, options.width, options.batch, name, device), options.batch) for name in names]
    return interleave(cases, device=str(device), rounds=options.rounds, warmup=1, min_seconds=0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["biggan-32"])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--only", nargs="+", choices=get_args(Stabilizer), default=get_args(Stabilizer))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    device = runtime.pick_device()
    title = f"width {options.width}, batch {options.batch}, 1 D step"
    table = Table("network", "stabiliser", "real images/s", "time of a step / none's", title=title)
    for preset in options.presets:
        timings = time_network(preset, options, device)
        for name, timing in timings.items():
            table.add_row(preset, name, str(timing.rate), str(ratio(timings["none"], timing)))
    Console().print(table)


if __name__ == "__main__":
    main()
