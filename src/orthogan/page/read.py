"""What a run has written down, as far as it is there: a page can be made at any moment of a run, and long after it."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from orthogan.config import RunConfig
from orthogan.errors import UserError
from orthogan.page import memory
from orthogan.page.numbers import is_number
from orthogan.runs.folders import is_run
from orthogan.stability import history
from orthogan.stability.history import ALARMS, STATUS, WATCH, Layer, Line, is_given_up, not_given_up
from orthogan.training import checkpoint
from orthogan.training.checkpoint import Gone
from orthogan.training.logs import read_begun

OVER = ("finished", "stopped", "collapsed", "failed")
"""States in which no process writes to the folder of a run any more."""
SILENT_SECONDS, SILENT_LINES = 600.0, 5.0
"""A run that says it trains has been killed, by all appearance, when it has written nothing for so long, and for the
time of so many lines of its log."""


SCORES = "scores.jsonl"


@dataclass(frozen=True)
class Score:
    """One scoring of the run: by the training itself, or by a command afterwards."""

    file: str
    images: int | None
    """Images seen by the generator that was scored."""
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    """Where the scores may lie: of some scores, their ends."""
    notes: list[str]
    protocol: dict[str, Any]

    @property
    def network(self) -> str:
        return str(self.protocol.get("features", {}).get("network", "?"))

    @property
    def truncation(self) -> Any:
        return self.protocol.get("generator", {}).get("truncation")

    @property
    def generated(self) -> int | None:
        """Number of generated images."""
        return _count(self.protocol.get("generated", {}).get("images"))

    @property
    def real(self) -> int | None:
        """Number of real images."""
        return _count(self.protocol.get("real", {}).get("images"))

    @property
    def on_the_way(self) -> bool:
        """Whether the training itself took it."""
        return self.file == SCORES and self.images is not None


def _count(value: object) -> int | None:
    return int(value) if is_number(value) else None


@dataclass
class Facts:
    """One run."""

    folder: Path
    config: RunConfig
    preset: str
    parent: dict[str, Any] | None
    stamp: dict[str, Any]
    """Versions and commit."""
    log: list[Line]
    layers: list[Layer]
    scores: list[Score]
    truncations: list[tuple[str, dict[str, Any]]]
    """Files of `orthogan truncation`, by name."""
    memorization: list[memory.Answer]
    """Files of `orthogan memorization`, that of the generator that has seen most images last."""
    alarms: list[Line]
    looks: list[Line]
    """What the watch saw."""
    status: Line
    sheets: list[tuple[int, Path]]
    """Pictures of samples by images seen."""
    speeds: list[tuple[int, float]]
    """Images seen, and images a second up to there."""
    saved: list[int]
    """Images of the checkpoints that are there, rising."""
    saved_images: int | None
    """Images seen by the newest checkpoint that can be read."""
    extra: dict[str, Any]
    """Of that checkpoint: class names, fingerprint of the data."""
    silent_seconds: float
    """Since the run has last written something."""
    complaints: list[str] = field(default_factory=list)
    """What could not be read."""

    @property
    def name(self) -> str:
        return self.folder.absolute().name

    @property
    def images(self) -> int:
        """Real images shown so far."""
        return max([self.saved_images or 0, *(line["images"] for line in self.log)])

    @property
    def versions(self) -> dict[str, Any]:
        """Of the packages that the run began with."""
        found = self.stamp.get("versions")
        return found if isinstance(found, dict) else {}

    @property
    def begun(self) -> int:
        """Images at its beginning: those of its parent for a branch; what is fine-tuned counts its own."""
        parent = self.parent or {}
        return 0 if "init" in parent else _count(parent.get("images")) or 0

    @property
    def rollbacks(self) -> list[Line]:
        """Those whose ends are known."""
        return history.rollbacks_of(self.status)

    @property
    def finished(self) -> bool:
        """Whether all images of its plan were shown."""
        return self.images >= self.config.images

    @property
    def ended(self) -> bool:
        """Whether nothing more will be written, unless somebody goes on with it."""
        return self.status["state"] in OVER if self.status.get("state") in (*OVER, "training") else self.finished

    @property
    def silent(self) -> bool:
        """Whether it says that it trains, and has written nothing for so long that it was probably killed."""
        hours = sorted(self.hours().items())
        lines = [(b[1] - a[1]) * 3600 for a, b in zip([(0, 0.0), *hours], hours, strict=False)]
        return not self.ended and self.silent_seconds > max(SILENT_SECONDS, SILENT_LINES * max(lines[-3:], default=0))

    def hours(self) -> dict[int, float]:
        """Hours of training up to each number of images, pauses left out."""
        found, total, before = {}, 0.0, self.begun
        for images, speed in self.speeds:
            total += (images - before) / speed / 3600
            before = images
            found[images] = total
        return found


def read(folder: Path) -> Facts:
    """Everything of a run's folder. Raises `UserError` where there is no run; anything else missing is left out."""
    if not folder.is_dir() or not is_run(folder):
        raise UserError(f"{folder} is not the folder of a run; give one that `orthogan train` has written")
    complaints: list[str] = []
    saved = checkpoint.numbered(folder / "checkpoints")
    status = _object(folder / STATUS, complaints)
    rollbacks = history.rollbacks_of(status)
    log = not_given_up(_lines(folder / "log.jsonl", complaints), rollbacks)
    saved_images, extra = _newest(saved, complaints)
    begun = read_begun(folder)
    return Facts(
        folder=folder,
        config=begun.config,
        preset=begun.preset,
        parent=begun.parent,
        stamp=_object(folder / "config.json", []),
        log=log,
        layers=_layers(folder, complaints),
        scores=_scores(folder, rollbacks, complaints),
        truncations=_curves(folder, complaints),
        memorization=_memorization(folder, complaints),
        alarms=_alarms(folder, status, complaints),
        looks=not_given_up(_lines(folder / WATCH, complaints), rollbacks),
        status=status,
        sheets=_sheets(folder / "sheets", log, rollbacks),
        speeds=_speeds(folder / "curves", complaints),
        saved=sorted(checkpoint.images_of(path) for path in saved),
        saved_images=saved_images,
        extra=extra,
        silent_seconds=_silent_seconds(folder),
        complaints=complaints,
    )


