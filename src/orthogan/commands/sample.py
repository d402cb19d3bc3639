"""`orthogan sample RUN_OR_FILE`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from orthogan.classes import read
from orthogan.commands.options import Classes, Truncated, parse
from orthogan.commands.parsing import option
from orthogan.pictures import layout_of, place_of, save_images
from orthogan.reports import console, quoted
from orthogan.settings import require


@dataclass(frozen=True, kw_only=True)
class Options(Truncated):
    n: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many images."""
    classes: Classes = None
    """Classes in turn, by name or index: Cats,3,0-4; every class equally likely if left out. A word that names a class
    is that class, other numbers are indices; #7 is an index always, and a name with commas goes into double quotes."""
    layout: Annotated[Literal["images", "grid", "npz"] | None, tyro.conf.DisallowNone, option()] = None
    """Numbered PNG files and a table of their classes, one PNG grid, or an npz with the arrays `images` (N, H, W, 3),
    `labels` and `class_names`. If left out by the ending of --out, a .png being a grid and an .npz arrays."""
    out: Path = Path("samples")
    """An empty or new folder; or a .png or .npz file."""
    replace: bool = False
    """Write over the file that is there, or remove the samples that the folder holds."""


def main(argv: list[str]) -> int:
    options: Options = parse(Options, argv, "sample", "Write images from a run folder or a checkpoint file.")
    require(options.n > 0, "n", options.n, "must be positive")
    layout = options.layout or layout_of(options.out)
    place_of(options.out, layout, options.replace)
    model = options.load(options.out)
    classes = None if options.classes is None else read(options.classes, model.class_names, model.n_classes)
    stream = model.stream(
        options.n, classes=classes, truncation=options.truncation, form=options.form, seed=options.seed
    )
    labels = model.sampler.labels(options.n, classes, options.seed)
    written = save_images(stream, options.n, options.out, layout, labels, model.class_names, replace=options.replace)
    console.print(f"{options.n} images of {quoted(model.path)} are in {quoted(written)}")
    return 0
