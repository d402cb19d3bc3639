"""`orthogan sample RUN_OR_FILE`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from orthogan.commands.options import Classes, Truncated, parse
from orthogan.reports import console
from orthogan.sampling import save_images


@dataclass(frozen=True, kw_only=True)
class Options(Truncated):
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many images."""
    classes: Classes = None
    """Class indices in turn, such as 3,7 or 0-4; every class equally likely if left out."""
    layout: Literal["images", "grid", "npz"] = "images"
    """Numbered PNG files, one PNG grid, or an npz with the array `images` (N, H, W, 3)."""
    out: Path = Path("samples")
    """Folder to write into."""


def main(argv: list[str]) -> int:
    options = parse(Options, argv, "sample", "Write images from a run folder or a checkpoint file.")
    model = options.load()
    stream = model.stream(
        options.n, classes=options.classes, truncation=options.truncation, form=options.form, seed=options.seed
    )
    written = save_images(stream, options.n, options.out, options.layout)
    console.print(f"{options.n} images of {model.path} are in {written}", markup=False)
    return 0
