"""`orthogan sheet RUN_OR_FILE`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from orthogan.commands.options import Checkpoint, parse
from orthogan.commands.parsing import option
from orthogan.errors import UserError
from orthogan.files import check_new
from orthogan.pictures import save_picture
from orthogan.reports import console, quoted
from orthogan.sampling import class_sheet, truncation_sheet
from orthogan.settings import require

PAPER = (2.0, 1.5, 1.0, 0.5, 0.04)
THRESHOLDS = {"z": PAPER, "w": (1.0, 0.75, 0.5, 0.25, 0.0)}


@dataclass(frozen=True, kw_only=True)
class ByClass(Checkpoint):
    """A row of images for each of up to 10 classes, with the name of the class beside it."""

    truncation: Annotated[float | None, option(metavar="T")] = None
    """Redraw every component of z beyond this threshold; psi of a StyleGAN2; none if left out."""
    out: Path = Path("classes.png")
    """The PNG to write."""
    replace: bool = False
    """Write over a file that is there."""


@dataclass(frozen=True, kw_only=True)
class ByTruncation(Checkpoint):
    """A row of images for each truncation threshold, which stands beside it, the same classes in every row."""

    thresholds: Annotated[tuple[float, ...] | None, option(metavar="T ...")] = None
    """Thresholds from the top row down. Left out, 2 1.5 1 0.5 0.04, the BigGAN paper's figure 2; of the psi of a
    StyleGAN2 1 0.75 0.5 0.25 0."""
    out: Path = Path("truncation.png")
    """The PNG to write."""
    replace: bool = False
    """Write over a file that is there."""


Options = (
    Annotated[ByClass, tyro.conf.subcommand("classes")] | Annotated[ByTruncation, tyro.conf.subcommand("truncation")]
)


def main(argv: list[str]) -> int:
    options = parse(Options, argv, "sheet", "Draw one picture of many samples.")
    require(options.out.suffix == ".png", "out", str(options.out), "must end in .png")
    check_new(options.out, options.replace)
    model = options.load(options.out)
    if isinstance(options, ByTruncation):
        kind = model.sampler.generator.truncation
        if kind == "none":
            raise UserError("this generator has no truncation: draw its images by `orthogan sheet classes`")
        thresholds = THRESHOLDS[kind] if options.thresholds is None else options.thresholds
        sheet = truncation_sheet(model.sampler, thresholds, options.seed, stand=model.stand)
    else:
        model.stand(options.truncation)
        sheet = class_sheet(model.sampler, options.seed, options.truncation, names=model.class_names)
    save_picture(sheet, options.out)
    console.print(f"the sheet is {quoted(options.out)}")
    return 0
