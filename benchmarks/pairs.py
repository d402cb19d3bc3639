"""What a step of each pair of networks costs: real images a second, arithmetic, share of the machine's bf16 ceiling.

    python -m benchmarks.pairs [--sides 64 128 256] [--batch 16] [--only NAME ...]

Rounds are interleaved; the ceiling is the fastest convolution of the same run, measured before and after.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import ceiling
from benchmarks.measure import Case, figures, interleave
from benchmarks.ours import DIGITS
from orthogan import presets, runs, runtime
from orthogan.data import pack
from orthogan.pair import with_networks
from orthogan.settings import override
from orthogan.training.launch import make_fabric
from orthogan.training.trainer import Observer, Trainer

PAIRS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "Projected FastGAN, lite1 at 224": ("projected", {}, {"generator.width": 32}),
    "the same, released mixing, separable": (
        "projected",
        {},
        {"generator.width": 32, "discriminator.mixing": "released", "discriminator.separable": True},
    ),
    "FastGAN": ("fastgan", {}, {"generator.width": 32, "discriminator.width": 32}),
    "StyleGAN2-ADA": ("stylegan2-ada", {}, presets.both(channel_base=4096, channel_max=128)),
    "Projected StyleGAN2": ("projected-stylegan2", {}, {"generator.channel_base": 4096, "generator.channel_max": 128}),
}
"""Presets but for the side, other networks in them, and widths that a processor can bear."""


def make_step(name: str, side: int, batch: int, device: torch.device) -> Callable[[], object]:
    """The trainer's own step on the packed digits."""
    preset, networks, changes = PAIRS[name]
    begun = with_networks(presets.get(f"{preset}-{side}"), networks)
    config = override(begun, {**changes, "batch": batch, "data.source": "digits"})
    config = runs.resolve(config, f"{preset}-{side}", 10, device)
    trainer = Trainer(config, pack(DIGITS, side), Path(), make_fabric(config.precision, device), Observer())
    return trainer.step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", type=int, default=[64, 128, 256])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--only", nargs="+", choices=list(PAIRS), default=list(PAIRS))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    device = runtime.pick_device()
    top = ceiling.ceilings(str(device))["conv_bf16"]
    rows = []
    for side in options.sides:
        steps = {name: make_step(name, side, options.batch, device) for name in options.only}
        cases = [Case(name, step, options.batch) for name, step in steps.items()]
        timings = interleave(cases, device=str(device), rounds=options.rounds, warmup=2, min_seconds=0.5)
        for name, timing in timings.items():
            rows.append((side, name, timing.rate, ceiling.count_flops(steps[name]) / options.batch))
        del steps, cases
    top = max(top, ceiling.ceilings(str(device))["conv_bf16"])
    title = f"batch {options.batch}, bf16 ceiling {figures(top / 1e12)} TFLOP/s"
    table = Table("side", "pair", "real images/s", "GFLOP/image", "of the ceiling", title=title)
    for side, name, rate, flops in rows:
        share = f"{100 * rate.median * flops / top:.0f} %"
        table.add_row(str(side), name, str(rate), figures(flops / 1e9), share)
    Console(width=None if Console().is_terminal else 120).print(table)


if __name__ == "__main__":
    main()
