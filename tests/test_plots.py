"""Figures of studies: what is drawn stands where it can be told apart."""

from collections.abc import Iterator
from typing import Any

import pytest

from orthogan import plots
from orthogan.studies.stability import GAMMAS
from orthogan.studies.summary import Found, Trace


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plots._matplotlib().close("all")


def result(score: float | None) -> dict[str, Any]:
    found: dict[str, Any] = {"diverged": None if score else "at 64 images", "seconds_per_image": 1.0}
    if score is None:
        return found
    scores = {"kernel_distance": score, "frechet_distance": 100 * score}
    curve = [{"images": images, "kernel_distance": score * images} for images in (64, 128)]
    return found | {"scores": scores, "curve": curve, "singular_values": {"first": [2.0, score / 20]}}


ROWS = [Found(f"gamma {gamma:g}", "", [result(1.0 + i), result(1.5 + i)]) for i, gamma in enumerate(GAMMAS)]


def looks(panel: Any) -> dict[str, tuple[str, str]]:
    """Colour and dash of the lines that a legend names."""
    return {str(line.get_label()): (line.get_color(), line.get_linestyle()) for line in panel.lines
            if not str(line.get_label()).startswith("_")}  # fmt: skip


def test_the_rows_of_the_study_with_the_most_look_different_and_alike_in_every_figure() -> None:
    traces = {"loss of D": [Trace(cell.row, [(0, 1.0), (64, 2.0)]) for cell in ROWS]}
    figures = [
        plots.scores(ROWS, "t", "c"),
        plots.curves(ROWS, "t"),
        plots.spectra(ROWS, "t"),
        plots.traces(traces, "t"),
    ]
    shown = [looks(figure.axes[0]) or looks(figure.axes[1]) for figure in figures]
    assert list(shown[0]) == [cell.row for cell in ROWS]
    assert len(set(shown[0].values())) == len(ROWS) == 10
    assert shown == [shown[0]] * 4


def test_a_row_without_numbers_leaves_the_others_their_looks() -> None:
    lost = [Found(ROWS[0].row, "", [result(None)]), *ROWS[1:]]
    whole, left = (looks(plots.spectra(found, "t").axes[0]) for found in (ROWS, lost))
    assert left == {row: look for row, look in whole.items() if row != ROWS[0].row}


def test_crosses_of_seeds_that_diverged_lie_beside_one_another() -> None:
    found = [Found("none", "A", [result(None)] * 3), Found("none", "B", [result(1.0)])]
    panel = plots.scores(found, "t", "setting").axes[0]
    (crosses,) = [line for line in panel.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert len(set(zip(crosses.get_xdata(), crosses.get_ydata(), strict=True))) == 3


def of_points(intervals: bool) -> list[dict[str, Any]]:
    points = []
    for threshold, distance in ((None, 50.0), (0.5, 40.0)):
        scores = {"frechet_distance": distance, "classifier_score": 3.0, "precision": 0.5, "recall": 0.4}
        ends = {"intervals": {name: [0.9 * value, 1.1 * value] for name, value in scores.items()}} if intervals else {}
        points.append({"truncation": threshold, "scores": scores, **ends})
    return points


def test_a_single_truncation_curve_has_the_intervals_of_its_points() -> None:
    with_ = plots.truncation({"": [of_points(True)]}, "efficientnet-lite0", "a run").axes[0]
    assert [45.0, 55.00000000000001] in [list(line.get_ydata()) for line in with_.lines]
    without = plots.truncation({"": [of_points(False)]}, "efficientnet-lite0", "an older file").axes[0]
    assert max(max(line.get_ydata(), default=0) for line in without.lines) == 50
