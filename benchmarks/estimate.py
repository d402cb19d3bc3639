"""The memory that `--dry-run` predicts against the measured peak of a step, two D steps each.

python -m benchmarks.estimate [--device cpu] [--quick]
"""

import argparse

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.memory import MIB, MemoryCase, measure
from orthogan import presets
from orthogan.settings import override
from orthogan.training.estimate import estimate

CASES = [
    ("biggan-32", 16, 64),
    ("biggan-32", 64, 64),
    ("biggan-64", 32, 32),
    ("biggan-128", 32, 8),
    ("biggan-deep-128", 32, 8),
]
"""Preset, width, batch."""


def predicted(preset: str, width: int, batch: int, precision: str, device: str) -> int:
    """Bytes at the peak of the step that `benchmarks.ours` builds."""
    changes = {**presets.both(width=width), "n_classes": 10, "batch": batch, "d_steps": 2}
    return estimate(override(presets.get(preset), changes), precision, torch.device(device)).peak_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="the first case only")
    options = parser.parse_args()
    table = Table("preset", "width", "batch", "precision", "predicted MiB", "measured MiB", "predicted / measured")
    for preset, width, batch in CASES[: 1 if options.quick else None]:
        for precision in ("float32", "bf16"):
            guess = predicted(preset, width, batch, precision, options.device)
            found = measure(MemoryCase("ours", width, batch, precision, True, options.device, preset=preset)).total
            cells = (f"{guess / MIB:,.0f}", f"{found / MIB:,.0f}", f"{guess / found:.2f}")
            table.add_row(preset, str(width), str(batch), precision, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
