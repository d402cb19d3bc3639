"""Pairs with and without orthogonal regularisation: planned, trained, looked at and told."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_generator, tiny_run

from orthogan.commands import study as command
from orthogan.data.config import DataConfig
from orthogan.errors import UserError
from orthogan.features import pretrained
from orthogan.features.pretrained import FeatureNet
from orthogan.judging import truncation as truncating
from orthogan.page.repeat import changed_words
from orthogan.settings import differences
from orthogan.studies import STUDIES, truncation
from orthogan.studies.plan import Planned, run_folder
from orthogan.studies.truncation import TruncationOptions
from orthogan.training import checkpoint
from orthogan.training.checkpoint import Header
from orthogan.training.logs import write_config

DIGITS = {"data": DataConfig(source="digits"), "images": 640}


def test_two_runs_of_a_seed_differ_in_the_regularisation_alone():
    cells = truncation.truncation(TruncationOptions(**DIGITS, seeds=2, strength=0.01))
    assert [cell.name for cell in cells] == [
        f"{row}-seed{seed}" for seed in (0, 1) for row in ("without", "ortho_0.01")
    ]
    for without, with_ in (cells[:2], cells[2:]):
        assert differences(without.config, with_.config) == [("regularizers.g_ortho.strength", 0.0, 0.01)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"preset": "fastgan-64"}, "can be truncated"),
        ({"preset": "projected-stylegan2-32"}, "can be truncated"),
        ({"thresholds": ()}, "at least one"),
        ({"thresholds": (0.5, 0.0)}, "positive"),
        ({"strength": 0.0}, "positive"),
    ],
)
def test_what_cannot_be_studied_is_refused_at_once(changes: dict[str, Any], told: str):
    with pytest.raises(UserError, match=told):
        TruncationOptions(**DIGITS, **changes)


def found(amenable: bool, **verdict: Any) -> dict[str, Any]:
    return {"verdict": {"amenable": amenable, "saturates": not amenable, "improves": True} | verdict}


def test_shares_and_the_chance_that_they_differ_by_luck():
    looked = {"without": [found(False)] * 4, "ortho": [found(True)] * 3 + [found(False)]}
    shares, told = truncation.tables(looked).values()
    assert shares[1] == [["without", "4", "0%", "4", "4"], ["ortho", "4", "75%", "1", "4"]]
    # Of 8 runs 3 are amenable: all 3 among 4 given ones in C(4, 3) C(4, 0) / C(8, 3) = 4 / 56 of the ways.
    assert float(told[1][0][2]) == pytest.approx(4 / 56, rel=0.01)


def test_runs_whose_saturation_cannot_be_judged_do_not_count_as_sound():
    mute = found(True, saturates=None)
    (shares,) = truncation.tables({"without": [mute, mute]}).values()
    assert shares[1] == [["without", "2", "100%", "cannot be judged", "2"]]
    (shares,) = truncation.tables({"without": [mute, found(True), found(False)]}).values()
    assert shares[1][0][3] == "1 of 2 judged"


def test_the_row_without_is_the_one_held_against_wherever_it_stands():
    """As where the first of its runs has diverged, and the other row's was looked at before."""
    looked = {"ortho": [found(True)] * 10, "without": [found(False)] * 9}
    shares, told = truncation.tables(looked).values()
    assert [row[0] for row in shares[1]] == ["without", "ortho"]
    assert float(told[1][0][2]) == pytest.approx(1 / math.comb(19, 9), rel=0.05)


def test_options_as_words_leave_defaults_out():
    options = TruncationOptions(
        data=DataConfig(source="my images", mirror=True), images=640, seeds=2, thresholds=(1.0, 0.5)
    )
    words = ["--data", "my images", "--data.mirror", "--images", "640", "--seeds", "2", "--thresholds", "1.0", "0.5"]
    assert changed_words(options) == words


def test_runs_that_have_ended_are_looked_at_once_and_told_on_one_page(
    tmp_path: Path, arrays: Path, tiny: FeatureNet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(pretrained, "load", lambda name, path=None, device="cpu": tiny)
    options = TruncationOptions(
        data=DataConfig(source=str(arrays)), images=64, seeds=2, samples=12, thresholds=(0.5,), device="cpu"
    )
    planned = [Planned(row, "", f"{row}-seed{seed}", 64, None) for seed in (0, 1) for row in ("without", "ortho")]
    for run in planned:
        ended_run(run_folder(tmp_path, run.name), arrays, diverged=run.name == "without-seed0")
    study = STUDIES["truncation"]
    looked = command.look(study, options, tmp_path, planned)
    assert [(row, list(runs)) for row, runs in looked.items()] == [
        ("without", ["without-seed1"]),
        ("ortho", ["ortho-seed0", "ortho-seed1"]),
    ]
    command.report("truncation", study, options, tmp_path, planned, looked)
    assert "amenable to truncation" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "truncation.png").stat().st_size > 0
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/webp") == 3
    assert "orthogan study truncation" in page
    assert "report.html" in capsys.readouterr().out
    monkeypatch.setattr(truncating, "curve", None)  # kept curves are not drawn again
    assert command.look(study, options, tmp_path, planned) == looked


def ended_run(folder: Path, data: Path, diverged: bool) -> None:
    """A run of a study as it is at its end, untrained."""
    write_config(folder, tiny_run(data), "small-32")
    torch.manual_seed(0)
    tensors = {f"ema.{k}": v for k, v in tiny_generator().state_dict().items()}
    checkpoint.save(folder / "checkpoints" / checkpoint.file_name(64), tensors, Header(tiny_run(data), 64, 8, {}))
    scores = dict.fromkeys(("kernel_distance", "frechet_distance", "precision", "recall"), 0.5)
    result = {"diverged": "at 8 images" if diverged else None, "scores": scores, "seconds_per_image": 0.1}
    (folder / "result.json").write_text(json.dumps(result | {"images": 64, "curve": []}))
