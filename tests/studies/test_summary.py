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
    heads, body = summary.tables(TABLE, "inception")["KID, lower is better"]
    assert heads == ["", "A", "B"]
    assert body == [["none", "3 (1 diverged)", "3 ±1"], ["spectral-norm", "1.5 ±0.5", "5.5 ±0.5"]]


def test_a_cell_of_which_all_seeds_diverged_has_no_number() -> None:
    assert summary.entry(Found("none", "A", [result(None), result(None)])) == "– (2 diverged)"


def test_a_study_of_one_column_shows_every_score() -> None:
    heads, body = summary.tables([Found("baseline", "", [result(1.0), result(2.0)])], "lite")["scores"]
    assert heads[1:3] == ["kernel distance (lite)", "Fréchet distance (lite)"]
    assert body == [["baseline", "1.5 ±0.5", "150 ±50", "0.5 ±0", "0.25 ±0", "1.00"]]


def test_shares_are_of_the_seeds_whose_discriminator_says_numbers() -> None:
    results = [{**result(1.0), "accuracy": {"training": share}} for share in (0.9, 0.7)]
    diverged, pairing = ({**result(score), "accuracy": {"training": None}} for score in (None, 1.0))
    cells = [Found("a", "", [*results, diverged]), Found("b", "", [diverged]), Found("c", "", [pairing])]
    heads, body = summary.tables(cells, "lite")["scores"]
    assert [row[-1] for row in body] == ["0.8 ±0.1 (1 diverged)", "– (1 diverged)", "–"]
    assert len(heads) == len(body[0])


def test_times_are_relative_to_the_first_row_column_by_column() -> None:
    assert summary.times(TABLE) == {"none": 1.0, "spectral-norm": 2.0}  # (1.5 / 1 + 2.5 / 1) / 2


@pytest.mark.parametrize(
    ("values", "share"),
    # Layer `second` is flat: 1. Layer `first`: (1 + (b/a)^2) / 2. Then their mean.
    [((2.0, 2.0), 1.0), ((2.0, 0.0), 0.75), ((4.0, 2.0), (1 + 0.625) / 2)],
)
def test_stable_rank_by_hand(values: tuple[float, ...], share: float) -> None:
    assert summary.stable_rank_share(Found("none", "A", [result(1.0, values=values)])) == pytest.approx(share)


def test_spectra_are_the_mean_over_seeds_of_the_squares() -> None:
    cell = Found("none", "A", [result(1.0, values=(4.0, 2.0)), result(1.0, values=(1.0, 1.0))])
    np.testing.assert_allclose(cell.spectra()["first"], [1.0, (0.25 + 1) / 2])


def test_a_seed_that_diverged_counts_in_nothing_else() -> None:
    lost = result(None, seconds=100.0, values=(9.0, 0.0))
    cell = Found("none", "A", [result(2.0), lost])
    assert (cell.scores(), cell.seconds_per_image(), cell.diverged) == ([2.0], 1.0, 1)
    np.testing.assert_allclose(cell.spectra()["first"], [1.0, 1.0])


def test_noise_by_hand() -> None:
    """Cells (2, 4) and (6, 6): variances 2 and 0 within; means 3 and 6, whose deviation is 1.5."""
    cells = [Found("a", "", [result(2.0), result(4.0)]), Found("b", "", [result(6.0), result(6.0)])]
    assert summary.noise(cells) == pytest.approx((1.0, 1.5))
    assert summary.noise(cells[:1]) is None


def test_results_are_collected_from_the_runs_that_have_ended(tmp_path: Path) -> None:
    runs = [Planned("none", "A", f"none-A-seed{seed}", 64, None) for seed in range(3)]
    for run in runs[:2]:
        place = run_folder(tmp_path, run.name)
        place.mkdir(parents=True)
        (place / "result.json").write_text(json.dumps(result(1.0)))
    (cell,) = summary.collect(tmp_path, runs)
    assert len(cell.results) == 2
    assert [summary.is_done(tmp_path, run) for run in runs] == [True, True, False]


