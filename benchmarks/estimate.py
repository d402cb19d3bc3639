"""The memory that `--dry-run` predicts against the measured peak of a step.

python -m benchmarks.estimate [--widths 16 32 64] [--device cpu]
"""

import argparse

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.memory import MIB, MemoryCase, measure
from orthogan import presets
from orthogan.config import override
from orthogan.training.estimate import estimate

BATCH = 64


def predicted(width: int, precision: str, device: str) -> int:
    """Bytes alive at the peak of the step that `benchmarks.ours` builds."""
    changes = {"network.width": width, "batch": BATCH, "d_steps": 2}
    return estimate(override(presets.get("biggan-32"), changes), precision, torch.device(device)).peak_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    table = Table("width", "precision", "predicted MiB", "measured MiB", "predicted / measured")
    for width in options.widths:
        for precision in ("float32", "bf16"):
            guess = predicted(width, precision, options.device)
            found = measure(MemoryCase("ours", width, BATCH, precision, True, options.device)).total
            table.add_row(str(width), precision, f"{guess / MIB:.0f}", f"{found / MIB:.0f}", f"{guess / found:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
