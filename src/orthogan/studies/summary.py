"""What a study found, from the `result.json` of its runs: one entry a cell, over its seeds."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pvariance, variance
from typing import Any

import numpy as np

from orthogan.files import json_lines
from orthogan.metrics.titles import title
from orthogan.stability.history import PLAYERS, SPECTRA
from orthogan.studies.cells import StudyOptions, Table
from orthogan.studies.plan import Planned, run_folder
from orthogan.studies.work import RESULT

MAIN = "kernel_distance"
"""The score that tables are made of: the only one whose mean does not depend on the number of images."""
SCORES = (MAIN, "frechet_distance", "precision", "recall")

ASKED = {"training": "training images real to D", "held_out": "held-out images real to D"}
"""Parts of the images that D was asked about, and what the share of those that it took for real is called."""
OUTCOME = "frechet_distance"
COLLAPSED_TIMES = 2.0
"""A branch has collapsed whose last Fréchet distance, which is never negative, is over so many times that of the
checkpoint which it began from."""


@dataclass(frozen=True)
class Found:
    """A cell of the table, over its seeds."""

    row: str
    column: str
    results: Sequence[dict[str, Any]]
    """`result.json` of each seed that has ended."""

    @property
    def diverged(self) -> int:
        return sum(result["diverged"] is not None for result in self.results)

    def whole(self) -> list[dict[str, Any]]:
        """The results of seeds that did not diverge: the only ones that are compared."""
        return [result for result in self.results if result["diverged"] is None]

    def scores(self, name: str = MAIN) -> list[float]:
        return [result["scores"][name] for result in self.whole()]

    def curves(self, name: str = MAIN) -> list[list[tuple[int, float]]]:
        """Of each seed, images seen and score."""
        return [[(point["images"], point[name]) for point in result.get("curve", [])] for result in self.whole()]

    def accuracy(self, part: str) -> list[float]:
        """Shares of the `training` or `held_out` images that D took for real, of all seeds whose D says numbers."""
        shares = [result.get("accuracy", {}).get(part) for result in self.results]
        return [share for share in shares if share is not None]

    def seconds_per_image(self) -> float | None:
        times = [result["seconds_per_image"] for result in self.whole() if result["seconds_per_image"]]
        return fmean(times) if times else None

    def spectra(self) -> dict[str, np.ndarray]:
        """Squared singular values of each layer, the largest as 1; the mean over seeds."""
        tables = [result["singular_values"] for result in self.whole() if "singular_values" in result]
        layers = list(tables[0]) if tables else []
        return {layer: np.mean([_squared(table[layer]) for table in tables], axis=0) for layer in layers}


def _squared(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values)
    return np.square(array / max(float(array[0]), np.finfo(float).tiny))


def stable_rank_share(found: Found) -> float:
    """Mean over layers of |W|_F^2 / sigma_0^2 over full rank: 1 for a flat spectrum, near 0 for one direction."""
    spectra = found.spectra()
    return float(np.mean([squares.sum() / len(squares) for squares in spectra.values()])) if spectra else math.nan


def collect(folder: Path, planned: Sequence[Planned]) -> list[Found]:
    """The cells that have at least one result, in the order of the plan."""
    cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in planned:
        path = run_folder(folder, run.name) / RESULT
        if path.exists():
            cells.setdefault((run.row, run.column), []).append(json.loads(path.read_text()))
    return [Found(row, column, results) for (row, column), results in cells.items()]


def is_done(folder: Path, run: Planned) -> bool:
    return (run_folder(folder, run.name) / RESULT).exists()


def is_whole(folder: Path, run: Planned) -> bool:
    """Whether a run is done and has not diverged."""
    if not is_done(folder, run):
        return False
    result = json.loads((run_folder(folder, run.name) / RESULT).read_text())
    return bool(result["diverged"] is None)


def rows(found: Sequence[Found]) -> list[str]:
    return list(dict.fromkeys(cell.row for cell in found))


def columns(found: Sequence[Found]) -> list[str]:
    return sorted(dict.fromkeys(cell.column for cell in found))


def grid(found: Sequence[Found]) -> dict[tuple[str, str], Found]:
    return {(cell.row, cell.column): cell for cell in found}


def times(found: Sequence[Found]) -> dict[str, float]:
    """Seconds of training an image of every row, relative to the first row's at the same column, averaged."""
    seconds = {place: cell.seconds_per_image() for place, cell in grid(found).items()}
    first = rows(found)[0]
    ratios: dict[str, list[float]] = {}
    for (row, column), own in seconds.items():
        base = seconds.get((first, column))
        if own and base:
            ratios.setdefault(row, []).append(own / base)
    return {row: fmean(values) for row, values in ratios.items()}


