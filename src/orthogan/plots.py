"""Figures of studies, by matplotlib."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from orthogan.errors import UserError
from orthogan.studies import summary
from orthogan.studies.summary import Found

COLOURS = ("#4c4c4c", "#d62728", "#1f77b4", "#ff7f0e", "#2ca02c", "#17becf", "#9467bd", "#8c564b", "#e377c2")
"""One a row, the same in every figure; the first rows are `none` and `spectral-norm`."""
LABELS = {"kernel_distance": "kernel distance", "frechet_distance": "Fréchet distance"}


def check_installed() -> None:
    """Say before hours of training that figures need a package."""
    _matplotlib()


def _matplotlib() -> Any:
    try:
        matplotlib = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        return importlib.import_module("matplotlib.pyplot")
    except ModuleNotFoundError as error:
        raise UserError("the figures of a study need matplotlib: pip install 'orthogan[studies]'") from error


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=130, bbox_inches="tight")
    _matplotlib().close(figure)


def scores(found: Sequence[Found], title: str, columns: str, path: Path) -> None:
    """Two scores by column, a line a row, a dot a seed: figures 1, 2 and 4 of SN-GAN."""
    names = summary.columns(found)
    figure, panels = _matplotlib().subplots(1, 2, figsize=(13, 4.6))
    for panel, score in zip(panels, LABELS, strict=True):
        for i, row in enumerate(summary.rows(found)):
            cells = [cell for cell in found if cell.row == row and cell.scores(score)]
            # Beside one another, so that dots of different rows do not hide each other.
            at = [names.index(cell.column) + 0.06 * (i - len(summary.rows(found)) / 2) for cell in cells]
            colour = COLOURS[i % len(COLOURS)]
            panel.plot(at, [mean(cell.scores(score)) for cell in cells], "-", color=colour, label=row, lw=1.2)
            for x, cell in zip(at, cells, strict=True):
                panel.plot([x] * len(cell.scores(score)), cell.scores(score), "o", color=colour, ms=3.5)
        panel.set_xticks(range(len(names)), names)
        panel.set_xlabel(columns)
        panel.set_ylabel(f"{LABELS[score]} (lower is better)")
        if all(value > 0 for cell in found for value in cell.scores(score)) and any(c.scores(score) for c in found):
            panel.set_yscale("log")
            for formatter in (panel.yaxis.set_major_formatter, panel.yaxis.set_minor_formatter):
                formatter("{x:g}")
        panel.grid(axis="y", which="both", alpha=0.3)
    panels[1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    figure.suptitle(title)
    figure.subplots_adjust(wspace=0.28)
    _save(figure, path)


def bars(found: Sequence[Found], title: str, path: Path) -> None:
    """Two scores, a bar a row from the top down, a dot a seed."""
    names = summary.rows(found)
    figure, panels = _matplotlib().subplots(1, 2, figsize=(12, 0.4 * len(names) + 1.2), sharey=True)
    for panel, score in zip(panels, LABELS, strict=True):
        for i, cell in enumerate(found):
            values = cell.scores(score)
            if values:
                panel.barh(i, mean(values), color="#9ecae1")
                panel.plot(values, [i] * len(values), "o", color="#08519c", ms=4)
        panel.set_xlabel(f"{LABELS[score]} (lower is better)")
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    figure.suptitle(title)
    _save(figure, path)


def best_columns(found: Sequence[Found]) -> dict[str, Found]:
    """Of every row, the cell with the best mean score."""
    best: dict[str, Found] = {}
    for cell in found:
        scored = cell.scores()
        if scored and (cell.row not in best or mean(scored) < mean(best[cell.row].scores())):
            best[cell.row] = cell
    return best


def spectra(found: Sequence[Found], title: str, path: Path) -> None:
    """Squared singular values of D's layers, the largest as 1, each row at its best column: figure 3 of SN-GAN."""
    chosen = best_columns(found)
    tables = {row: cell.spectra() for row, cell in chosen.items() if cell.spectra()}
    layers = list(next(iter(tables.values()))) if tables else []
    if not layers:
        return
    across = min(4, len(layers))
    down = -(-len(layers) // across)
    figure, grid = _matplotlib().subplots(down, across, figsize=(3.4 * across, 2.7 * down), squeeze=False)
    for panel, layer in zip(grid.flat, layers, strict=False):
        for i, row in enumerate(summary.rows(found)):
            if row in tables:
                values = tables[row][layer] ** 2
                label = f"{row} ({chosen[row].column})" if chosen[row].column else row
                panel.plot(range(1, len(values) + 1), values, color=COLOURS[i % len(COLOURS)], label=label, lw=1.2)
        panel.set_title(layer, fontsize=9)
        panel.set_ylim(0, 1.05)
        panel.grid(alpha=0.3)
    for panel in list(grid.flat)[len(layers) :]:
        panel.axis("off")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    figure.suptitle(title)
    figure.tight_layout()
    _save(figure, path)


def times(found: Sequence[Found], title: str, path: Path) -> None:
    """Training time of an image, relative to the first row."""
    ratios = summary.times(found)
    if not ratios:
        return
    figure, panel = _matplotlib().subplots(figsize=(6.5, 0.35 * len(ratios) + 1.2))
    panel.barh(list(ratios), list(ratios.values()), color=[COLOURS[i % len(COLOURS)] for i in range(len(ratios))])
    panel.invert_yaxis()
    for i, ratio in enumerate(ratios.values()):
        panel.text(ratio, i, f" {ratio:.2f}", va="center")
    panel.set_xlabel(f"training time of an image / that of {summary.rows(found)[0]}")
    panel.set_title(title)
    _save(figure, path)
