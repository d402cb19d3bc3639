"""What it brings that freed memory is kept (`runtime.keep_freed_memory`): a step with and without, side by side.

    python -m benchmarks.freed_memory [--pairs BigGAN "Projected FastGAN as released, lite0 at 224"] [--batch 16]

On Linux with glibc, and on a processor. Without means glibc's own thresholds, at the largest that it sets itself.
"""

import argparse
import ctypes
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Case, interleave, ratio
from benchmarks.pairs import PAIRS, make_step
from orthogan.runtime import M_MMAP_MAX, M_TRIM_THRESHOLD, keep_freed_memory

M_MMAP_THRESHOLD = -3
OF_GLIBC = {M_MMAP_MAX: 65536, M_MMAP_THRESHOLD: 32 * 2**20, M_TRIM_THRESHOLD: 64 * 2**20}


def give_back() -> None:
    """As glibc does it."""
    for parameter, value in OF_GLIBC.items():
        ctypes.CDLL(None).mallopt(parameter, value)


def after(begin: Callable[[], None], step: Callable[[], object]) -> Callable[[], object]:
    def both() -> object:
        begin()
        return step()

    return both


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", choices=list(PAIRS), default=["BigGAN", "StyleGAN2-ADA"])
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--busy", action="store_true", help="time of the process, for a machine with other work")
    options = parser.parse_args()
    table = Table("pair", "kept, real images/s", "given back", "kept against given back")
    for name in options.pairs:
        step = make_step(name, options.side, options.batch, torch.device("cpu"))
        cases = [Case(what, after(begin, step), options.batch)
                 for what, begin in (("kept", keep_freed_memory), ("given back", give_back))]  # fmt: skip
        clock = time.process_time if options.busy else time.perf_counter
        found = interleave(cases, rounds=options.rounds, min_seconds=2.0, clock=clock)
        kept, given = found["kept"], found["given back"]
        table.add_row(name, str(kept.rate), str(given.rate), str(ratio(kept, given)))
    Console(width=None if Console().is_terminal else 140).print(table)


if __name__ == "__main__":
    main()