def reaching(found: Sequence[Found], reference: str) -> Table | None:
    """How many images and seconds each row needs to a score as good as the best mean score of the reference row.

    By the means over seeds at the images where all were scored; None where the reference has no curve.
    """
    means = {cell.row: mean_curve(cell) for cell in found}
    if not means.get(reference):
        return None
    goal_images, goal = min(means[reference], key=lambda point: point[1])
    seconds = {cell.row: cell.seconds_per_image() or math.nan for cell in found}
    body = []
    for row, curve in means.items():
        needed = next((images for images, score in curve if score <= goal), None)
        if needed is None:
            body.append([row, "not reached", "", ""])
            continue
        time = needed * seconds[row] if math.isfinite(seconds[row] * seconds[reference]) else 0.0
        body.append(
            [
                row,
                f"{needed:,}",
                f"{goal_images / needed:.2g}",
                f"{goal_images * seconds[reference] / time:.2g}" if time > 0 else "–",
            ]
        )
    return ["", "images", "times fewer images", "times less training time"], body


def mean_curve(cell: Found) -> list[tuple[int, float]]:
    """Means over seeds at the images where all were scored."""
    curves = [dict(curve) for curve in cell.curves() if curve]
    shared = sorted(set.intersection(*map(set, curves))) if curves else []
    return [(images, fmean(curve[images] for curve in curves)) for images in shared]


def noise(found: Sequence[Found], score: str = MAIN) -> tuple[float, float] | None:
    """Standard deviations of a score: between seeds of one cell (pooled), and between the means of the cells."""
    cells = [cell.scores(score) for cell in found if len(cell.scores(score)) > 1]
    if len(cells) < 2:
        return None
    within = fmean(variance(values) for values in cells)
    between = pvariance([fmean(values) for values in cells])
    return math.sqrt(within), math.sqrt(between)


def conditions(options: StudyOptions, planned: Sequence[Planned], found: Sequence[Found]) -> str:
    """What the numbers depend on, and how far to trust them."""
    lengths = sorted({run.images for run in planned})
    images = f"{lengths[0]:,}" if len(lengths) == 1 else f"{lengths[0]:,} to {lengths[-1]:,}"
    ended = sum(len(cell.results) for cell in found)
    text = (
        f"{ended} of {len(planned)} runs on {options.data.source}, {options.seeds} a cell, {images} images each; "
        f"scores of {options.samples:,} samples over {options.features}: mean, ± half the range over seeds."
    )
    spread_ = noise(found)
    if spread_ is None:
        return text
    within, between = spread_
    return (
        f"{text} The {title(MAIN, options.features)} has a standard deviation of {within:.3g} between seeds of one "
        f"cell, and of {between:.3g} between the means of the cells."
    )


