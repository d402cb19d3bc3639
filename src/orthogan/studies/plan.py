"""From a budget of minutes to a number of images for every run, written down before the first one starts."""

import bisect
import heapq
import json
import math
import time
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from orthogan import runs, runtime
from orthogan.config import CadenceConfig, OptimizerConfig, RunConfig
from orthogan.errors import UserError, one_line
from orthogan.files import write_whole
from orthogan.metrics.evaluate import Scorer
from orthogan.randomness import draw
from orthogan.studies.cells import Cell, StudyOptions, cadence
from orthogan.studies.work import Here, write_begin
from orthogan.training.duties import scored_images
from orthogan.training.launch import make_fabric
from orthogan.training.logs import write_config
from orthogan.training.trainer import Observer, Trainer

PLAN = "study.json"
MEASURED_SECONDS = 1.0
"""Training time after which a run's speed is taken as known."""
START_SECONDS = 8.0
"""What a run takes besides training and scoring: the start of its process, standing statistics, samples."""
MOST_UNITS = 10**12
ADA_PART = 10
"""Adaptive augmentation can go from nothing to all within this part of a run; the published 500,000 images are a
fiftieth of the published runs, and more than all of one here."""

Asked = dict[str, Any]
"""What `study.json` says of how a study was begun."""
Speeds = dict[RunConfig, float]
"""Seconds of training an image, by `speed_kind`."""


@dataclass(frozen=True)
class Planned:
    """A run of a study: where it stands in the table, its images to train on, and what that is expected to cost."""

    row: str
    column: str
    name: str
    images: int
    seconds_per_image: float | None
    """Of training, as measured before; None when the length was given."""

    @property
    def work(self) -> float:
        """Its share of the whole, in seconds or, unmeasured, in images."""
        if self.seconds_per_image is None:
            return self.images
        return START_SECONDS + self.images * self.seconds_per_image


def speed_kind(config: RunConfig) -> RunConfig:
    """The same for all configurations whose steps cost the same."""
    return _of_length(replace(config, seed=0, optimizer=OptimizerConfig(), cadence=CadenceConfig()), 1_000_000)


def seconds_per_image(config: RunConfig) -> float:
    """Train for a moment, in this process and on its device, and forget it."""
    fabric = make_fabric(config.precision, Here.device)
    trainer = Trainer(config, runs.load_data(config), Path(), fabric, Observer())
    trainer.step()
    began, before = time.perf_counter(), trainer.images
    while time.perf_counter() - began < MEASURED_SECONDS:
        trainer.step()
    return (time.perf_counter() - began) / (trainer.images - before)


def scoring_seconds(config: RunConfig, options: StudyOptions) -> float:
    """Time to score the images of one run, here noise."""
    began = time.perf_counter()
    cache = scored_images(config, options.features)
    scorer = Scorer(options.features, cache.checked, cache.fingerprint, Here.device, labels=cache.labels)
    side = config.resolution
    noise = torch.randint(256, (options.samples, side, side, 3), dtype=torch.uint8, generator=draw(0, "noise", 0))
    scorer.score([noise], seed=0)
    return time.perf_counter() - began


