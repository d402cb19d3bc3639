"""What a study trains: cells, each a whole configuration in a row and a column of the study's table."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from orthogan.config import CadenceConfig, RunConfig
from orthogan.data.config import DataConfig
from orthogan.metrics.scores import MIN_IMAGES
from orthogan.settings import check_choices, require

Table = tuple[list[str], list[list[str]]]
"""Heads and rows."""


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What every study is asked for. Studies derive from it."""

    spectra: ClassVar[int] = 0
    """Lines of singular values in each run; 0: as often as any run has them."""

    data: DataConfig = field(default_factory=DataConfig)
    out: Path | None = None
    """Folder of the study; studies/NAME if left out. The same command with the same folder goes on."""
    budget: float | None = None
    """Minutes that this machine may take for all trainings and scores; they decide the images of each run."""
    images: int | None = None
    """Real images shown in each run, instead of a budget; with --equal updates those of the smallest step."""
    equal: Literal["images", "updates"] = "images"
    """What all runs have the same number of: real images shown, or updates of G, as in the papers."""
    seeds: int = 2
    """Runs of each cell, from seed 0."""
    ema: float = 0.0
    """Share of the average of G kept at each update; 0 scores G itself, which varies much from update to update."""
    samples: int = 1_000
    """Generated images that score a run."""
    features: str = "efficientnet-lite0-96"
    """Feature network of the scores; data is one that is first trained on the real images' own labels."""
    scores: int = 1
    """Scores of each run, evenly spaced, the last at its end."""
    jobs: int | None = None
    """Runs at the same time; one a GPU or a processor core if left out. On cores with OMP_NUM_THREADS threads each, or
    one."""
    device: str | None = None
    """cpu or cuda; the GPU if there is one."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Arithmetic of the networks; auto is bf16 where the processor is fast at it."""

    def __post_init__(self) -> None:
        check_choices(self)
        require(bool(self.data.source), "data.source", self.data.source, "give --data a folder, a zip, or digits")
        finite = self.budget is None or (self.budget > 0 and math.isfinite(self.budget))
        require(finite, "budget", self.budget, "must be positive minutes")
        given = "give --budget MINUTES or --images N, one of them"
        require((self.budget is None) != (self.images is None), "budget", self.budget, given)
        for name in ("images", "seeds", "jobs", "scores"):
            value = getattr(self, name)
            require(value is None or value > 0, name, value, "must be positive")
        require(self.samples >= MIN_IMAGES, "samples", self.samples, f"scores need at least {MIN_IMAGES} images")


@dataclass(frozen=True)
class Begin:
    """The checkpoint that a run begins from, and where it stands."""

    path: Path
    images: int


@dataclass(frozen=True)
class Cell:
    """One run: where it stands in the table, and its configuration but for its length."""

    row: str
    column: str
    config: RunConfig
    preset: str
    begin: Begin | None = None
    """Of a cell that is a branch."""

    @property
    def start(self) -> int:
        """Images that have been shown before its first step."""
        return self.begin.images if self.begin else 0

    @property
    def name(self) -> str:
        """Folder of the run."""
        words = (self.row, self.column, f"seed{self.config.seed}")
        return "-".join(w.replace("+ ", "").replace(" ", "_") for w in words if w)


@dataclass(frozen=True)
class Study:
    """A study of a paper: its options, its cells, and what its table is called."""

    title: str
    options: type[StudyOptions]
    cells: Callable[[Any], list[Cell]]
    columns: str
    """What the columns of its table are; empty if there is one."""
    needs_classes: bool = False
    """Whether some of its rows mean nothing on images without labels."""
    branches: bool = False
    """Whether its cells begin from one checkpoint, whose score says which of them have collapsed."""
    traces: bool = False
    """Whether losses and singular values over images are drawn."""
    reference: str = ""
    """The row whose best score the others are timed to, where the study is of convergence."""
    look: Callable[[Path, Any], dict[str, Any]] | None = None
    """What the study looks at in the folder of a run that has ended, beside its scores."""
    tables: Callable[[Mapping[str, Sequence[dict[str, Any]]]], dict[str, Table]] | None = None
    """What it makes of that, by row."""


def common(options: StudyOptions, seed: int) -> dict[str, Any]:
    """The settings that all cells of a study take from its options, by path."""
    return {"seed": seed, "precision": options.precision, "ema.decay": options.ema} | {
        f"data.{name}": value for name, value in vars(options.data).items()
    }


def cadence(options: StudyOptions, images: int) -> CadenceConfig:
    """A run of a study is logged twenty times, drawn and saved at its end, and scored as often as is asked for."""
    own = {"spectra_images": max(1, images // options.spectra)} if options.spectra else {}
    return CadenceConfig(
        **own,
        log_images=max(1, images // 20),
        sheet_images=images,
        checkpoint_images=images,
        first_images=0,
        keep_last=1,
        score_images=max(1, images // options.scores),
        score_features=options.features,
        score_samples=options.samples,
    )
