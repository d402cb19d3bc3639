"""`orthogan interpolate RUN_OR_FILE`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from orthogan.commands.options import Classes, Truncated, parse
from orthogan.config import require
from orthogan.reports import console
from orthogan.sampling import Walk, grid, save_film, walk


@dataclass(frozen=True, kw_only=True)
class Options(Truncated):
    between: Walk = "latents"
    """Walk between latents at one class, between classes at one latent, or between both."""
    rows: int = 8
    """How many walks, one a row of the sheet."""
    steps: int = 10
    """Images on each walk, its two ends included."""
    path: Literal["slerp", "lerp"] = "slerp"
    """Great circle or straight line between latents; class embeddings always take the straight line."""
    classes: Classes = None
    """Classes to walk through, such as 3,7 or 0-4; all of them in turn if left out."""
    out: Path = Path("interpolation.png")
    """A .png sheet, a .gif, or an .mp4 (the extra orthogan[video])."""
    fps: int = 15
    """Images a second of a GIF or an MP4, which show all rows at once and walk to and fro."""


def main(argv: list[str]) -> int:
    options = parse(Options, argv, "interpolate", "Walk between latents or classes.")
    require(options.rows > 0, "rows", options.rows, "must be positive")
    require(options.steps > 1, "steps", options.steps, "must be at least 2: a walk has two ends")
    suffixes = (".png", ".gif", ".mp4")
    require(options.out.suffix in suffixes, "out", str(options.out), f"must end in {', '.join(suffixes)}")
    model = options.load()
    model.stand(options.truncation, options.form)
    images = walk(
        model.sampler,
        options.between,
        options.rows,
        options.steps,
        path=options.path,
        classes=options.classes,
        truncation=options.truncation,
        form=options.form,
        seed=options.seed,
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    if options.out.suffix == ".png":
        grid(torch.cat(list(images)), options.steps).save(options.out)
    else:
        save_film(images, options.steps, options.out, options.fps)
    console.print(f"{options.rows} walks of {options.steps} images are in {options.out}", markup=False)
    return 0
