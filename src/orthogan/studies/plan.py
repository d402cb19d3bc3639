"""From a budget of minutes to a number of images for every run, written down before the first one starts."""

import json
import math
import time
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from orthogan import runs, runtime
from orthogan.config import CadenceConfig, OptimizerConfig, RunConfig
from orthogan.errors import UserError
from orthogan.files import write_whole
from orthogan.metrics import features
from orthogan.studies.cells import Cell, StudyOptions, cadence
from orthogan.training.logs import write_config
from orthogan.training.trainer import Observer, Trainer, make_fabric

PLAN = "study.json"
MEASURED_SECONDS = 1.0
"""Training time after which a run's speed is taken as known."""
START_SECONDS = 7.0
"""What a run takes besides training and looking at its images: networks, feature network, distances."""

Speeds = dict[RunConfig[Any], float]
"""Seconds of training an image, by `speed_kind`."""


@dataclass(frozen=True)
class Planned:
    """A run of a study: where it stands in the table, its length, and what it is expected to cost."""

    row: str
    column: str
    name: str
    images: int
    seconds_per_image: float | None
    """Of training, as measured before; None when the length was given."""

    @property
    def work(self) -> float:
        """Its share of the whole, in seconds or, unmeasured, in images."""
        return self.images * (self.seconds_per_image or 1.0)


def speed_kind(config: RunConfig[Any]) -> RunConfig[Any]:
    """The same for all configurations whose steps cost the same."""
    return replace(config, seed=0, images=1_000_000, optimizer=OptimizerConfig(), cadence=CadenceConfig())


def seconds_per_image(config: RunConfig[Any], device: torch.device) -> float:
    """Train for a moment, in this process, and forget it."""
    trainer = Trainer(config, runs.load_data(config), Path(), make_fabric(config.precision, device), Observer())
    trainer.step()
    began, before = time.perf_counter(), trainer.images
    while time.perf_counter() - began < MEASURED_SECONDS:
        trainer.step()
    return (time.perf_counter() - began) / (trainer.images - before)


def scoring_seconds(options: StudyOptions, resolution: int, device: torch.device) -> float:
    """Time to look at the generated images of one run."""
    net = features.load(options.features, device=device)
    images = torch.zeros(features.CHUNK, resolution, resolution, 3, dtype=torch.uint8)
    net(images)
    began = time.perf_counter()
    net(images)
    return (time.perf_counter() - began) * options.samples / len(images)


def unit(cell: Cell, options: StudyOptions) -> int:
    """Images that a run shows for each unit of the study: one image, or those of one update of G."""
    return cell.config.images_per_step if options.equal == "updates" else 1


def measure(cells: list[Cell], options: StudyOptions, device: torch.device, workers: Executor) -> tuple[Speeds, float]:
    """How fast each kind of run trains, and how long the images of one take to score, on processes like its own."""
    kinds = {speed_kind(cell.config) for cell in cells}
    speeds = {kind: workers.submit(seconds_per_image, kind, device) for kind in kinds}
    scoring = workers.submit(scoring_seconds, options, cells[0].config.network.resolution, device)
    return {kind: future.result() for kind, future in speeds.items()}, scoring.result()


def fit_budget(cells: list[Cell], options: StudyOptions, speeds: Speeds, scoring: float, jobs: int) -> int:
    """Units of every run that fit the budget. Raises `UserError` for a budget in which nothing can be trained."""
    assert options.budget is not None
    least = whole_steps(cells, options)
    overhead = len(cells) * (START_SECONDS + scoring)
    per_unit = sum(unit(cell, options) * speeds[speed_kind(cell.config)] for cell in cells)
    units = int((options.budget * 60 * jobs - overhead) / per_unit) // least * least
    if units < least:
        needed = (overhead + least * per_unit) / jobs / 60
        raise UserError(
            f"budget={options.budget:g}: {len(cells)} runs need {needed:.1f} minutes here for a single step each; "
            "give more minutes, or fewer rows, columns, seeds or samples"
        )
    return units


def whole_steps(cells: list[Cell], options: StudyOptions) -> int:
    """The fewest units that are whole steps in every cell."""
    return 1 if options.equal == "updates" else math.lcm(*(cell.config.images_per_step for cell in cells))


def given_units(cells: list[Cell], options: StudyOptions) -> int:
    """Units for a number of images that the user gave, rounded up to whole steps of every cell."""
    assert options.images is not None
    least = whole_steps(cells, options)
    in_one = min(unit(cell, options) for cell in cells)
    return math.ceil(options.images / in_one / least) * least


def lengthen(cell: Cell, options: StudyOptions, units: int) -> Cell:
    """The cell with its length, and what is due at its end."""
    images = units * unit(cell, options)
    return replace(cell, config=replace(cell.config, images=images, cadence=cadence(options, images)))


def write_plan(folder: Path, study: str, options: StudyOptions, cells: list[Cell], speeds: Speeds) -> list[Planned]:
    """The folders of all runs, and last `study.json`, whose presence says that the plan is whole."""
    planned = [
        Planned(cell.row, cell.column, cell.name, cell.config.images, speeds.get(speed_kind(cell.config)))
        for cell in cells
    ]
    for cell in cells:
        place = run_folder(folder, cell.name)
        place.mkdir(parents=True, exist_ok=True)
        write_config(place, cell.config, cell.preset)
    stamp = {"versions": runtime.versions(), "git_commit": runtime.git_commit()}
    written = {**asked(study, options), "runs": [asdict(p) for p in planned], **stamp}
    write_whole(folder / PLAN, json.dumps(written, indent=2) + "\n")
    return planned


def read_plan(folder: Path, study: str, options: StudyOptions) -> list[Planned]:
    """The plan of a study that was begun. Raises `UserError` if it was begun with other options."""
    written = json.loads((folder / PLAN).read_text())
    changed = [(k, written.get(k), v) for k, v in asked(study, options).items() if written.get(k) != v]
    if changed:
        told = "\n".join(f"  {name}: {before!r} -> {now!r}" for name, before, now in changed)
        raise UserError(
            f"{folder} holds a study that was begun with other options:\n{told}\nput them back, or choose another --out"
        )
    return [Planned(**row) for row in written["runs"]]


def asked(study: str, options: StudyOptions) -> dict[str, Any]:
    """What decides the runs of a study: the options but for where and on how many processes. Plain JSON types."""
    plain = json.loads(json.dumps(asdict(options), default=str))
    return {"study": study, **{k: v for k, v in plain.items() if k not in ("out", "jobs", "device")}}


def run_folder(study: Path, name: str) -> Path:
    return study / "runs" / name
