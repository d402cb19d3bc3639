"""`train` and `resume` in processes of their own: dry runs, what is refused, data that moved, the first Ctrl-C."""

import json
import os
import shlex
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from process import Running, orthogan
from safetensors import safe_open

from orthogan.commands.forecast import few_images
from orthogan.training import checkpoint

TINY = [
    "--width",
    "4",
    "--batch",
    "8",
    "--precision",
    "float32",
    "--device",
    "cpu",
    "--cadence.sheet-images",
    "0",
]


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    path = tmp_path / "noise.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8))
    return path


@pytest.fixture
def run(tmp_path: Path, noise: Path) -> Path:
    folder = tmp_path / "my run"
    done = orthogan("train", "small-32", "--data", noise, "--out", folder, "--images", "32", *TINY)
    assert done.status == 0, done.err
    return folder


def settings(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "config.json").read_text())["run"]
    return found


# -- dry runs -----------------------------------------------------------------------------------------------------


def amounts(told: str) -> dict[str, str]:
    rows = [line.split("│") for line in told.splitlines() if line.count("│") == 2]
    return {row[0].strip(): row[1].strip() for row in rows}


def number(text: str) -> float:
    value, unit = text.split()
    return float(value) * {"k": 1e3, "M": 1e6, "G": 1e9}.get(unit[0], 1)


def test_a_dry_run_knows_paired_losses() -> None:
    words = ["--width", "4", "--batch", "4", "--device", "cpu", "--loss", "relativistic"]
    done = orthogan("train", "digits", *words, "--dry-run")
    assert done.status == 0, done.out + done.err
    assert amounts(done.out)["parameters of G"]


def test_a_dry_run_refuses_an_unknown_loss() -> None:
    assert "did you mean 'hinge'" in orthogan("train", "digits", "--loss", "hing", "--dry-run").error


def test_a_dry_run_tells_time_checkpoint_and_folder(run: Path, noise: Path, tmp_path: Path) -> None:
    words = ["--data", noise, "--images", "320", *TINY, "--out", tmp_path / "other"]
    told = amounts(orthogan("train", "small-32", *words, "--dry-run").out)
    assert "images/s" in told["time of a step here, now"]
    assert told["time of all steps"].startswith("about ")
    written = checkpoint.numbered(run / "checkpoints")[0].stat().st_size
    assert number(told["a checkpoint"]) == pytest.approx(written, rel=0.1)  # the header has some kilobytes
    assert number(told["the run's folder, at most"]) >= 2 * number(told["a checkpoint"])
    assert not (tmp_path / "other").exists()


def test_a_dry_run_refuses_the_place_that_the_run_would_refuse(noise: Path) -> None:
    beside = noise.with_name("file")
    beside.touch()
    for words in (["--dry-run"], []):
        assert (
            "is a file; name a folder" in orthogan("train", "small-32", "--data", noise, "--out", beside, *words).error
        )


def test_data_that_is_less_than_a_batch_is_warned_of() -> None:
    assert few_images(32, 32) == []
    (told,) = few_images(31, 32)
    assert "31 images and a batch 32" in told


def test_a_step_that_does_not_fit_the_memory_is_not_timed() -> None:
    done = orthogan("train", "digits", "--batch", "1000000", "--images", "1000000", "--dry-run", "--device", "cpu")
    assert done.status == 0
    assert amounts(done.out)["time of a step here, now"] == "not timed"
    assert "warning: " in done.out
    assert "lower batch, or raise accumulate" in done.out


# -- lengths ------------------------------------------------------------------------------------------------------


def test_a_length_of_one_s_own_brings_its_cadences_and_says_so(tmp_path: Path, noise: Path) -> None:
    folder = tmp_path / "run"
    words = ["--data", noise, "--images", "64", *TINY, "--width", "4", "--cadence.log-images", "16"]
    done = orthogan("train", "sngan-64", *words, "--resolution", "32", "--d-steps", "1", "--out", folder)
    assert done.status == 0, done.out + done.err
    assert "fitted to 64 images: " in done.out
    assert "optimizer.decay_from_images 64000000 -> 51" in done.out
    assert "cadence.log_images" not in done.out  # given by hand
    written = settings(folder)
    assert written["cadence"]["log_images"] == 16  # type: ignore[index]
    assert written["optimizer"]["decay_from_images"] == 51  # type: ignore[index]


