"""Budgets become whole steps, worked by hand."""

from pathlib import Path

import pytest
import torch

from orthogan.data.config import DataConfig
from orthogan.errors import UserError
from orthogan.studies import STUDIES
from orthogan.studies import plan as planning
from orthogan.studies.cells import Cell, StudyOptions
from orthogan.studies.sngan import StabilizersOptions, stabilizers


def two_settings(**changes: object) -> tuple[list[Cell], StudyOptions]:
    """Batch 64: A shows 320 images a step, C 64."""
    settings = {"stabilizers": ("none",), "settings": ("A", "C"), "seeds": 1, "data": DataConfig(source="x")}
    options = StabilizersOptions(**(settings | changes))
    return stabilizers(options), options


def speeds(cells: list[Cell], **by_column: float) -> planning.Speeds:
    return {planning.speed_kind(cell.config): by_column[cell.column] for cell in cells}


def test_a_budget_is_shared_by_images() -> None:
    cells, options = two_settings(budget=10.0)
    # 600 s for both, one after the other: 2 x (8 + 42) s are not training, 500 s / (0.02 + 0.08) s an image.
    assert planning.fit_budget(cells, options, speeds(cells, A=0.02, C=0.08), 42.0, 1) == 4_800  # 15 x 320
    # Side by side the slower one decides: (600 - 50) s / 0.08 s = 6,875 images.
    assert planning.fit_budget(cells, options, speeds(cells, A=0.02, C=0.08), 42.0, 2) == 6_720  # 21 x 320
    assert [planning.lengthen(cell, options, 6_720).config.images for cell in cells] == [6_720, 6_720]


def test_a_budget_is_shared_by_updates() -> None:
    cells, options = two_settings(budget=10.0, equal="updates")
    # An update costs 320 x 0.02 s + 64 x 0.08 s = 11.52 s, for which there are 500 s.
    units = planning.fit_budget(cells, options, speeds(cells, A=0.02, C=0.08), 42.0, 1)
    assert units == 43
    assert [planning.lengthen(cell, options, units).config.images for cell in cells] == [43 * 320, 43 * 64]


def test_a_budget_for_nothing_is_refused_with_the_least_that_would_do() -> None:
    cells, options = two_settings(budget=0.5)
    # 2 runs x (8 + 42) s and 320 images x (0.02 + 0.08) s make 132 s.
    with pytest.raises(UserError, match=r"need 2\.2 minutes"):
        planning.fit_budget(cells, options, speeds(cells, A=0.02, C=0.08), 42.0, 1)
    # Side by side the longer of them, 50 s and 320 x 0.08 s.
    with pytest.raises(UserError, match=r"need 1\.3 minutes"):
        planning.fit_budget(cells, options, speeds(cells, A=0.02, C=0.08), 42.0, 2)


@pytest.mark.parametrize(
    ("costs", "jobs", "seconds"),
    [([1, 2, 3], 1, 6), ([1, 2, 3], 2, 3), ([5, 1, 1, 1], 2, 5), ([3, 3, 2, 2, 2], 2, 7), ([4], 8, 4)],
)
def test_the_makespan_of_longest_first(costs: list[float], jobs: int, seconds: float) -> None:
    assert planning.makespan(costs, jobs) == seconds


@pytest.mark.parametrize(("asked", "images"), [(1, 320), (320, 320), (321, 640)])
def test_given_images_become_whole_steps_of_every_run(asked: int, images: int) -> None:
    cells, options = two_settings(images=asked)
    assert planning.given_units(cells, options) == images


def test_given_images_are_those_of_the_smallest_step_when_updates_are_equal() -> None:
    cells, options = two_settings(images=129, equal="updates")
    units = planning.given_units(cells, options)
    assert units == 3
    assert [planning.lengthen(cell, options, units).config.images for cell in cells] == [960, 192]


def test_runs_that_cost_the_same_are_measured_once() -> None:
    options = StabilizersOptions(data=DataConfig(source="x"), images=1)
    kinds = {planning.speed_kind(cell.config) for cell in stabilizers(options)}
    assert len(kinds) == 9 * 2  # stabilisers x numbers of D steps


@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if not study.branches])
def test_a_written_plan_is_read_again_and_other_options_are_refused(name: str, tmp_path: Path) -> None:
    study = STUDIES[name]
    options = study.options(data=DataConfig(source="x"), images=1, seeds=1)
    cells = [planning.lengthen(cell, options, 640) for cell in study.cells(options)]
    cpu = torch.device("cpu")
    written = planning.write_plan(tmp_path, planning.what_decides(name, options, cpu, "abc"), cells, {})
    assert [run.images for run in written] == [cell.config.images for cell in cells]
    again = study.options(data=DataConfig(source="x"), images=1, seeds=1, out=tmp_path, jobs=7)
    assert planning.read_plan(tmp_path, planning.what_decides(name, again, cpu, "abc")) == written
    more = study.options(data=DataConfig(source="x"), images=1, seeds=2)
    with pytest.raises(UserError, match="seeds: 1 -> 2"):
        planning.read_plan(tmp_path, planning.what_decides(name, more, cpu, "abc"))
    with pytest.raises(UserError, match="fingerprint: 'abc' -> 'other'"):
        planning.read_plan(tmp_path, planning.what_decides(name, again, cpu, "other"))
    for cell in cells:
        assert (planning.run_folder(tmp_path, cell.name) / "config.json").exists()


def test_adaptive_augmentation_can_rise_within_a_tenth_of_a_run() -> None:
    study = STUDIES["convergence"]
    options = study.options(data=DataConfig(source="x"), images=1, seeds=1)
    runs = {cell.row: planning.lengthen(cell, options, 8_000).config for cell in study.cells(options)}
    assert runs.pop("StyleGAN2-ADA").augment.speed_images == 800
    assert {run.augment.speed_images for run in runs.values()} == {500_000}
