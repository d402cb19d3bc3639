"""Tables of results made up by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orthogan import plots
from orthogan.studies import summary
from orthogan.studies.plan import Planned, run_folder
from orthogan.studies.summary import Found


def result(distance: float | None, seconds: float = 1.0, values: tuple[float, ...] = (2.0, 2.0)) -> dict[str, Any]:
    found: dict[str, Any] = {
        "diverged": None if distance else "at 64 images",
        "seconds_per_image": seconds,
        "singular_values": {"first": list(values), "second": [1.0, 1.0]},
    }
    if distance:
        found["scores"] = {
            "kernel_distance": distance, "frechet_distance": 100 * distance, "precision": 0.5, "recall": 0.25,
        }  # fmt: skip
    return found


TABLE = [
    Found("none", "A", [result(3.0), result(None)]),
    Found("none", "B", [result(2.0), result(4.0)]),
    Found("spectral-norm", "A", [result(1.0, 1.5), result(2.0, 1.5)]),
    Found("spectral-norm", "B", [result(5.0, 2.5), result(6.0, 2.5)]),
]


def test_the_main_table_has_means_half_ranges_and_divergences() -> None:
    assert summary.main_table(TABLE) == (
        ["", "A", "B"],
        [["none", "3.00 (1 diverged)", "3.00 ±1.00"], ["spectral-norm", "1.50 ±0.50", "5.50 ±0.50"]],
    )


def test_a_row_of_which_all_seeds_diverged_has_no_number() -> None:
    assert summary.entry(Found("none", "A", [result(None), result(None)])) == "– (2 diverged)"


def test_a_study_of_one_column_shows_every_score() -> None:
    heads, rows = summary.main_table([Found("baseline", "", [result(1.0), result(2.0)])])
    assert heads == ["", "kernel distance", "Fréchet distance", "precision", "recall", "diverged"]
    assert rows == [["baseline", "1.500 ±0.500", "150 ±50", "0.500 ±0.000", "0.250 ±0.000", "0"]]


def test_times_are_relative_to_the_first_row_column_by_column() -> None:
    assert summary.times(TABLE) == {"none": 1.0, "spectral-norm": 2.0}  # (1.5 / 1 + 2.5 / 1) / 2


@pytest.mark.parametrize(
    ("values", "share"),
    # Layer `second` is flat: 1. Layer `first`: (1 + (b/a)^2) / 2. Then their mean.
    [((2.0, 2.0), 1.0), ((2.0, 0.0), 0.75), ((4.0, 2.0), (1 + 0.625) / 2)],
)
def test_stable_rank_by_hand(values: tuple[float, ...], share: float) -> None:
    assert summary.stable_rank_share(Found("none", "A", [result(1.0, values=values)])) == pytest.approx(share)


def test_spectra_are_averaged_over_seeds_after_division_by_the_largest() -> None:
    cell = Found("none", "A", [result(1.0, values=(4.0, 2.0)), result(1.0, values=(1.0, 1.0))])
    np.testing.assert_allclose(cell.spectra()["first"], [1.0, 0.75])


def test_results_are_collected_from_the_runs_that_have_ended(tmp_path: Path) -> None:
    runs = [Planned("none", "A", f"none-A-seed{seed}", 64, None) for seed in range(3)]
    for run in runs[:2]:
        place = run_folder(tmp_path, run.name)
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps(result(1.0)))
    (cell,) = summary.collect(tmp_path, runs)
    assert len(cell.results) == 2
    assert [summary.is_done(tmp_path, run) for run in runs] == [True, True, False]


def test_the_best_column_is_that_of_the_lowest_mean() -> None:
    assert {row: cell.column for row, cell in plots.best_columns(TABLE).items()} == {"none": "A", "spectral-norm": "A"}


@pytest.mark.parametrize("found", [TABLE, [Found("none", "A", [result(None)])]], ids=["whole", "all diverged"])
def test_figures_are_drawn(found: list[Found], tmp_path: Path) -> None:
    plots.scores(found, "title", "setting", tmp_path / "scores.png")
    plots.bars(found, "title", tmp_path / "bars.png")
    plots.spectra(found, "title", tmp_path / "spectra.png")
    plots.times(found, "title", tmp_path / "times.png")
    drawn = {path.stem for path in tmp_path.glob("*.png")}
    assert drawn >= {"scores", "bars", "times"}
    assert "spectra" in drawn or found is not TABLE