def _silent_seconds(folder: Path) -> float:
    """Age of the newest of the files that every run writes again and again."""
    ages = [time.time()]
    for name in ("config.json", "log.jsonl", STATUS, WATCH, "checkpoints", "sheets"):
        with suppress(OSError):
            ages.append(time.time() - (folder / name).stat().st_mtime)
    return max(0.0, min(ages))


def _lines(path: Path, complaints: list[str], counted: bool = True) -> list[Line]:
    """The objects of a file of JSON lines; `counted` ones must say at how many images they were written."""
    found, bad = [], 0
    for text in _text(path, complaints).splitlines():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            line = None
        good = isinstance(line, dict) and (not counted or is_number(line.get("images")))
        if good:
            found.append(line)
        bad += not good
    if bad:
        complaints.append(f"{path.name}: {bad} of its lines cannot be read and are left out")
    return found


def _text(path: Path, complaints: list[str]) -> str:
    """What a file holds; nothing where it is missing, or cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        complaints.append(f"{path.name}: cannot be read ({error.strerror})")
        return ""


def _object(path: Path, complaints: list[str]) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        complaints.append(f"{path.name}: cannot be read")
        return {}
    return found


def _objects(folder: Path, pattern: str, complaints: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """The JSON files of a folder, the newest last."""
    paths = sorted(folder.glob(pattern), key=_written)
    found = [(path.name, _object(path, complaints)) for path in paths]
    return [(name, values) for name, values in found if values]


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # it has just been removed
        return 0.0


def _alarms(folder: Path, status: Line, complaints: list[str]) -> list[Line]:
    """From the file of alarms or, where it is missing, from the status, which has them too."""
    found = _lines(folder / ALARMS, complaints, counted=False)
    told = status.get("alarms")
    return found or [line for line in (told if isinstance(told, list) else []) if isinstance(line, dict)]


def _memorization(folder: Path, complaints: list[str]) -> list[memory.Answer]:
    found = []
    for name, values in _objects(folder, "memorization-*.json", complaints):
        if (answer := memory.as_answer(name, values)) is None:
            complaints.append(f"{name}: is not what `orthogan memorization` writes")
        else:
            found.append(answer)
    return sorted(found, key=lambda answer: answer.images or 0)


def _curves(folder: Path, complaints: list[str]) -> list[tuple[str, dict[str, Any]]]:
    found = _objects(folder, "truncation-*.json", complaints)
    complaints += [
        f"{name}: is not what `orthogan truncation` writes" for name, values in found if not is_curve(values)
    ]
    return [(name, values) for name, values in found if is_curve(values)]


def _scores(folder: Path, rollbacks: Sequence[Line], complaints: list[str]) -> list[Score]:
    """From the training, then from the commands."""
    on_the_way = [(SCORES, line) for line in not_given_up(_lines(folder / SCORES, complaints), rollbacks)]
    found, strange = [], []
    for name, values in (*on_the_way, *_objects(folder, "scores*.json", complaints)):
        score = as_score(name, values)
        found += [score] if score else []
        strange += [] if score else [name]
    complaints += [f"{name}: is not what `orthogan evaluate` writes" for name in dict.fromkeys(strange)]
    return found


def as_score(file: str, values: Mapping[str, Any]) -> Score | None:
    """A result of `judging.score`; None for what is none."""
    scores, protocol = values.get("scores"), values.get("protocol")
    if not isinstance(scores, dict) or not isinstance(protocol, dict) or not has_sections(protocol):
        return None
    numbers = {name: float(value) for name, value in scores.items() if is_number(value)}
    images = values.get("images", protocol.get("generator", {}).get("images_seen"))
    notes = values.get("notes")
    told = [str(note) for note in notes] if isinstance(notes, list) else []
    return Score(file, _count(images), numbers, _intervals(values), told, protocol)


def has_sections(protocol: Mapping[str, Any]) -> bool:
    """Whether the sections that a page reads are none other than tables."""
    return all(isinstance(protocol.get(part, {}), dict) for part in ("features", "real", "generated", "generator"))


def is_curve(values: Mapping[str, Any]) -> bool:
    """Whether a file holds what `orthogan truncation` writes."""
    points, verdict, protocol = values.get("points"), values.get("verdict"), values.get("protocol", {})
    if not (isinstance(points, list) and points and isinstance(verdict, dict) and isinstance(protocol, dict)):
        return False
    return (
        has_sections(protocol)
        and isinstance(verdict.get("reasons", []), list)
        and all(isinstance(point, dict) and isinstance(point.get("scores"), dict) for point in points)
        and all(is_number(value) for point in points for value in point["scores"].values())
        and all(point.get("truncation") is None or is_number(point["truncation"]) for point in points)
        and all(is_number(point.get("saturated_share", 0)) for point in points)
    )


def _intervals(values: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    given = values.get("intervals")
    found = {}
    for name, ends in given.items() if isinstance(given, dict) else ():
        if isinstance(ends, dict):
            ends = [ends.get("low"), ends.get("high")]
        if isinstance(ends, list) and len(ends) == 2 and all(map(is_number, ends)):
            found[str(name)] = (float(ends[0]), float(ends[1]))
    return found


def _layers(folder: Path, complaints: list[str]) -> list[Layer]:
    if not (folder / history.SPECTRA).exists():
        return []
    try:
        return history.read(folder)
    except UserError as error:
        complaints.append(str(error))
        return []


def _sheets(folder: Path, log: Sequence[Line], rollbacks: Sequence[Line]) -> list[tuple[int, Path]]:
    """Without those of attempts that were given up, which the newest one draws anew where it comes past."""
    numbered = [(path.stem.removeprefix("images-"), path) for path in sorted(folder.glob("images-*.png"))]
    found = [(int(digits), path) for digits, path in numbered if digits.isdecimal()]
    reached = log[-1]["images"] if log else 0
    return [(images, path) for images, path in found if images <= reached or not is_given_up(images, 0, rollbacks)]


def _newest(paths: Sequence[Path], complaints: list[str]) -> tuple[int | None, dict[str, Any]]:
    """Images and further facts of the newest checkpoint, of which only the header is read."""
    for path in paths:
        try:
            header = checkpoint.read_header(path)
        except Gone:  # the run has pruned it, or went back to an older one
            continue
        except UserError as error:
            complaints.append(str(error))
            continue
        return header.images, header.extra
    return None, {}


def _speeds(folder: Path, complaints: list[str]) -> list[tuple[int, float]]:
    """From the curves for TensorBoard, which alone know of time."""
    if not folder.is_dir():
        return []
    try:
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 1}).Reload()
        rows = events.Scalars("images_per_second")
    except Exception as error:  # files that were cut or are none: TensorBoard raises whatever it meets
        complaints.append(f"curves: cannot be read ({type(error).__name__})")
        return []
    by_images = {int(row.step): float(row.value) for row in rows if is_number(row.value) and row.value > 0}
    return sorted(by_images.items())
