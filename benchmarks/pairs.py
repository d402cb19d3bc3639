"""What a step of each pair of networks costs: real images a second, arithmetic, share of the machine's bf16 ceiling.

    python -m benchmarks.pairs [--sides 64 128 256] [--batch 16] [--only NAME ...] [--rival PATH/TO/projected-gan]

Rounds are interleaved; the ceiling is the fastest convolution of the same run, measured before and after. With a
checkout of the published code, its step in float32 stands beside the pair that has the same networks.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import ceiling, memory
from benchmarks.measure import Case, figures, interleave, ratio
from benchmarks.ours import DIGITS
from benchmarks.published_projected import Published
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
    "Projected FastGAN as released, lite0 at 224": ("projected-released", {}, {"generator.width": 32}),
    "FastGAN": ("fastgan", {}, {"generator.width": 32, "discriminator.width": 32}),
    "StyleGAN2-ADA": ("stylegan2-ada", {}, presets.both(channel_base=4096, channel_max=128)),
    "BigGAN": ("small", {}, {}),
    "BigGAN against a projected D, lite0 at 96": ("projected-small", {}, {}),
    "Projected StyleGAN2": ("projected-stylegan2", {}, {"generator.channel_base": 4096, "generator.channel_max": 128}),
}
"""Presets but for the side, other networks in them, and widths that a processor can bear."""


def make_step(name: str, side: int, batch: int, device: torch.device) -> Callable[[], object]:
    """The trainer's own step on the packed digits."""
    preset, networks, changes = PAIRS[name]
    begun = with_networks(presets.get(f"{preset}-{side}"), networks)
    config = override(begun, {**changes, "batch": batch, "data.source": "digits"})
    config = runs.resolve(config, begun.n_classes, 10, device)
    trainer = Trainer(config, pack(DIGITS, side), Path(), make_fabric(config.precision, device), Observer())
    return trainer.step


PUBLISHED = ("Projected FastGAN as released, lite0 at 224", "the published code")
"""The pair whose networks are those of the published code, and that code's name in the table."""


def make_published_step(path: str, name: str, side: int, batch: int, device: torch.device) -> Callable[[], object]:
    """The step of a checkout with the networks of the pair `name`."""
    return Published(path, device).train_step(side, batch, PAIRS[name][2]["generator.width"])


def peak(kind: str, name: str, side: int, options: argparse.Namespace, device: torch.device) -> str:
    """MiB of a step above the built networks."""
    case = memory.MemoryCase(kind, 0, options.batch, "auto", True, str(device), options.rival or "", name, side)
    return figures(memory.measure(case).step / memory.MIB)


def rows(side: int, options: argparse.Namespace, device: torch.device) -> list[list[Any]]:
    """Of every pair at a side: the side, name, rate, FLOPs of an image, peak memory, and ratio to the published."""
    there = [name for name in options.only if f"{PAIRS[name][0]}-{side}" in presets.PRESETS]
    steps = {name: make_step(name, side, options.batch, device) for name in there}
    kinds = dict.fromkeys(steps, "pair")
    ours, published = PUBLISHED
    if options.rival and ours in steps:
        steps[published] = make_published_step(options.rival, ours, side, options.batch, device)
        kinds[published] = "published pair"
    cases = [Case(name, step, options.batch) for name, step in steps.items()]
    timings = interleave(
        cases, device=str(device), rounds=options.rounds, warmup=2, min_seconds=0.5, clock=clock(options)
    )
    made = []
    for name, timing in timings.items():
        flops = ceiling.count_flops(steps[name]) / options.batch
        peak_of = ours if name == published else name
        used = peak(kinds[name], peak_of, side, options, device) if options.memory else ""
        quicker = str(ratio(timing, timings[published])) if name == ours and published in timings else ""
        made.append([side, name, timing.rate, flops, used, quicker])
    return made


def clock(options: argparse.Namespace) -> Callable[[], float]:
    return time.process_time if options.busy else time.perf_counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", nargs="+", type=int, default=[64, 128, 256])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--only", nargs="+", choices=list(PAIRS), default=list(PAIRS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rival", help="folder of a checkout of autonomousvision/projected-gan")
    parser.add_argument("--memory", action="store_true", help="peak memory too, each in a process of its own")
    parser.add_argument("--busy", action="store_true", help="time of the process, for a machine with other work")
    options = parser.parse_args()
    device = runtime.pick_device()

    def best() -> float:
        if options.busy:
            return ceiling.conv_ceiling(torch.bfloat16, str(device), clock=time.process_time)
        return ceiling.ceilings(str(device))["conv_bf16"]

    top, found = best(), []
    for side in options.sides:
        found += rows(side, options, device)
        top = max(top, best())
    title = f"batch {options.batch}, bf16 ceiling {figures(top / 1e12)} TFLOP/s"
    table = Table(
        "side", "pair", "real images/s", "GFLOP/image", "of the ceiling", "peak, MiB", "against published", title=title
    )
    for side, name, rate, flops, used, quicker in found:
        share = f"{100 * rate.median * flops / top:.0f} %"
        table.add_row(str(side), name, str(rate), figures(flops / 1e9), share, used, quicker)
    Console(width=None if Console().is_terminal else 140).print(table)


if __name__ == "__main__":
    main()
