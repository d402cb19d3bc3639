"""What a study found, from the `result.json` of its runs: one entry a cell, over its seeds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from orthogan.studies.plan import Planned, run_folder
from orthogan.studies.work import RESULT

SCORES = ("kernel_distance", "frechet_distance", "classifier_score", "precision", "recall")
MAIN = "kernel_distance"
"""The score that tables are made of: the only one whose mean does not depend on the number of images."""


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

    def scores(self, name: str = MAIN) -> list[float]:
        """Of each seed that did not diverge."""
        return [result["scores"][name] for result in self.results if "scores" in result]

    def seconds_per_image(self) -> float | None:
        times = [result["seconds_per_image"] for result in self.results if result["seconds_per_image"]]
        return mean(times) if times else None

    def spectra(self) -> dict[str, np.ndarray]:
        """Mean over seeds of each layer's singular values, each divided by its largest."""
        tables = [result["singular_values"] for result in self.results if "singular_values" in result]
        return {layer: np.mean([_relative(table[layer]) for table in tables], axis=0) for layer in _layers(tables)}


def _layers(tables: Sequence[dict[str, list[float]]]) -> list[str]:
    return list(tables[0]) if tables else []


def _relative(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values)
    return array / max(float(array[0]), np.finfo(float).tiny)


def stable_rank_share(found: Found) -> float | None:
    """Mean over layers of |W|_F^2 / sigma_0^2 over full rank: 1 for a flat spectrum, near 0 for one direction."""
    spectra = found.spectra()
    return float(np.mean([np.square(s).sum() / len(s) for s in spectra.values()])) if spectra else None


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


def rows(found: Sequence[Found]) -> list[str]:
    return list(dict.fromkeys(cell.row for cell in found))


def columns(found: Sequence[Found]) -> list[str]:
    return list(dict.fromkeys(cell.column for cell in found))


def times(found: Sequence[Found]) -> dict[str, float]:
    """Seconds of training an image of every row, relative to the first row's at the same column, averaged."""
    by_place = {(cell.row, cell.column): cell.seconds_per_image() for cell in found}
    first = rows(found)[0]
    ratios: dict[str, list[float]] = {}
    for (row, column), seconds in by_place.items():
        base = by_place.get((first, column))
        if seconds and base:
            ratios.setdefault(row, []).append(seconds / base)
    return {row: mean(values) for row, values in ratios.items()}


def spread(values: Sequence[float], digits: int) -> str:
    """`mean ±half the range`."""
    if not values:
        return "–"
    half = f" ±{(max(values) - min(values)) / 2:.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{half}"


def entry(cell: Found | None) -> str:
    """A cell of the main table: the score, and how many seeds diverged."""
    if cell is None:
        return ""
    told = spread(cell.scores(), 2)
    return f"{told} ({cell.diverged} diverged)" if cell.diverged else told


def main_table(found: Sequence[Found]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: the main score by row and column; of a study with one column, every score by row."""
    if len(columns(found)) == 1:
        heads = ["", "kernel distance", "Fréchet distance", "precision", "recall", "diverged"]
        return heads, [
            [
                cell.row,
                spread(cell.scores("kernel_distance"), 3),
                spread(cell.scores("frechet_distance"), 0),
                spread(cell.scores("precision"), 3),
                spread(cell.scores("recall"), 3),
                str(cell.diverged),
            ]
            for cell in found
        ]
    by_place = {(cell.row, cell.column): cell for cell in found}
    table = [[row, *(entry(by_place.get((row, column))) for column in columns(found))] for row in rows(found)]
    return ["", *columns(found)], table


def spectra_table(found: Sequence[Found]) -> tuple[list[str], list[list[str]]]:
    """Stable rank of D's layers by row and column, as a share of full rank."""
    by_place = {(cell.row, cell.column): cell for cell in found}

    def told(cell: Found | None) -> str:
        share = stable_rank_share(cell) if cell else None
        return "–" if share is None else f"{share:.2f}"

    table = [[row, *(told(by_place.get((row, column))) for column in columns(found))] for row in rows(found)]
    return ["", *(column or "stable rank / full rank" for column in columns(found))], table


def times_table(found: Sequence[Found]) -> tuple[list[str], list[list[str]]]:
    ratios = times(found)
    return ["", f"time of an image / that of {rows(found)[0]}"], [[row, f"{r:.2f}"] for row, r in ratios.items()]


def markdown(heads: list[str], table: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *table]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
