"""R1's sweep, and interventions from a checkpoint: their cells, what becomes of them, and both in small."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orthogan.cli import main
from orthogan.data.config import DataConfig
from orthogan.errors import UserError
from orthogan.settings import differences, override
from orthogan.studies import plan, stability, summary
from orthogan.studies.cells import Cell
from orthogan.studies.stability import InterventionsOptions, R1Options
from orthogan.training import checkpoint

NETS = ["--width", "4", "--batch", "8", "--precision", "float32", "--device", "cpu"]
SMALL = ["--samples", "10", "--jobs", "2", "--device", "cpu", "--precision", "float32"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "noise.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8))
    return path


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 64 images with checkpoints at 32 and 64, which has kept six images back."""
    out = tmp_path_factory.mktemp("runs") / "run"
    words = ["train", "small-32", "--data", str(data), "--images", "64", "--out", str(out), "--data.hold-out", "0.25"]
    assert main([*words, *NETS, "--cadence.checkpoint-images", "32", "--cadence.sheet-images", "0"]) == 0
    return out


def test_the_sweep_changes_the_strength_of_r1_alone() -> None:
    cells = stability.r1(R1Options(data=DataConfig(source="x"), images=1, seeds=1))
    assert [cell.row for cell in cells] == [
        "gamma 0", "gamma 0.001", "gamma 0.01", "gamma 0.1", "gamma 0.5", "gamma 1", "gamma 2", "gamma 3", "gamma 5",
        "gamma 10",
    ]  # fmt: skip
    assert not differences(cells[0].config, cells[0].config)
    for cell, gamma in zip(cells[1:], stability.GAMMAS[1:], strict=True):
        changed = {path: now for path, _, now in differences(cells[0].config, cell.config)}
        assert changed == {"regularizers.d_r1.strength": gamma, "regularizers.d_r1.interval": 1}


@pytest.mark.parametrize("gammas", [(), (1.0, 1.0), (-1.0,), (float("nan"),)])
def test_a_list_of_strengths_that_is_none_is_refused(gammas: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="gammas"):
        R1Options(data=DataConfig(source="x"), images=1, gammas=gammas)


def cells_of(run: Path, **changes: Any) -> dict[str, Cell]:
    options = InterventionsOptions(run=run, images=32, **changes)
    return {cell.row: cell for cell in stability.interventions(options)}


def test_interventions_change_one_thing_of_the_run(run: Path) -> None:
    cells = cells_of(run, at=40, factor=4.0)
    found = checkpoint.newest(run / "checkpoints", 40)[0].header
    g, d = found.config.optimizer.g_lr, found.config.optimizer.d_lr
    changed = {
        row: {path: now for path, _, now in differences(found.config, cell.config)} for row, cell in cells.items()
    }
    assert changed == {
        "unchanged": {},
        "G lr up": {"optimizer.g_lr": 4 * g},
        "D lr up": {"optimizer.d_lr": 4 * d},
        "both lr up": {"optimizer.g_lr": 4 * g, "optimizer.d_lr": 4 * d},
        "G lr down": {"optimizer.g_lr": g / 4},
        "D lr down": {"optimizer.d_lr": d / 4},
        "both lr down": {"optimizer.g_lr": g / 4, "optimizer.d_lr": d / 4},
        "G frozen": {"freeze": "generator"},
        "D frozen": {"freeze": "discriminator"},
    }
    assert {cell.start for cell in cells.values()} == {32}


def test_the_length_of_a_branch_is_what_it_trains_on(run: Path) -> None:
    """From 32 images on, 40 more with 2 scores: every 24 images (of 20, in steps of 8: 16 or 24), so up to 72."""
    options = InterventionsOptions(run=run, images=40, at=32, scores=2)
    cell = plan.lengthen(stability.interventions(options)[0], options, 40)
    every = cell.config.cadence.score_images
    assert every % cell.config.images_per_step == 0
    assert cell.config.images % every == 0
    assert 72 <= cell.config.images < 72 + every
    assert cell.config.cadence.checkpoint_images == cell.config.images


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"data": DataConfig(source="elsewhere")}, "leave it out"),
        ({"factor": 1.0}, "factor=1.0"),
        ({"factor": float("nan")}, "factor="),
        ({"ema": 0.5}, "ema=0.5"),
        ({"rows": ("G lr",)}, "rows="),
        ({"run": Path("nowhere")}, "nowhere"),
    ],
)
def test_interventions_that_make_no_sense_are_refused(run: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        InterventionsOptions(**{"run": run, "images": 32, **changes})


def test_a_run_whose_learning_rate_falls_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = checkpoint.newest(run / "checkpoints")[0]
    falling = override(found.header.config, {"optimizer.decay_from_images": 8})
    found.header.__dict__["config"] = falling
    monkeypatch.setattr(checkpoint, "newest", lambda folder, at=None: (found, []))
    with pytest.raises(UserError, match="would not compare"):
        cells_of(run)


def test_what_became_of_a_branch() -> None:
    def result(score: float, diverged: str | None = None) -> dict[str, Any]:
        return {"diverged": diverged, "scores": {summary.OUTCOME: score}}

    assert summary.cell_end(result(0.5), 0.25) == "went on (x 2)"
    assert summary.cell_end(result(0.51), 0.25) == "collapsed (x 2)"
    assert summary.cell_end(result(0.75), 0.25) == "collapsed (x 3)"
    assert summary.cell_end(result(0.1, "at 96 images: the weight"), 0.25) == "not finite at 96 images"


def test_interventions_in_small(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "branches"
    words = ["study", "interventions", "--run", str(run), "--at", "32", "--images", "32", "--scores", "2"]
    assert main([*words, *SMALL, "--rows", "unchanged", "G frozen", "--out", str(out)]) == 0
    found = {path.parent.name: json.loads(path.read_text()) for path in out.glob("runs/*/result.json")}
    assert found.keys() == {"unchanged-seed0", "G_frozen-seed0"}
    for result in found.values():
        assert result["images"] == 64
        assert set(result["accuracy"]) == {"training", "held_out"}
        assert [point["images"] for point in result["curve"]] == [48, 64]
    told = (out / "table.md").read_text()
    assert "what became of them" in told
    assert "held-out images real to D" in told
    assert (out / "traces.png").exists()
    # The unchanged branch is the run itself.
    own, branch = (checkpoint.newest(place / "checkpoints")[0] for place in (run, out / "runs" / "unchanged-seed0"))
    assert own.header.checksum == branch.header.checksum
    before = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/result.json")}
    assert main([*words, *SMALL, "--rows", "unchanged", "G frozen", "--out", str(out)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("runs/*/result.json")}