def number(value: float, digits: int) -> str:
    """So many digits, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def spread(values: Sequence[float]) -> str:
    """`mean ±half the range`."""
    if not values:
        return "–"
    half = f" ±{number((max(values) - min(values)) / 2, 2)}" if len(values) > 1 else ""
    return f"{number(fmean(values), 3)}{half}"


def entry(cell: Found | None, score: str = MAIN) -> str:
    """A score and how many seeds diverged."""
    if cell is None:
        return ""
    told = spread(cell.scores(score))
    return f"{told} ({cell.diverged} diverged)" if cell.diverged else told


def share_entry(cell: Found, part: str) -> str:
    """A share of images that D took for real, and of how many seeds it has none: they diverged to no numbers.

    Under a loss that gives a single logit no meaning no seed has one.
    """
    told = spread(cell.accuracy(part))
    lost = sum(bool(r["diverged"]) and r.get("accuracy", {}).get(part, 0) is None for r in cell.results)
    return f"{told} ({lost} diverged)" if lost else told


def by_place(found: Sequence[Found], tell: Any) -> Table:
    """A table of rows and columns with what is to be told of each cell."""
    cells = grid(found)
    body = [[row, *(tell(cells.get((row, column))) for column in columns(found))] for row in rows(found)]
    return ["", *columns(found)], body


def tables(found: Sequence[Found], network: str, reference: str = "") -> dict[str, Table]:
    """Every table of a study by its heading. With a reference row also how soon the others are as good."""

    def stable_rank(cell: Found | None) -> str:
        share = stable_rank_share(cell) if cell else math.nan
        return "–" if math.isnan(share) else f"{share:.2f}"

    clock = {row: [row, f"{ratio:.2f}"] for row, ratio in times(found).items()}
    training = {"training time of an image": (["", f"against {rows(found)[0]}"], list(clock.values()))} if clock else {}
    if len(columns(found)) > 1:
        return {
            f"{title(MAIN, network)}, lower is better": by_place(found, entry),
            "stable rank of D's weights / full rank, mean over layers": by_place(found, stable_rank),
        } | training
    asked = [part for part in ASKED if any(cell.accuracy(part) for cell in found)]
    heads = ["", *(title(score, network) for score in SCORES), "stable rank of D / full rank"]
    heads += [ASKED[part] for part in asked]
    body = [
        [
            cell.row,
            *(entry(cell, score) for score in SCORES),
            stable_rank(cell),
            *(share_entry(cell, part) for part in asked),
        ]
        for cell in found
    ]
    reached = reaching(found, reference) if reference else None
    soon = {f"to the best {title(MAIN, network)} of {reference}": reached} if reached else {}
    return {"scores": (heads, body)} | soon | training


def outcomes(found: Sequence[Found], start: float) -> Table:
    """What became of every branch: not finite, or its last Fréchet distance over that which all began with."""
    body = []
    for cell in found:
        ends = [cell_end(result, start) for result in cell.results]
        body.append([cell.row, ", ".join(ends)])
    return ["", f"outcome; the checkpoint's was {number(start, 3)}"], body


def cell_end(result: dict[str, Any], start: float) -> str:
    """One branch in a few words."""
    if result["diverged"] is not None:
        return f"not finite {result['diverged'].split(':')[0]}"
    times = result["scores"][OUTCOME] / start
    return f"{'collapsed' if times > COLLAPSED_TIMES else 'went on'} (x {times:.2g})"


@dataclass(frozen=True)
class Trace:
    """A number over images, of one run."""

    row: str
    points: list[tuple[int, float]]


def traces(folder: Path, planned: Sequence[Planned]) -> dict[str, list[Trace]]:
    """Losses, the largest sigma_0 of both networks, and the main score, of every run that has begun."""
    panels: dict[str, list[Trace]] = {}
    for run in planned:
        place = run_folder(folder, run.name)
        log, spectra, scores = (json_lines(place / name) for name in ("log.jsonl", SPECTRA, "scores.jsonl"))
        found = {
            "loss of D": [(line["images"], line.get("d_loss")) for line in log],
            "loss of G": [(line["images"], line.get("g_loss")) for line in log],
            **{f"largest sigma_0 of {player}": [(line["images"], _largest(line[player])) for line in spectra]
               for player in PLAYERS},
            MAIN: [(line["images"], line["scores"][MAIN]) for line in scores],
        }  # fmt: skip
        for name, points in found.items():
            panels.setdefault(name, []).append(Trace(run.row, [(x, y) for x, y in points if y is not None]))
    return panels


def _largest(layers: dict[str, list[float]]) -> float | None:
    return max((values[0] for values in layers.values() if values), default=None)


def markdown(heads: list[str], body: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
