"""`orthogan sheet RUN_OR_FILE`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from orthogan.commands.options import Checkpoint, parse
from orthogan.config import require
from orthogan.reports import console
from orthogan.sampling import class_sheet, truncation_sheet


@dataclass(frozen=True, kw_only=True)
class ByClass(Checkpoint):
    """A row of images for each of up to 10 classes."""

    truncation: float | None = None
    """Redraw every component of z beyond this threshold."""
    out: Path = Path("classes.png")
    """The PNG to write."""


@dataclass(frozen=True, kw_only=True)
class ByTruncation(Checkpoint):
    """A row of images for each truncation threshold, the same classes in every row."""

    thresholds: tuple[float, ...] = (2.0, 1.5, 1.0, 0.5, 0.04)
    """Thresholds from the top row down; the default is the paper's figure 2."""
    out: Path = Path("truncation.png")
    """The PNG to write."""


Options = (
    Annotated[ByClass, tyro.conf.subcommand("classes")] | Annotated[ByTruncation, tyro.conf.subcommand("truncation")]
)


def main(argv: list[str]) -> int:
    options = parse(Options, argv, "sheet", "Draw one picture of many samples.")
    require(options.out.suffix == ".png", "out", str(options.out), "must end in .png")
    model = options.load()
    if isinstance(options, ByTruncation):
        sheet = truncation_sheet(model.sampler, options.thresholds, options.seed)
    else:
        model.stand(options.truncation)
        sheet = class_sheet(model.sampler, options.seed, options.truncation)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(options.out)
    console.print(f"the sheet is {options.out}", markup=False)
    return 0
