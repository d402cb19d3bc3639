"""`orthogan interpolate RUN_OR_FILE`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from orthogan.classes import read
from orthogan.commands.options import Classes, Truncated, parse
from orthogan.commands.parsing import option
from orthogan.files import check_new
from orthogan.pictures import check_film, grid, labelled, save_film, save_picture
from orthogan.reports import console, quoted
from orthogan.sampling import Walk, walk, walk_names
from orthogan.settings import require


@dataclass(frozen=True, kw_only=True)
class Options(Truncated):
    between: Walk = "latents"
    """Walk between latents at one class, between classes at one latent, or between both."""
    rows: int = 8
    """How many walks, one a row of the sheet."""
    steps: int = 10
    """Images on each walk, its two ends included."""
    path: Annotated[Literal["slerp", "lerp"] | None, tyro.conf.DisallowNone, option()] = None
    """Great circle (if left out) or straight line between latents; class embeddings always take the straight
    line, and so does the intermediate latent of a StyleGAN2."""
    classes: Classes = None
    """Classes to walk through, by name or index: Cats,3,0-4; all of them in turn if left out."""
    out: Path = Path("interpolation.png")
    """A .png sheet, a .gif, or an .mp4 (the extra orthogan[video])."""
    fps: int = 15
    """Images a second of a GIF or an MP4, which show all rows at once and walk to and fro; at least a second long."""
    replace: bool = False
    """Write over a file that is there."""
    scale: Annotated[int | None, option(metavar="N")] = None
    """Whole number of pixels that each becomes on a side. If left out 1 for a sheet, and what makes a film 256 wide."""


def main(argv: list[str]) -> int:
    options = parse(Options, argv, "interpolate", "Walk between latents or classes.")
    require(options.rows > 0, "rows", options.rows, "must be positive")
    require(options.steps > 1, "steps", options.steps, "must be at least 2: a walk has two ends")
    suffixes = (".png", ".gif", ".mp4")
    require(options.out.suffix in suffixes, "out", str(options.out), f"must end in {', '.join(suffixes)}")
    require(options.scale is None or options.scale > 0, "scale", options.scale, "must be positive")
    check_film(options.out, options.fps)
    check_new(options.out, options.replace)
    model = options.load(options.out)
    classes = None if options.classes is None else read(options.classes, model.class_names, model.n_classes)
    # What cannot be walked is refused here, before statistics are collected; no image is made before it is asked for.
    images = walk(
        model.sampler,
        options.between,
        options.rows,
        options.steps,
        path=options.path,
        classes=classes,
        truncation=options.truncation,
        form=options.form,
        seed=options.seed,
    )
    model.stand(options.truncation, options.form)
    if options.out.suffix == ".png":
        names = walk_names(model.sampler, options.between, options.rows, classes, model.class_names)
        sheet = labelled(grid(torch.cat(list(images)), options.steps, options.scale or 1), names)
        save_picture(sheet, options.out)
    else:
        save_film(images, options.steps, options.out, options.fps, options.scale)
    console.print(f"{options.rows} walks of {options.steps} images are in {quoted(options.out)}")
    return 0