def test_the_best_column_has_the_fewest_divergences_and_then_the_lowest_mean() -> None:
    assert {row: cell.column for row, cell in plots.best_columns(TABLE).items()} == {"none": "B", "spectral-norm": "A"}


@pytest.mark.parametrize("found", [TABLE, TABLE[:1], [Found("none", "A", [result(None)])]])
def test_figures_are_drawn(found: list[Found], tmp_path: Path) -> None:
    figures = [
        plots.scores(found, "title", "setting"),
        plots.bars(found, "title"),
        plots.spectra(found, "title"),
        plots.times(found, "title"),
    ]
    drawn = [figure for figure in figures if figure is not None]
    for i, figure in enumerate(drawn):
        plots.save(figure, tmp_path / f"{i}.png")
    assert len(list(tmp_path.glob("*.png"))) == (4 if any(cell.whole() for cell in found) else 3)


def curve(row: str, *seeds: list[tuple[int, float]], seconds: float = 1.0) -> Found:
    return Found(
        row,
        "",
        [
            {**result(1.0, seconds), "curve": [{"images": n, "kernel_distance": score} for n, score in points]}
            for points in seeds
        ],
    )


def test_how_soon_a_row_is_as_good_by_hand() -> None:
    """The reference is best, 3, at 200 images; the quick row is there at 100, and costs four times as much."""
    found = [
        curve("slow", [(100, 5.0), (200, 2.0), (300, 4.0)], [(100, 5.0), (200, 4.0), (300, 4.0)]),
        curve("quick", [(100, 3.5), (200, 9.0)], [(100, 2.5), (200, 9.0)], seconds=4.0),
        curve("bad", [(100, 8.0), (200, 7.0), (300, 6.0)]),
    ]
    heads, body = summary.tables(found, "lite", "slow")["to the best kernel distance (lite) of slow"]
    assert heads[1:] == ["images", "times fewer images", "times less training time"]
    assert body == [["slow", "200", "1", "1"], ["quick", "100", "2", "0.5"], ["bad", "not reached", "", ""]]


def test_the_mean_curve_is_where_all_seeds_were_scored() -> None:
    cell = curve("a", [(1, 4.0), (2, 2.0), (3, 1.0)], [(1, 2.0), (3, 2.0)])
    assert summary.mean_curve(cell) == [(1, 3.0), (3, 1.5)]
    assert summary.reaching([curve("a")], "a") is None


def test_curves_are_drawn_without_times_too(tmp_path: Path) -> None:
    found = [curve("a", [(1, 4.0), (2, 2.0)]), Found("b", "", [{**result(1.0), "seconds_per_image": None}])]
    plots.save(plots.curves(found, "title"), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_spectra_are_of_the_layers_that_all_rows_have() -> None:
    other = {**result(1.0), "singular_values": {"second": [1.0, 0.5], "third": [1.0, 1.0]}}
    found = [Found("a", "", [result(1.0)]), Found("b", "", [other])]
    figure = plots.spectra(found, "title")
    assert [panel.get_title() for panel in figure.axes if panel.get_title()] == ["second"]
    plots._matplotlib().close(figure)
    nothing = {**result(1.0), "singular_values": {"fourth": [1.0, 1.0]}}
    assert plots.spectra([*found, Found("c", "", [nothing])], "title") is None


@pytest.mark.parametrize(
    ("values", "told"), [([0.2, 0.9], ["0.3", "0.4", "0.5"]), ([0.2, 30.0], ["0.5", "1", "2", "5", "10", "20"])]
)
def test_a_long_logarithmic_axis_tells_fewer_numbers(values: list[float], told: list[str]) -> None:
    figure, panel = plots._matplotlib().subplots()
    panel.plot(values)
    plots._scale(panel, values)
    figure.canvas.draw()
    shown = {label.get_text() for label in panel.get_yticklabels(which="both")} - {""}
    assert set(told) <= shown
    assert ("0.4" in shown) == ("0.4" in told)
    plots._matplotlib().close(figure)
