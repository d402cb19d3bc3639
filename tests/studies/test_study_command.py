"""A whole study in small, and the same study killed and taken up again."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from orthogan.cli import main

ROWS = ("none", "spectral-norm", "wgan-gp")
WORDS = [
    *("study", "stabilizers", "--settings", "C", "--seeds", "1", "--width", "4", "--batch", "8", "--samples", "16"),
    *("--jobs", "2", "--device", "cpu", "--precision", "float32", "--stabilizers", *ROWS),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "noise.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8))
    return path


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that ran to its end without a stop."""
    out = tmp_path_factory.mktemp("studies") / "whole"
    assert main([*WORDS, "--data", str(data), "--images", "640", "--out", str(out)]) == 0
    return out


def results(study: Path) -> dict[str, dict[str, Any]]:
    found = {path.parent.name: json.loads(path.read_text()) for path in sorted(study.glob("runs/*/result.json"))}
    for values in found.values():
        del values["seconds_per_image"]
    return found


def test_every_run_has_a_result_and_the_study_its_tables_and_figures(whole: Path) -> None:
    found = results(whole)
    assert found.keys() == {f"{row}-C-seed0" for row in ROWS}
    for values in found.values():
        assert values["images"] == 640
        assert values["scores"].keys() >= {"kernel_distance", "frechet_distance", "precision", "recall"}
        assert values["protocol"]["generated"]["images"] == 16
        assert len(values["singular_values"]) == 7
    sn = found["spectral-norm-C-seed0"]["singular_values"]
    assert all(layer[0] == pytest.approx(1, abs=0.1) for layer in sn.values())
    told = (whole / "table.md").read_text()
    assert "3 of 3 runs" in told
    assert "640 images each" in told
    assert all(f"| {row} |" in told for row in ROWS)
    assert {path.name for path in whole.glob("*.png")} == {"scores.png", "spectra.png", "times.png"}


def wait_for(found: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_study_that_is_stopped_goes_on_to_the_same_results(
    whole: Path, data: Path, tmp_path: Path, how: signal.Signals
) -> None:
    out = tmp_path / "stopped"
    words = [*WORDS, "--data", str(data), "--images", "640", "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "orthogan", *words], stdout=subprocess.PIPE, text=True)
    wait_for(lambda: list(out.glob("runs/*/log.jsonl")))
    process.send_signal(how)
    told, _ = process.communicate(timeout=120)
    # Also without their parent the runs save, and end.
    wait_for(lambda: list(out.glob("runs/*/checkpoints/*.safetensors")))
    if how != signal.SIGKILL:
        assert process.returncode == 128 + how, told
        assert "the same command goes on" in told
        assert len(results(out)) < len(ROWS)
    assert main(words) == 0
    assert results(out) == results(whole)


def test_a_study_that_another_process_works_on_is_left_alone(
    whole: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with FileLock(whole / "lock"):
        assert main([*WORDS, "--data", str(data), "--images", "640", "--out", str(whole)]) == 2
    assert "another process" in capsys.readouterr().err


def test_a_budget_becomes_images_and_a_run_that_diverges_is_a_result(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "budget"
    words = [*WORDS[:-3], "none", "spectral-norm", "--data", str(data), "--out", str(out), "--budget"]
    assert main([*words, "0.01"]) == 2
    assert "for a single step each" in capsys.readouterr().err
    assert not list(out.glob("runs/*"))
    process = subprocess.Popen([sys.executable, "-m", "orthogan", *words, "3"], stdout=subprocess.PIPE, text=True)
    wait_for((out / "study.json").exists)
    process.terminate()
    process.communicate(timeout=120)
    plan = json.loads((out / "study.json").read_text())
    assert len({run["images"] for run in plan["runs"]}) == 1
    assert plan["runs"][0]["images"] % 8 == 0
    assert all(run["seconds_per_image"] > 0 for run in plan["runs"])

    # Short, and at a learning rate from which one of the two cannot come back.
    for run in plan["runs"]:
        run["images"] = 64
        path = out / "runs" / run["name"]
        shutil.rmtree(path / "checkpoints", ignore_errors=True)
        config = json.loads((path / "config.json").read_text())
        config["run"] |= {"images": 64, "cadence": config["run"]["cadence"] | {"score_images": 64}}
        if run["row"] == "none":
            config["run"]["optimizer"] |= {"d_lr": 1e30}
        (path / "config.json").write_text(json.dumps(config))
    (out / "study.json").write_text(json.dumps(plan))
    assert main([*words, "3"]) == 0
    found = results(out)
    assert "not finite" in found["none-C-seed0"]["diverged"]
    assert found["spectral-norm-C-seed0"]["diverged"] is None
    assert "| none | – (1 diverged) | " in (out / "table.md").read_text()


def test_the_same_command_again_only_reports(whole: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.glob("runs/*/*")}
    assert main([*WORDS, "--data", str(data), "--images", "640", "--out", str(whole)]) == 0
    assert "spectral-norm" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in whole.glob("runs/*/*")} == before


def test_other_options_are_refused_and_nothing_is_lost(
    whole: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*WORDS, "--data", str(data), "--images", "3200", "--out", str(whole)]) == 2
    assert "images: 640 -> 3200" in capsys.readouterr().err
    assert len(results(whole)) == len(ROWS)


def test_a_run_that_fails_is_named_and_the_others_stand(
    whole: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "failing"
    words = [*WORDS, "--data", str(data), "--images", "64", "--out", str(out)]
    assert main(words) == 0
    broken = out / "runs" / "none-C-seed0"
    (broken / "result.json").unlink()
    config = (broken / "config.json").read_text()
    shutil.rmtree(broken / "checkpoints")  # from which the configuration would be taken
    (broken / "config.json").write_text(config.replace('"width": 4', '"width": "four"'))
    assert main(words) == 2
    told = capsys.readouterr().out
    assert f"{broken / 'config.json'} cannot be read (generator.width='four': must be int)" in told
    assert "spectral-norm" in (out / "table.md").read_text()
    assert len(results(out)) == len(ROWS) - 1
    (broken / "config.json").write_text(config)
    assert main(words) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["study", "stabilisers"], "did you mean 'stabilizers'"),
        (["study", "width"], "data.source"),
        (["study", "table1", "--data", "digits"], "--budget MINUTES or --images N"),
    ],
)
def test_bad_words_of_a_study(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):  # tyro leaves by itself, with a frame around the text
        assert main(words) == 2
    assert told in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_table_1_needs_classes(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["study", "table1", "--data", str(data), "--images", "64", "--out", str(tmp_path / "t"), "--device", "cpu"]
    assert main(words) == 2
    assert "needs classes" in capsys.readouterr().err


def test_torchrun_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*WORDS, "--data", str(data), "--images", "64"]) == 2
    assert "without torchrun" in capsys.readouterr().err
