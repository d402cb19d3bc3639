"""The singular values that a run has written down, and which layers grow."""

import csv
import io
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthogan.errors import UserError

SPECTRA = "spectra.jsonl"
"""In the folder of a run: a line an object with the images seen and, of each player, values by layer."""
WATCH = "watch.jsonl"
"""In the folder of a run: a line an object with the images seen and the signals of a look."""
ALARMS = "alarms.jsonl"
"""A line an object: an alarm of the watch."""
PLAYERS = ("generator", "discriminator")


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
        lines = not_given_up([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
        found = [layer for player in PLAYERS for layer in _layers(player, lines)]
    except FileNotFoundError:
        found = []
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({' '.join(str(error).split())}); give a checkpoint file") from error
    if not found:
        raise UserError(
            f"{folder} has no {SPECTRA}: a run writes it every --cadence.spectra-images; "
            "give one of its checkpoint files for the values that it has"
        )
    return found


def not_given_up(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of a log that lead to where the run stands: none of attempts beyond where they were rolled back."""
    found: list[dict[str, Any]] = []
    for line in reversed(lines):
        if not found or line.get("attempt", 0) == found[-1].get("attempt", 0) or line["images"] < found[-1]["images"]:
            found.append(line)
    return found[::-1]


def _layers(player: str, lines: list[dict[str, Any]]) -> list[Layer]:
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
