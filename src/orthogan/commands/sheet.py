"""`orthogan sheet RUN_OR_FILE`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from orthogan.commands.options import Checkpoint, parse
from orthogan.game.latents import check_truncation
from orthogan.reports import console, quoted
from orthogan.sampling import class_sheet, truncation_sheet
from orthogan.settings import require


@dataclass(frozen=True, kw_only=True)
class ByClass(Checkpoint):
    """A row of images for each of up to 10 classes, with the name of the class beside it."""

    truncation: float | None = None
    """Redraw every component of z beyond this threshold."""
    out: Path = Path("classes.png")
    """The PNG to write."""

    def __post_init__(self) -> None:
        check_truncation(self.truncation, "redraw")


@dataclass(frozen=True, kw_only=True)
class ByTruncation(Checkpoint):
    """A row of images for each truncation threshold, which stands beside it, the same classes in every row."""

    thresholds: tuple[float, ...] = (2.0, 1.5, 1.0, 0.5, 0.04)
    """Thresholds from the top row down; the default is the paper's figure 2."""
    out: Path = Path("truncation.png")
    """The PNG to write."""

    def __post_init__(self) -> None:
        require(len(self.thresholds) > 0, "thresholds", self.thresholds, "give at least one")
        for threshold in self.thresholds:
            check_truncation(threshold, "redraw")


Options = (
    Annotated[ByClass, tyro.conf.subcommand("classes")] | Annotated[ByTruncation, tyro.conf.subcommand("truncation")]
)


def main(argv: list[str]) -> int:
    options = parse(Options, argv, "sheet", "Draw one picture of many samples.")
    require(options.out.suffix == ".png", "out", str(options.out), "must end in .png")
    model = options.load(options.out)
    if isinstance(options, ByTruncation):
        sheet = truncation_sheet(model.sampler, options.thresholds, options.seed, stand=model.stand)
    else:
        model.stand(options.truncation)
        sheet = class_sheet(model.sampler, options.seed, options.truncation, names=model.class_names)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(options.out)
    console.print(f"the sheet is {quoted(options.out)}", markup=False)
    return 0
