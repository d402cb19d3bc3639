"""The options of the commands that score: what they mean is said in `judging.How`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from orthogan.data.config import Crop, Resize
from orthogan.judging import How


@dataclass(frozen=True, kw_only=True)
class Scoring(How):
    """How generated images are scored, as words of a command line."""

    against: Annotated[str, tyro.conf.arg(metavar="DATA", help_behavior_hint="(default: training)")] = How.against
    features: Annotated[str, tyro.conf.arg(metavar="NAME")] = How.features
    samples: Annotated[int | None, tyro.conf.arg(aliases=["-n"], metavar="N")] = How.samples
    real: Annotated[int, tyro.conf.arg(metavar="N")] = How.real
    resamples: Annotated[int, tyro.conf.arg(metavar="N")] = How.resamples
    truncation: Annotated[float | None, tyro.conf.arg(metavar="T")] = How.truncation
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = How.seed
    weights: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = How.weights
    resolution: Annotated[int | None, tyro.conf.arg(metavar="PIXELS")] = How.resolution
    crop: Annotated[Crop | None, tyro.conf.arg(name="data.crop")] = How.crop
    resize: Annotated[Resize | None, tyro.conf.arg(name="data.resize")] = How.resize
    unconditional: Annotated[bool, tyro.conf.arg(name="data.unconditional")] = How.unconditional
    skip_bad: Annotated[bool, tyro.conf.arg(name="data.skip-bad")] = How.skip_bad
    device: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = How.device