def measure(cells: list[Cell], options: StudyOptions, workers: Executor, jobs: int) -> tuple[Speeds, float]:
    """How fast each kind of run trains, and how long one takes to score, while all processes are busy."""
    kinds = sorted({speed_kind(cell.config) for cell in cells}, key=str)
    times = -(-jobs // len(kinds))
    futures = [(kind, workers.submit(seconds_per_image, kind)) for kind in kinds * times]
    scoring = [workers.submit(scoring_seconds, cells[0].config, options) for _ in range(jobs)]
    speeds: dict[RunConfig, list[float]] = {}
    for kind, future in futures:
        speeds.setdefault(kind, []).append(future.result())
    return {kind: mean(found) for kind, found in speeds.items()}, mean(future.result() for future in scoring)


def unit(cell: Cell, options: StudyOptions) -> int:
    """Images that a run shows for each unit of the study: one image, or those of one update of G."""
    return cell.config.images_per_step if options.equal == "updates" else 1


def fit_budget(cells: list[Cell], options: StudyOptions, speeds: Speeds, scoring: float, jobs: int) -> int:
    """Units of every run that fit the budget. Raises `UserError` for a budget in which nothing can be trained."""
    assert options.budget is not None
    least = whole_steps(cells, options)

    def seconds(k: int) -> float:
        """Of the whole study with k times the fewest units."""
        units = k * least
        training = [units * unit(cell, options) * speeds[speed_kind(cell.config)] for cell in cells]
        return makespan([START_SECONDS + options.scores * scoring + cost for cost in training], jobs)

    k = bisect.bisect_right(range(MOST_UNITS // least), options.budget * 60, key=seconds) - 1
    if k < 1:
        raise UserError(
            f"budget={options.budget:g}: {len(cells)} runs need {seconds(1) / 60:.1f} minutes here for a single step "
            "each; give more minutes, or fewer rows, columns, seeds or samples"
        )
    return k * least


def makespan(costs: list[float], jobs: int) -> float:
    """When the last of the jobs is done that take the costs one after the other, the highest first."""
    busy = [0.0] * jobs
    for cost in sorted(costs, reverse=True):
        heapq.heapreplace(busy, busy[0] + cost)
    return max(busy)


def whole_steps(cells: list[Cell], options: StudyOptions) -> int:
    """The fewest units that are whole steps in every cell, one for each score."""
    steps = 1 if options.equal == "updates" else math.lcm(*(cell.config.images_per_step for cell in cells))
    return options.scores * steps


def given_units(cells: list[Cell], options: StudyOptions) -> int:
    """Units for a number of images that the user gave, rounded up to whole steps of every cell."""
    assert options.images is not None
    least = whole_steps(cells, options)
    in_one = min(unit(cell, options) for cell in cells)
    return math.ceil(options.images / in_one / least) * least


def lengthen(cell: Cell, options: StudyOptions, units: int) -> Cell:
    """The cell with its length, and what is due at its end."""
    images = units * unit(cell, options)
    timed = cadence(options, images)
    if cell.begin is not None:
        # Scores fall on multiples of their distance, and so does the end, wherever the branch begins.
        step = cell.config.images_per_step
        every = max(1, round(timed.score_images / step)) * step
        end = -(-(cell.start + images) // every) * every
        timed, images = replace(timed, score_images=every, sheet_images=end, checkpoint_images=end), end
    return replace(cell, config=_of_length(replace(cell.config, cadence=timed), images))


def _of_length(config: RunConfig, images: int) -> RunConfig:
    augment = config.augment
    if augment.kind == "ada" and augment.p is None:
        augment = replace(augment, speed_images=max(1, images // ADA_PART))
    return replace(config, images=images, augment=augment)


def write_plan(folder: Path, asked: Asked, cells: list[Cell], speeds: Speeds) -> list[Planned]:
    """The folders of all runs, and last `study.json`, whose presence says that the plan is whole."""
    planned = [
        Planned(cell.row, cell.column, cell.name, cell.config.images - cell.start, speeds.get(speed_kind(cell.config)))
        for cell in cells
    ]
    for cell in cells:
        place = run_folder(folder, cell.name)
        place.mkdir(parents=True, exist_ok=True)
        if cell.begin is None:
            write_config(place, cell.config, cell.preset)
        else:
            write_begin(place, cell.config, cell.begin)
    stamp = {"versions": runtime.versions(), "git_commit": runtime.git_commit()}
    written = {**asked, "runs": [asdict(p) for p in planned], **stamp}
    write_whole(folder / PLAN, json.dumps(written, indent=2) + "\n")
    return planned


def read_plan(folder: Path, asked: Asked) -> list[Planned]:
    """The plan of a study that was begun. Raises `UserError` if it was begun with other options."""
    written = _plan_file(folder / PLAN)
    changed = [(k, written.get(k), v) for k, v in asked.items() if written.get(k) != v]
    if changed:
        told = "\n".join(f"  {name}: {before!r} -> {now!r}" for name, before, now in changed)
        raise UserError(
            f"{folder} holds a study that was begun with other options:\n{told}\nput them back, or choose another --out"
        )
    return [Planned(**row) for row in written["runs"]]


def _plan_file(path: Path) -> dict[str, Any]:
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        for row in written["runs"]:
            Planned(**row)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} is damaged ({one_line(error)}): the lengths of the study's runs are lost. Restore "
            "it, or begin the study anew with another --out; what has been trained stays in runs/"
        ) from error
    assert isinstance(written, dict)
    return written


def what_decides(study: str, options: StudyOptions, device: torch.device, fingerprint: str) -> Asked:
    """What decides the runs of a study, in plain JSON types: not where it is, and on how many processes."""
    plain = json.loads(json.dumps(asdict(options), default=str))
    kept = {name: value for name, value in plain.items() if name not in ("out", "jobs")}
    return {"study": study, **kept, "device": device.type, "fingerprint": fingerprint}


def run_folder(study: Path, name: str) -> Path:
    return study / "runs" / name
