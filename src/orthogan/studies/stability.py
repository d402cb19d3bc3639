"""What holds a collapse back and what brings it on (Brock et al. 2019): R1's sweep, and the interventions of App. G."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from orthogan import presets
from orthogan.config import RunConfig, WatchConfig, may_change_on_resume
from orthogan.data.config import DataConfig
from orthogan.presets import both
from orthogan.settings import override, require
from orthogan.studies.cells import Begin, Cell, StudyOptions, common
from orthogan.studies.sngan import check_list
from orthogan.training import checkpoint
from orthogan.training.logs import read_config

GAMMAS = (0.0, 1e-3, 1e-2, 1e-1, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0)
"""Without R1, and the paper's sweep (section 4.2)."""


@dataclass(frozen=True, kw_only=True)
class R1Options(StudyOptions):
    spectra = 20

    data: DataConfig = field(default_factory=lambda: DataConfig(hold_out=0.1))
    preset: str = "digits"
    """Networks and learning rates; a preset whose two networks have a width."""
    width: int = 16
    """Channel multiplier of both networks."""
    batch: int = 32
    """Batch of every run."""
    gammas: tuple[float, ...] = GAMMAS
    """Rows of the table: strengths of R1; 0 leaves it out."""
    interval: int = 1
    """Updates of D for one with R1; every one in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        presets.find(self.preset)
        fine = bool(self.gammas) and min(self.gammas) >= 0 and len(set(self.gammas)) == len(self.gammas)
        require(fine, "gammas", self.gammas, "must be different strengths from 0 on, at least one")


def r1(options: R1Options) -> list[Cell]:
    """A row a strength of R1, else alike."""
    return [_r1(options, gamma, seed) for seed in range(options.seeds) for gamma in options.gammas]


def _r1(options: R1Options, gamma: float, seed: int) -> Cell:
    penalty = {"regularizers.d_r1.strength": gamma, "regularizers.d_r1.interval": options.interval} if gamma else {}
    average = {"ema.halflife_images": None, "ema.rampup": None}
    settings = {**common(options, seed), **average, **both(width=options.width), "batch": options.batch, **penalty}
    return Cell(f"gamma {gamma:g}", "", override(presets.get(options.preset), settings), options.preset)


INTERVENTIONS: dict[str, tuple[int, int, str]] = {
    "unchanged": (0, 0, "none"),
    "G lr up": (1, 0, "none"),
    "D lr up": (0, 1, "none"),
    "both lr up": (1, 1, "none"),
    "G lr down": (-1, 0, "none"),
    "D lr down": (0, -1, "none"),
    "both lr down": (-1, -1, "none"),
    "G frozen": (0, 0, "generator"),
    "D frozen": (0, 0, "discriminator"),
}
"""Powers of the factor that the learning rates of G and of D are multiplied by, and which of the two is frozen."""


@dataclass(frozen=True, kw_only=True)
class InterventionsOptions(StudyOptions):
    spectra = 20

    run: Path
    """The run that is branched from, on its own data, from a checkpoint shortly before it collapsed."""
    at: int | None = None
    """Begin from its newest checkpoint at or below so many images, or its best one; none: the newest of all."""
    factor: float = 10.0
    """What learning rates are multiplied or divided by."""
    rows: tuple[str, ...] = tuple(INTERVENTIONS)
    """Which of the interventions to train."""
    seeds: int = 1
    """Runs of each intervention: the first with the draws of the run itself, the others with other ones."""
    scores: int = 8
    """Scores of each run, evenly spaced, the last at its end: the points of the curves."""

    def __post_init__(self) -> None:
        own = read_config(self.run).data
        rule = "the branches are trained on the data of --run; leave it out"
        require(self.data in (DataConfig(), own), "data", self.data.source, rule)
        object.__setattr__(self, "data", own)
        super().__post_init__()
        require(1 < self.factor < float("inf"), "factor", self.factor, "must be above 1")
        require(self.ema == 0, "ema", self.ema, "the branches keep the average of --run; leave it out")
        check_list("rows", self.rows, tuple(INTERVENTIONS))


def interventions(options: InterventionsOptions) -> list[Cell]:
    """A branch a row, all from one checkpoint."""
    found, _ = checkpoint.newest(options.run / "checkpoints", options.at)
    config = found.header.config
    rule = f"{options.run} has a learning rate or a latent that follows its length: its branches would not compare"
    require("images" in may_change_on_resume(config), "run", str(options.run), rule)
    if options.precision != "auto":
        config = replace(config, precision=options.precision)
    # The branches are to show what becomes of them: none stops, or rolls itself back.
    config = replace(config, watch=WatchConfig(every_images=config.watch.every_images))
    begin, preset = Begin(found.path.absolute(), found.header.images), found.header.extra.get("preset", "")
    return [
        Cell(row, "", _changed(config, row, options.factor, seed), preset, begin)
        for seed in range(options.seeds)
        for row in options.rows
    ]


def _changed(config: RunConfig, row: str, factor: float, seed: int) -> RunConfig:
    g, d, freeze = INTERVENTIONS[row]
    rates = {
        "optimizer.g_lr": config.optimizer.g_lr * factor**g,
        "optimizer.d_lr": config.optimizer.d_lr * factor**d,
    }
    changed: RunConfig = override(config, {**rates, "freeze": freeze, "seed": config.seed + seed})
    return changed
