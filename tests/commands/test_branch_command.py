"""`orthogan branch`: its words, what it refuses and how; the advice after a divergence is a command that works."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from process import orthogan
from tiny import tiny_run

from orthogan import runs
from orthogan.networks import DISCRIMINATORS
from orthogan.training import checkpoint
from orthogan.training.observer import Observer


@pytest.fixture
def run(tmp_path: Path, arrays: Path) -> Path:
    """A run of 32 images, whose only checkpoint is at its end."""
    folder = tmp_path / "my run"
    config = tiny_run(arrays, images=32)
    assert runs.start(config, "digits", folder, Observer(), torch.device("cpu"), lambda done, total: None).run()
    return folder


def written(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


def test_a_branch_by_its_words(run: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    words = ["--images", "48", "--optimizer.g-lr=1e-5", "--regularizers.g-ortho.strength", "1e-4", "--freeze", "none"]
    done = orthogan("branch", run, "--out", new, "--device", "cpu", *words)
    assert done.status == 0, done.err
    stored = run / "checkpoints" / checkpoint.file_name(32)
    assert f"branched from {stored} at 32 images\n" in done.out
    changed = "images 32 -> 48, optimizer.g_lr 0.001 -> 1e-05, regularizers.g_ortho.strength 0.0 -> 0.0001"
    assert f"changed: {changed}\n" in done.out
    assert f"trained 16 images; the run is in {new}" in done.out
    assert written(new)["parent"]["checkpoint"] == str(stored)
    assert written(new)["run"]["optimizer"]["g_lr"] == 1e-5
    assert (written(new)["run"]["images"], written(new)["preset"]) == (48, "digits")
    assert orthogan("resume", new, "--images", "64", "--device", "cpu").status == 0
    assert written(new)["parent"]["images"] == 32


def test_random_features_are_told_whenever_a_run_goes_on(tmp_path: Path, arrays: Path) -> None:
    pytest.importorskip("timm")
    run, new = tmp_path / "run", tmp_path / "new"
    config = replace(tiny_run(arrays, images=16), discriminator=DISCRIMINATORS["projected"].tiny)
    assert runs.start(config, "digits", run, Observer(), torch.device("cpu"), lambda done, total: None).run()
    for words in (("branch", run, "--out", new), ("resume", run)):
        done = orthogan(*words, "--images", "32", "--device", "cpu")
        assert done.status == 0, done.err
        assert " ".join(done.out.split()).count("warning: the features of D are those of test_efficientnet with") == 1


def test_its_help_tells_the_settings_as_they_are_in_the_run(run: Path) -> None:
    told = orthogan("branch", run, "--help").out
    assert all(word in told for word in ("--out", "--at", "--optimizer.g-lr", "--freeze", "--batch", "--data.source"))
    assert "default: 0.001" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "needs --out"),
        (["--out", "new", "--g-lr", "3"], "did you mean --optimizer.g-lr?"),
        (["--out", "new", "--freeze", "both"], "--freeze"),
        (["--out", "new", "--at", "31"], "at or below 31 images; there are 32"),
        (["--out", "new"], "images=32: the branch begins at 32 images; give more by --images"),
        (["--out", "new", "--images", "48", "--width", "4"], "generator.width 8 -> 4"),
        (["--out", "new", "--images", "48", "--discriminator", "sngan"], "discriminator.family 'biggan' -> 'sngan'"),
        (["--out", "new", "--images", "48", "--loss", "hing"], "did you mean 'hinge'"),
        (["--out", "new", "--images", "48", "--data", "nowhere"], "--out new --data NEW/PLACE"),
        (["--out", "my run", "--images", "48"], "already holds a run"),
    ],
)
def test_what_does_not_fit_is_one_line_with_a_way_out(run: Path, tmp_path: Path, words: list[str], told: str) -> None:
    error = orthogan("branch", "my run", *words, cwd=tmp_path).error
    assert told in error
    assert "\n" not in error
    assert not (tmp_path / "new").exists()


def test_a_folder_without_a_run_or_a_checkpoint_is_told(run: Path, tmp_path: Path) -> None:
    assert "is not the folder of a run" in orthogan("branch", tmp_path / "nothing", "--out", tmp_path / "new").error
    (run / "checkpoints" / checkpoint.file_name(32)).unlink()
    error = orthogan("branch", run, "--out", tmp_path / "new", "--images", "48").error
    assert "has no checkpoint to branch from yet" in error
    assert "`orthogan train`" in error


def test_the_advice_after_a_divergence_is_a_branch_that_works(run: Path, tmp_path: Path) -> None:
    words = ["--out", tmp_path / "new", "--images", "64", "--device", "cpu", "--optimizer.d-lr"]
    error = orthogan("branch", run, *words, "1e38").error
    assert "diverged" in error
    assert str(tmp_path / "new" / "checkpoints" / checkpoint.file_name(32)) in error
    (advised,) = re.findall(r"`(orthogan branch .*)`", error)
    named = shlex.split(advised)[1:]
    assert named[:6] == ["branch", str(tmp_path / "new"), "--at", "32", "--out", str(tmp_path / "new-branch-1")]
    assert named[6:] == ["--optimizer.g-lr", "0.0005", "--optimizer.d-lr", "5e+37"]
    # Half of that rate is still far too much, and what is advised next is a third place.
    again = orthogan(*named, "--device", "cpu").error
    assert str(tmp_path / "new-branch-1-branch-1") in again
    assert written(tmp_path / "new-branch-1")["parent"]["changed"]["optimizer.d_lr"] == [1e38, 5e37]
    better = [word.replace("5e+37", "1e-3").replace("branch-1", "branch-2") for word in named]
    assert orthogan(*better, "--device", "cpu").status == 0
