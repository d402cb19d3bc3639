"""The singular values that a run has written down, and which layers grow."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthogan.errors import UserError, one_line
from orthogan.files import json_lines

SPECTRA = "spectra.jsonl"
"""In the folder of a run: a line an object with the images seen and, of each player, values by layer."""
WATCH = "watch.jsonl"
"""In the folder of a run: a line an object with the images seen and the signals of a look."""
ALARMS = "alarms.jsonl"
"""A line an object: an alarm of the watch."""
STATUS = "status.json"
"""An object: what the run does now, its alarms, and `rollbacks`, each with where `from` and `to`, and its `attempt`."""
PLAYERS = ("generator", "discriminator")

Line = dict[str, Any]


@dataclass(frozen=True)
class Layer:
    """One layer over a run."""

    player: str
    name: str
    images: list[int]
    values: list[list[float]]
    """At each number of images its largest singular values, falling."""

    def series(self, index: int) -> list[float]:
        """Value number `index` over the run; NaN where the layer has fewer."""
        return [row[index] if index < len(row) else math.nan for row in self.values]

    def ratios(self) -> list[float]:
        """The first over the second."""
        pairs = zip(self.series(0), self.series(1), strict=True)
        return [a / b if b else math.inf if b == 0 else math.nan for a, b in pairs]

    @property
    def growth(self) -> float:
        """The largest value at the end over that of the first line."""
        first, last = self.series(0)[0], self.series(0)[-1]
        return last / first if first else math.nan

    @property
    def ratio(self) -> float:
        """The first value over the second at the end."""
        return self.ratios()[-1]


def read(folder: Path) -> list[Layer]:
    """The layers of both players, in the order in which networks name them. Raises `UserError` where there are none."""
    path = folder / SPECTRA
    try:
        lines = not_given_up(json_lines(path), rollbacks_of(_status(folder)))
        found = [layer for player in PLAYERS for layer in _layers(player, lines)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}); give a checkpoint file") from error
    if not found:
        there = "nothing in" if path.exists() else "no"
        raise UserError(
            f"{folder} has {there} {SPECTRA}: a run writes it every --cadence.spectra-images; "
            "give one of its checkpoint files for the values that it has"
        )
    return found


def not_given_up(lines: Iterable[Line], rollbacks: Sequence[Line] = ()) -> list[Line]:
    """The lines of a log that lead to where the run stands: none of attempts beyond where they were rolled back.

    By the rollbacks, or else by the lines themselves, of which a later one stands for those at as many images or more.
    """
    found: list[Line] = []
    for line in lines:
        if is_given_up(line["images"], attempt_of(line), rollbacks):
            continue
        while found and found[-1]["images"] >= line["images"]:
            found.pop()
        found.append(line)
    return found


def is_given_up(images: float, attempt: int, rollbacks: Iterable[Line]) -> bool:
    """Whether a later attempt has begun from fewer images."""
    return any(line.get("attempt", 1) > attempt and line["to"] < images for line in rollbacks)


def attempt_of(line: Mapping[str, Any]) -> int:
    """In which attempt it was written: 0 before any rollback."""
    found = line.get("attempt", 0)
    return found if isinstance(found, int) else 0


def rollbacks_of(status: Line) -> list[Line]:
    """The rollbacks that the status of a run tells, without what is none."""
    told = status.get("rollbacks")
    return [line for line in (told if isinstance(told, list) else []) if _is_rollback(line)]


def _is_rollback(line: object) -> bool:
    numbers = [line.get("from"), line.get("to"), line.get("attempt", 1)] if isinstance(line, dict) else [None]
    return all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)


def _status(folder: Path) -> Line:
    try:
        found = json.loads((folder / STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _layers(player: str, lines: list[Line]) -> list[Layer]:
    names = dict.fromkeys(name for line in lines for name in line[player])
    return [
        Layer(
            player,
            name,
            [int(line["images"]) for line in there],
            [list(map(float, line[player][name])) for line in there],
        )
        for name in names
        if (there := [line for line in lines if line[player].get(name)])
    ]


def worst(layers: Iterable[Layer], count: int = 3) -> list[Layer]:
    """Those whose largest value has grown most, then those with the largest ratio at the end, without repetition."""
    everyone = list(layers)
    by_growth = sorted(everyone, key=lambda layer: _rank(layer.growth))[:count]
    by_ratio = sorted(everyone, key=lambda layer: _rank(layer.ratio))[:count]
    return list({layer.name: layer for layer in (*by_growth, *by_ratio)}.values())


def _rank(value: float) -> float:
    """Largest first, what is no number last."""
    return math.inf if math.isnan(value) else -value


def as_csv(layers: Iterable[Layer], k: int = 3) -> str:
    """A row a layer and line: player, layer, images, sigma_0, sigma_1, ..."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["player", "layer", "images", *(f"sigma_{i}" for i in range(k))])
    for layer in layers:
        for images, values in zip(layer.images, layer.values, strict=True):
            rows.writerow([layer.player, layer.name, images, *values, *[""] * (k - len(values))])
    return text.getvalue()
