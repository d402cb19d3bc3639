"""What scoring costs beside the forwards that it needs: all scores with intervals, nothing kept from before.

    python -m benchmarks.scores [--images 10000] [--features efficientnet-lite0] [--forwards 1000]

The bare forwards are timed on `--forwards` images a side, before and after, and reckoned for all. Beside the time on
the clock stands that of the processor, which other programs disturb less.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.machine import describe
from benchmarks.measure import figures
from orthogan import runtime
from orthogan.features import pretrained
from orthogan.features.pretrained import CHUNK, FeatureNet
from orthogan.metrics.evaluate import Scorer
from orthogan.metrics.intervals import RESAMPLES

AT_MOST = 1.2
"""Times the bare forwards that scoring 10,000 images against 10,000 may take."""


@dataclass(frozen=True)
class Seconds:
    clock: float
    processor: float

    def __truediv__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.clock / other.clock, self.processor / other.processor)

    def times(self, factor: float) -> "Seconds":
        return Seconds(self.clock * factor, self.processor * factor)


def timed(work: Callable[[], Any]) -> Seconds:
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - clock, time.process_time() - processor)


def noise(n: int, side: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def forwards(net: FeatureNet, *sides: np.ndarray) -> None:
    for images in sides:
        for start in range(0, len(images), CHUNK):
            net(images[start : start + CHUNK])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="of each side")
    parser.add_argument("--features", default="efficientnet-lite0")
    parser.add_argument("--forwards", type=int, default=1000, help="images a side that the bare forwards are timed on")
    parser.add_argument("--side", type=int, default=32, help="pixels")
    options = parser.parse_args()
    device = runtime.pick_device()
    real, fake = (noise(options.images, options.side, seed) for seed in (0, 1))
    few = min(options.forwards, options.images)
    net = pretrained.load(options.features, device=device)
    bar = Progress(TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())

    def score(tell: Callable[[int], None]) -> None:
        scorer = Scorer(options.features, real, "benchmark", device, progress=tell)
        scorer.score([fake], 0, progress=lambda done: tell(len(real) + done), resamples=RESAMPLES)

    with tempfile.TemporaryDirectory() as empty, bar:
        os.environ["ORTHOGAN_CACHE"] = empty
        forwards(net, real[:CHUNK])
        before = timed(lambda: forwards(net, real[:few], fake[:few]))
        task = bar.add_task("scoring", total=len(real) + len(fake))
        whole = timed(lambda: score(lambda done: bar.update(task, completed=done)))
        after = timed(lambda: forwards(net, real[:few], fake[:few]))
    both = Seconds((before.clock + after.clock) / 2, (before.processor + after.processor) / 2)
    bare = both.times(options.images / few)
    ratio = whole / bare
    machine = describe(str(device))
    title = f"{options.images} against {options.images} images, {options.features}; {machine['cpu']}"
    table = Table("", "clock, s", "processor, s", title=title)
    for name, row in (("bare forwards", bare), ("all scores and intervals", whole), ("ratio", ratio)):
        table.add_row(name, figures(row.clock), figures(row.processor))
    console = Console(width=None if Console().is_terminal else 120)
    console.print(table)
    console.print(f"aim at 10,000 images: at most {AT_MOST} times")


if __name__ == "__main__":
    main()
