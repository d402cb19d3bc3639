"""Figures of studies and of singular values, by matplotlib."""

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from orthogan import optional
from orthogan.metrics.titles import TITLES, title
from orthogan.stability.history import Layer
from orthogan.studies import summary
from orthogan.studies.summary import Found, Trace

COLOURS = ("#4c4c4c", "#d62728", "#1f77b4", "#ff7f0e", "#2ca02c", "#17becf", "#9467bd", "#8c564b", "#e377c2")
"""Of rows; see `style`."""
DASHES = ("-", "--", ":", "-.")
SHOWN = ("kernel_distance", "frechet_distance")


def check_installed() -> None:
    """Say before hours of training that figures need a package."""
    _matplotlib()


def _matplotlib() -> Any:
    extra, purpose = "studies", "a figure"
    optional.need("matplotlib", extra, purpose).use("Agg")
    return optional.need("matplotlib.pyplot", extra, purpose)


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=130, bbox_inches="tight")
    _matplotlib().close(figure)


def style(row: int) -> dict[str, str]:
    """How the lines of a row are drawn, in every figure of a study: rows beyond the colours are dashed."""
    return {"color": COLOURS[row % len(COLOURS)], "ls": DASHES[row // len(COLOURS) % len(DASHES)]}


def scores(found: Sequence[Found], title: str, columns: str) -> Any:
    """Two scores by column, a line a row, a dot a seed, a cross a seed that diverged: figures 1, 2 and 4 of SN-GAN."""
    names, rows, cells = summary.columns(found), summary.rows(found), summary.grid(found)
    figure, panels = _matplotlib().subplots(1, 2, figsize=(13, 4.6))
    for panel, score in zip(panels, SHOWN, strict=True):
        for i, row in enumerate(rows):
            colour = style(i)["color"]
            # Beside one another, so that dots of different rows do not hide each other.
            at = [x + 0.06 * (i - len(rows) / 2) for x in range(len(names))]
            values = [cells[row, name].scores(score) if (row, name) in cells else [] for name in names]
            panel.plot(at, [fmean(v) if v else math.nan for v in values], label=row, lw=1.2, **style(i))
            for x, name, several in zip(at, names, values, strict=True):
                panel.plot([x] * len(several), several, "o", color=colour, ms=3.5)
                lost = cells[row, name].diverged if (row, name) in cells else 0
                below = [0.98 - 0.035 * j for j in range(lost)]
                panel.plot([x] * lost, below, "x", color=colour, transform=panel.get_xaxis_transform())
        _scale(panel, [value for cell in found for value in cell.scores(score)])
        panel.set_xticks(range(len(names)), names)
        panel.set_xlabel(columns)
        panel.set_ylabel(f"{TITLES[score]} (lower is better)")
        panel.grid(axis="y", which="both", alpha=0.3)
    panels[1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    figure.suptitle(title)
    figure.subplots_adjust(wspace=0.28)
    return figure


def _scale(panel: Any, values: Sequence[float]) -> None:
    """Logarithmic, with plain numbers, where all values allow it."""
    if values and min(values) > 0:
        panel.set_yscale("log", subs=range(2, 10))
        panel.yaxis.set_major_formatter("{x:g}")
        # Over more than a decade neighbouring digits would lie over one another.
        told = range(2, 10) if max(values) < 10 * min(values) else (2, 5)
        panel.yaxis.set_minor_formatter(lambda x, _: f"{x:g}" if _leading_digit(x) in told else "")


def _leading_digit(x: float) -> int:
    return int(f"{x:e}"[0])


def bars(found: Sequence[Found], title: str) -> Any:
    """Two scores, a bar a row from the top down, a dot a seed."""
    names = summary.rows(found)
    figure, panels = _matplotlib().subplots(1, 2, figsize=(12, 0.4 * len(names) + 1.2), sharey=True)
    for panel, score in zip(panels, SHOWN, strict=True):
        for i, cell in enumerate(found):
            values = cell.scores(score)
            if values:
                panel.barh(i, fmean(values), color="#9ecae1")
                panel.plot(values, [i] * len(values), "o", color="#08519c", ms=4)
        panel.set_xlabel(f"{TITLES[score]} (lower is better)")
        panel.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    figure.suptitle(title)
    return figure


def curves(found: Sequence[Found], title: str) -> Any:
    """The main score over images and over training time, a line a row through the means, a thin one a seed."""
    figure, panels = _matplotlib().subplots(1, 2, figsize=(13, 4.6), sharey=True)
    for i, cell in enumerate(found):
        seconds, mean = cell.seconds_per_image(), summary.mean_curve(cell)
        for panel, unit in ((panels[0], 1.0), (panels[1], None if seconds is None else seconds / 60)):
            if unit is None:
                continue
            for curve in cell.curves():
                panel.plot([x * unit for x, _ in curve], [y for _, y in curve], lw=0.6, alpha=0.5, **style(i))
            panel.plot(
                [x * unit for x, _ in mean], [y for _, y in mean], marker="o", ms=3.5, label=cell.row, **style(i)
            )
    _scale(panels[0], [value for cell in found for curve in cell.curves() for _, value in curve])
    panels[0].set_ylabel(f"{TITLES[summary.MAIN]} (lower is better)")
    for panel, label in zip(panels, ("real images shown", "minutes of training"), strict=True):
        panel.set_xlabel(label)
        panel.set_xlim(left=0)
        panel.grid(which="both", alpha=0.3)
    panels[1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    figure.suptitle(title)
    figure.subplots_adjust(wspace=0.06)
    return figure


def traces(panels: Mapping[str, Sequence[Trace]], title: str) -> Any:
    """A panel a number over images, a line a run, a colour a row."""
    figure, grid = _matplotlib().subplots(2, 3, figsize=(15, 8))
    rows = list(dict.fromkeys(trace.row for found in panels.values() for trace in found))
    for panel, (name, found) in zip(grid.flat, panels.items(), strict=False):
        for trace in found:
            xs, ys = ([point[i] for point in trace.points] for i in range(2))
            panel.plot(xs, ys, lw=1.4, **style(rows.index(trace.row)))
        panel.set_title(TITLES.get(name, name), fontsize=10)
        panel.set_xlabel("real images shown")
        panel.grid(alpha=0.3)
        if not name.startswith("loss"):
            _scale(panel, [y for trace in found for _, y in trace.points])
    last = grid.flat[len(panels)]
    last.axis("off")
    for i, row in enumerate(rows):
        last.plot([], [], label=row, **style(i))
    last.legend(loc="center left", frameon=False)
    figure.suptitle(title)
    figure.tight_layout()
    return figure


def best_columns(found: Sequence[Found]) -> dict[str, Found]:
    """Of every row, the cell with the fewest seeds that diverged, and of these the best mean score."""
    best: dict[str, Found] = {}
    for cell in sorted((c for c in found if c.scores()), key=lambda c: (c.diverged, fmean(c.scores()))):
        best.setdefault(cell.row, cell)
    return best


def spectra(found: Sequence[Found], title: str) -> Any:
    """Squared singular values of D's layers, the largest as 1, each row at its best column: figure 3 of SN-GAN.

    Of the layers that all rows have; None where their discriminators have none in common.
    """
    chosen, rows = best_columns(found), summary.rows(found)
    tables = {row: chosen[row].spectra() for row in rows if row in chosen}
    layers = [layer for layer in next(iter(tables.values()), {}) if all(layer in table for table in tables.values())]
    if not layers:
        return None
    across = max(1, min(4, len(layers)))
    down = max(1, -(-len(layers) // across))
    figure, panels = _matplotlib().subplots(down, across, figsize=(3.4 * across, 2.7 * down), squeeze=False)
    for panel in panels.flat[len(layers) :]:
        panel.axis("off")
    for panel, layer in zip(panels.flat, layers, strict=False):
        for row, table in tables.items():
            label = f"{row} ({chosen[row].column})" if chosen[row].column else row
            xs = range(1, len(table[layer]) + 1)
            panel.plot(xs, table[layer], label=label, lw=1.2, **style(rows.index(row)))
        panel.set_title(layer, fontsize=9)
        panel.set_ylim(0, 1.05)
        panel.grid(alpha=0.3)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.suptitle(title)
    figure.tight_layout()
    return figure


SIGMAS = (r"$\sigma_0$", r"$\sigma_1$", r"$\sigma_2$", r"$\sigma_0/\sigma_1$")


def histories(layers: Sequence[Layer], named: Sequence[Layer], title: str) -> Any:
    """Singular values and their ratio over a run, a line a layer, dark to light from the input on: figure 3 of BigGAN.

    A row of panels a player; the layers `named` stand in its legend.
    """
    players = list(dict.fromkeys(layer.player for layer in layers))
    figure, rows = _matplotlib().subplots(
        len(players), len(SIGMAS), figsize=(18, 3.8 * len(players)), squeeze=False, sharex=True
    )
    for panels, player in zip(rows, players, strict=True):
        _history(panels, [layer for layer in layers if layer.player == player], named)
        for panel, value in zip(panels, SIGMAS, strict=True):
            panel.set_title(f"{player}: {value}", fontsize=10)
    for panel in rows[-1]:
        panel.set_xlabel("real images shown")
    figure.suptitle(title)
    figure.tight_layout()
    return figure


def _history(panels: Sequence[Any], layers: Sequence[Layer], named: Sequence[Layer]) -> None:
    """The layers of one player."""
    colours = _matplotlib().get_cmap("viridis")([i / max(1, len(layers) - 1) for i in range(len(layers))])
    dashes = itertools.cycle(DASHES)
    for layer, colour in zip(layers, colours, strict=True):
        # Neighbours have nearly one colour.
        told = {"label": layer.name, "lw": 2.0, "ls": next(dashes)} if layer in named else {"lw": 0.7}
        marker = "." if len(layer.images) == 1 else None
        for panel, values in zip(panels, (*map(layer.series, range(3)), layer.ratios()), strict=True):
            panel.plot(layer.images, values, color=colour, marker=marker, **told)
    for panel in panels:
        _scale(panel, [y for line in panel.lines for y in line.get_ydata() if math.isfinite(y)])
        panel.grid(alpha=0.3)
    panels[-1].set_ylim(1, max(2.0, panels[-1].get_ylim()[1]))
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)


def times(found: Sequence[Found], title: str) -> Any:
    """Training time of an image, relative to the first row."""
    ratios, rows = summary.times(found), summary.rows(found)
    figure, panel = _matplotlib().subplots(figsize=(6.5, 0.35 * len(ratios) + 1.2))
    panel.barh(list(ratios), list(ratios.values()), color=[style(rows.index(row))["color"] for row in ratios])
    panel.invert_yaxis()
    for i, ratio in enumerate(ratios.values()):
        panel.text(ratio, i, f" {ratio:.2f}", va="center")
    panel.margins(x=0.12)
    panel.set_xlabel(f"training time of an image / that of {rows[0]}")
    panel.set_title(title)
    return figure


def truncation(curves: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], network: str, heading: str) -> Any:
    """Fréchet distance against classifier score, and precision against recall, along truncation thresholds.

    `curves` are points of `judging.truncation.curve`, several curves a name and a colour; a square is no truncation.
    A single curve has its thresholds beside its points, and their intervals where it has them. Over a network without
    classes there is no classifier score, and the distance stands against the recall.
    """
    scored = all(
        "classifier_score" in point["scores"] for each in curves.values() for points in each for point in points
    )
    pairs = (("classifier_score" if scored else "recall", "frechet_distance"), ("recall", "precision"))
    figure, panels = _matplotlib().subplots(1, 2, figsize=(12, 4.6))
    alone = sum(map(len, curves.values())) == 1
    for panel, (across, up) in zip(panels, pairs, strict=True):
        for i, (name, several) in enumerate(curves.items()):
            colour = style(i)["color"]
            for j, points in enumerate(several):
                x, y = ([point["scores"][score] for point in points] for score in (across, up))
                panel.plot(x, y, marker="o", ms=4, lw=1.2, label=name if j == 0 else None, **style(i))
                panel.plot(x[:1], y[:1], "s", color=colour, ms=7)
                for left, bottom, point in zip(x, y, points if alone else (), strict=False):
                    ends = point.get("intervals", {})
                    panel.plot(ends.get(across, []), [bottom] * len(ends.get(across, [])), color=colour, lw=0.6)
                    panel.plot([left] * len(ends.get(up, [])), ends.get(up, []), color=colour, lw=0.6)
                    told = "none" if point["truncation"] is None else f"{point['truncation']:g}"
                    panel.annotate(told, (left, bottom), xytext=(4, 4), textcoords="offset points", fontsize=8)
        panel.set_xlabel(f"{title(across, network)} (higher is better)")
        panel.set_ylabel(f"{title(up, network)} ({'lower' if up == 'frechet_distance' else 'higher'} is better)")
        panel.grid(alpha=0.3)
    if len(curves) > 1:
        panels[1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    figure.suptitle(heading)
    figure.tight_layout()
    return figure