def test_what_will_never_happen_and_the_traps_of_the_data_are_told_before_the_first_step(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    shutil.copy(Path(__file__).parents[1] / "data" / "pictures.py", folder / "notes.txt")
    from PIL import Image

    for i in range(4):
        Image.new("RGB", (32, 32), (i, 0, 0)).save(folder / f"{i}.png")
    words = ["--data", folder.parent, "--images", "16", "--out", tmp_path / "run", *TINY]
    done = orthogan(
        "train",
        "small-32",
        *words,
        "--cadence.checkpoint-images",
        "5000",
        "--ema.start-steps",
        "2",
        "--ema.decay",
        "0.9",
    )
    assert done.status == 0, done.err
    before_training = done.out[: done.out.index("checkpoint " + str(tmp_path))]
    for told in (
        "there is a single class, 'train'",
        "no checkpoint before its end",
        "ema.start_steps is 2 and the run has 2",
    ):
        assert told in before_training


# -- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["data/run", "data"])
def test_a_run_inside_its_data_is_refused(tmp_path: Path, out: str) -> None:
    (tmp_path / "data").mkdir()
    told = orthogan("train", "small-32", "--data", "data", "--out", out, cwd=tmp_path).error
    assert f"out='{out}' is in the data" in told
    assert not list((tmp_path / "data").iterdir())


def test_a_run_over_its_data_is_refused(noise: Path) -> None:
    assert "is in the data" in orthogan("train", "small-32", "--data", noise, "--out", noise).error
    assert "is a file" in orthogan("train", "digits", "--out", noise).error


def test_a_run_where_nothing_can_be_written_is_refused_before_its_data_is_read(tmp_path: Path, noise: Path) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "run"
    for dry in ([], ["--dry-run"]):
        told = orthogan("train", "small-32", *dry, "--data", noise, "--out", out).error
        assert told.startswith(f"out='{out}': ")
        assert "cannot be written: Not a directory; choose another place" in told


def test_scores_without_their_packages_are_refused_before_the_data_is_read(tmp_path: Path, noise: Path) -> None:
    # The weights of this network come from a folder, which is empty here.
    words = ["--cadence.score-images", "16", "--cadence.score-features", "inception", "--out", tmp_path / "run"]
    told = orthogan("train", "small-32", "--data", noise, *words, env={"TORCH_HOME": str(tmp_path)}).error
    assert "pt_inception" in told or "orthogan[scores]" in told
    assert "--cadence.score-images 0" in told
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "cache").exists()


# -- resume -------------------------------------------------------------------------------------------------------


def test_resume_offers_what_may_change_and_refuses_the_rest_by_name(run: Path) -> None:
    told = orthogan("resume", run, "--help").out
    assert all(word in told for word in ("--images", "--cadence.keep-last", "--data.source", "--device"))
    assert not any(word in told for word in ("--batch", "--generator.", "--optimizer"))
    assert "batch: 8 -> 4" in orthogan("resume", run, "--batch", "4").error


def test_a_length_that_the_run_has_passed_is_refused(run: Path) -> None:
    assert "images=16: the run already stands at 32 images" in orthogan("resume", run, "--images", "16").error
    assert orthogan("resume", run).status == 0


def test_data_given_by_a_relative_path_is_found_from_elsewhere(tmp_path: Path, noise: Path) -> None:
    words = ["--data", "noise.npy", "--out", "run", "--images", "16", *TINY]
    assert orthogan("train", "small-32", *words, cwd=tmp_path).status == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = orthogan("resume", "../run", "--images", "32", cwd=elsewhere)
    assert done.status == 0, done.err


def test_data_that_moved_is_given_anew_and_its_fingerprint_decides(run: Path, noise: Path, tmp_path: Path) -> None:
    moved = noise.rename(tmp_path / "moved.npy")
    told = orthogan("resume", run, "--images", "64").error
    assert "--data NEW/PLACE" in told
    assert shlex.quote(str(run)) in told

    other = tmp_path / "other.npy"
    np.save(other, 255 - np.load(moved))
    assert "has changed since" in orthogan("resume", run, "--images", "64", "--data", other).error

    done = orthogan("resume", run, "--images", "64", "--data", "moved.npy", cwd=tmp_path)
    assert done.status == 0, done.err
    assert settings(run)["data"]["source"] == str(moved)  # type: ignore[index]
    with safe_open(checkpoint.numbered(run / "checkpoints")[0], "pt"):
        assert orthogan("resume", run, "--images", "72").status == 0


# -- told ---------------------------------------------------------------------------------------------------------


def test_the_commands_at_the_end_can_be_pasted(run: Path, tmp_path: Path) -> None:
    done = orthogan("resume", run, "--images", "40", env={"COLUMNS": "40"})
    words = [shlex.split(line) for line in done.out.splitlines() if line.startswith("  ")]
    assert ["orthogan", "sample", str(run), "-n", "64", "--out", str(run / "samples-40")] in words
    assert ["orthogan", "evaluate", str(run)] in words
    assert ["orthogan", "report", str(run)] in words
    assert ["tensorboard", "--logdir", str(run / "curves")] in words


def test_the_first_interrupt_says_what_is_happening_and_how_to_go_on(tmp_path: Path, noise: Path) -> None:
    folder = tmp_path / "my run"
    words = ["--data", noise, "--images", "900000", "--cadence.first-images", "8", "--out", folder, *TINY]
    running = Running("train", "small-32", *words)
    deadline = time.monotonic() + 60
    while not (running.out.exists() and "checkpoint " in running.out.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(running.process.pid or 0, signal.SIGINT)
    done = running.wait()
    assert done.status == 130
    assert "finishing this step, then saving; Ctrl-C again leaves at once" in done.err
    assert shlex.split(done.out.splitlines()[-1]) == ["orthogan", "resume", str(folder)]
