"""The options of the commands that score: what they mean is said in `judging.How`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from orthogan.commands.parsing import option
from orthogan.data.config import Crop, Resize
from orthogan.judging import How


@dataclass(frozen=True, kw_only=True)
class Scoring(How):
    """How generated images are scored, as words of a command line."""

    against: Annotated[str, option(metavar="DATA", help_behavior_hint="")] = How.against
    features: Annotated[str, option(metavar="NAME")] = How.features
    samples: Annotated[int | None, option(aliases=["-n"], metavar="N")] = How.samples
    real: Annotated[int, option(metavar="N")] = How.real
    resamples: Annotated[int, option(metavar="N")] = How.resamples
    truncation: Annotated[float | None, option(metavar="T")] = How.truncation
    seed: Annotated[int, option(metavar="N")] = How.seed
    weights: Annotated[Path | None, option(metavar="PATH")] = How.weights
    resolution: Annotated[int | None, option(metavar="PIXELS")] = How.resolution
    crop: Annotated[Crop | None, tyro.conf.DisallowNone, option(name="data.crop")] = How.crop
    resize: Annotated[Resize | None, tyro.conf.DisallowNone, option(name="data.resize")] = How.resize
    unconditional: Annotated[bool, option(name="data.unconditional")] = How.unconditional
    skip_bad: Annotated[bool, option(name="data.skip-bad")] = How.skip_bad
    device: Annotated[str | None, option(metavar="NAME")] = How.device
