"""What becomes of a run when disks, memory, numbers or other processes fail: one line, and the good files stay."""

import dataclasses
import json
import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from process import Running, orthogan
from tiny import tiny_run

from orthogan import cli, runs
from orthogan.config import CadenceConfig
from orthogan.errors import UserError
from orthogan.files import CannotWrite
from orthogan.model import load
from orthogan.page import read as page
from orthogan.settings import override
from orthogan.training import checkpoint, duties, logs, saving
from orthogan.training.checkpoint import BadCheckpoint
from orthogan.training.logs import read_config
from orthogan.training.player import NonFiniteError
from orthogan.training.trainer import Observer, Trainer

CPU = torch.device("cpu")
TINY = ["--width", "4", "--batch", "8", "--precision", "float32", "--device", "cpu"]


def begin(folder: Path, source: Path, **changes: Any) -> Trainer:
    return runs.start(tiny_run(source, **changes), "digits", folder, Observer(), CPU, lambda done, total: None)


def go_on(folder: Path, observer: Observer | None = None, **changes: Any) -> Trainer:
    config = override(read_config(folder), changes)
    return runs.resume(folder, config, observer or Observer(), CPU, lambda done, total: None)


def train(out: Path, data: Path, *words: str, **how: Any) -> Running:
    return Running("train", "digits", "--data", data, "--out", out, *TINY, *words, **how)


def wait_for(running: Running, what: Path) -> None:
    for _ in range(1200):
        if what.exists():
            return
        if running.process.exitcode is not None:
            raise AssertionError(running.wait())
        time.sleep(0.05)
    raise TimeoutError(f"no {what}")


# -- one writer --------------------------------------------------------------------------------------------------------


def test_a_run_that_is_being_trained_is_neither_begun_again_nor_resumed(tmp_path: Path, arrays: Path) -> None:
    run = tmp_path / "run"
    first = train(run, arrays, "--images", "100000000")
    wait_for(first, run / "config.json")
    before = (run / "config.json").read_bytes()
    assert "another process trains" in orthogan("resume", run, "--device", "cpu").error
    (run / "config.json").rename(tmp_path / "away")  # as when the first one is still packing its images
    assert "another process trains" in train(run, arrays, "--images", "16").wait().error
    (tmp_path / "away").rename(run / "config.json")
    assert first.process.pid is not None
    os.kill(first.process.pid, signal.SIGTERM)
    assert first.wait().status == 128 + signal.SIGTERM
    assert (run / "config.json").read_bytes() == before
    assert "already holds a run" in train(run, arrays, "--images", "16").wait().error
    assert go_on(run).images > 0


def test_a_refused_start_leaves_no_folder_and_gives_the_lock_back(tmp_path: Path, arrays: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(UserError, match="no such file"):
        begin(run, tmp_path / "nothing.npz")
    assert not run.exists()
    assert begin(run, arrays, images=16).run()
    assert go_on(run, images=32).run(), "the lock was given back at the end of the run"


def test_a_second_ctrl_c_stops_at_once_and_is_told_as_a_stop(tmp_path: Path, arrays: Path) -> None:
    class Impatient(Observer):
        def stepped(self, images: int, stats: dict[str, float]) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    trainer = runs.start(tiny_run(arrays), "digits", tmp_path / "run", Impatient(), CPU, lambda done, total: None)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "stopped"
    assert trainer.saved_images is None


# -- the best checkpoint -----------------------------------------------------------------------------------------------


class Scores:
    """Distances 5, 2, 3, 4, ..."""

    def __init__(self, *args: object, **named: object) -> None:
        self.distances = iter([5.0, 2.0, 3.0, 4.0, 6.0])

    def score(self, images: Iterable[torch.Tensor], seed: int, **stamp: object) -> dict[str, Any]:
        return {"scores": {"frechet_distance": next(self.distances)}, "protocol": stamp}


@pytest.mark.parametrize("keep_last", [1, 3])
def test_a_kill_before_the_best_got_its_name_is_made_up_for(
    tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch, keep_last: int
) -> None:
    cadence = CadenceConfig(
        log_images=16, sheet_images=0, checkpoint_images=16, keep_last=keep_last, score_images=16, score_samples=10
    )
    named = checkpoint.keep_as_best

    def killed_at_32(path: Path) -> None:
        if checkpoint.images_of(path) == 32:
            raise KeyboardInterrupt
        named(path)

    monkeypatch.setattr(duties, "Scorer", Scores)
    monkeypatch.setattr(checkpoint, "keep_as_best", killed_at_32)
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        begin(run, arrays, cadence=cadence, images=64).run()
    monkeypatch.setattr(checkpoint, "keep_as_best", named)
    best = run / "checkpoints" / checkpoint.BEST
    assert checkpoint.read_header(best).images == 16
    resumed = go_on(run)
    assert resumed.duties["score"].facts() == {"best": 2.0, "best_images": 32}
    assert checkpoint.read_header(best).images == 32


# -- a full disk -------------------------------------------------------------------------------------------------------


def test_a_disk_that_cannot_take_the_checkpoint_ends_the_run_in_one_line(tmp_path: Path, arrays: Path) -> None:
    run = tmp_path / "run"
    assert train(run, arrays, "--images", "16").wait().status == 0
    (good,) = (run / "checkpoints").glob("*.safetensors")
    limits = {resource.RLIMIT_FSIZE: good.stat().st_size // 2}
    error = orthogan("resume", run, "--images", "64", "--device", "cpu", limits=limits).error
    assert "\n" not in error
    assert re.search(r"images-0000000000\d\d\.safetensors cannot be written", error)
    assert "File too large" in error
    assert f"The last good checkpoint is {good}" in error
    assert f"orthogan resume {run}" in error
    assert [path.name for path in (run / "checkpoints").iterdir()] == [good.name]
    assert orthogan("resume", run, "--device", "cpu").status == 0


NO_SPACE = OSError(28, "No space left on device")
WRITERS = {
    "log": (logs, "_cut"),
    "curves": (logs.SummaryWriter, "add_scalar"),
    "curves at the end": (logs.SummaryWriter, "close"),
    "sheet": (duties, "class_sheet"),
    "checkpoint": (checkpoint.tensorfile, "save_file"),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_file_of_a_run_that_cannot_be_written_is_one_line(
    tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], writer: str
) -> None:
    """The error has no file name, as those of a failing write have none."""
    run = tmp_path / "run"
    assert cli.main(["train", "digits", "--data", str(arrays), "--out", str(run), "--images", "16", *TINY]) == 0

    def refuse(*args: object, **named: object) -> None:
        raise NO_SPACE

    class Unwritable:
        save = staticmethod(refuse)

    if writer == "log":
        (run / "log.jsonl").unlink(missing_ok=True)
        (run / "log.jsonl").symlink_to("/dev/full")
    owner, name = WRITERS[writer]
    replacement = {"sheet": lambda *args, **named: Unwritable(), "log": lambda *args: None}.get(writer, refuse)
    monkeypatch.setattr(owner, name, replacement)
    capsys.readouterr()
    words = ["--cadence.log-images", "8", "--cadence.sheet-images", "8"]
    assert cli.main(["resume", str(run), "--images", "48", "--device", "cpu", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert str(run) in error
    assert "No space left on device" in error
    assert "orthogan resume" in error


def test_a_log_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "scores.jsonl").mkdir()
    with pytest.raises(CannotWrite, match=r"scores\.jsonl cannot be written: Is a directory"):
        logs.RunLog(tmp_path, 0)


def test_too_little_memory_for_a_step_is_one_line_that_says_what_to_lower(tmp_path: Path, arrays: Path) -> None:
    run = tmp_path / "run"
    limits = {resource.RLIMIT_AS: 600 * 2**20}
    words = (
        "train",
        "digits",
        "--data",
        arrays,
        "--out",
        run,
        "--images",
        "4000",
        "--batch",
        "2000",
        "--device",
        "cpu",
    )
    error = orthogan(*words, limits=limits).error
    assert "\n" not in error
    assert "not enough memory" in error
    assert "--accumulate 2" in error


# -- numbers that are none ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["inf", "nan", "-inf"])
def test_a_setting_that_is_no_number_is_refused(tmp_path: Path, arrays: Path, value: str) -> None:
    done = train(tmp_path / "run", arrays, f"--optimizer.g-lr={value}").wait()
    assert (done.status, "optimizer.g_lr" in done.out + done.err) == (2, True)
    assert "Traceback" not in done.err
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_is_not_finite_is_never_written(tmp_path: Path, arrays: Path) -> None:
    run = tmp_path / "run"
    assert begin(run, arrays, images=16).run()
    (good,) = (run / "checkpoints").glob("*.safetensors")
    resumed = go_on(run, images=32)
    with torch.no_grad():
        next(resumed.ema.module.parameters()).fill_(torch.inf)
    with pytest.raises(NonFiniteError, match="is not finite"):
        saving.save(resumed)
    assert list((run / "checkpoints").iterdir()) == [good]


def test_a_divergence_names_the_good_checkpoint_and_does_not_advise_to_repeat_it(tmp_path: Path, arrays: Path) -> None:
    run = tmp_path / "run"
    words = ["--optimizer.d-lr", "1e38", "--images", "100000", "--cadence.checkpoint-images", "8"]
    error = train(run, arrays, *words).wait().error
    assert "diverged" in error
    assert "No checkpoint had been written yet" in error
    assert "orthogan resume" not in error
    assert "--optimizer.d-lr 5e+37" in error
    assert not (run / "checkpoints").exists()


# -- damaged files of a run --------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, arrays: Path) -> Path:
    folder = tmp_path / "run"
    assert begin(folder, arrays, images=32).run()
    return folder


DAMAGE = {
    "torn": '{"family": "biggan", "run": {"net',
    "empty": "",
    "of another kind": '{"family": "biggan"}',
    "of a wrong type": '{"family": "biggan", "run": 3, "preset": "digits"}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_config_is_taken_from_the_newest_checkpoint_and_written_again(run: Path, damage: str) -> None:
    before = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(DAMAGE[damage])
    assert orthogan("resume", run, "--images", "48", "--device", "cpu").status == 0
    after = json.loads((run / "config.json").read_text())
    assert (after["preset"], after["run"]["images"]) == ("digits", 48)
    assert after["run"] == {**before["run"], "images": 48}


@pytest.mark.parametrize("parent", [3, "x", {"images": "many"}], ids=str)
def test_a_config_with_a_parent_of_a_wrong_type_is_damaged_too(run: Path, parent: object) -> None:
    whole = (run / "config.json").read_text()
    (run / "config.json").write_text(json.dumps(json.loads(whole) | {"parent": parent}))
    resumed = go_on(run, images=48)
    assert resumed.run()
    assert resumed.parent is None
    assert "parent" not in json.loads((run / "config.json").read_text())


def test_a_damaged_config_is_made_up_for_by_one_reading_of_a_checkpoint_for_the_page(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = page.read(run)
    (run / "config.json").unlink()
    read: list[Path] = []
    load_whole = checkpoint.load
    monkeypatch.setattr(checkpoint, "load", lambda path: read.append(path) or load_whole(path))
    after = page.read(run)
    assert (after.config, after.preset, after.parent) == (before.config, "digits", None)
    assert len(read) == 1


def test_a_missing_config_is_too(run: Path) -> None:
    (run / "config.json").unlink()
    assert orthogan("resume", run, "--device", "cpu").status == 0
    assert (run / "config.json").exists()


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_config_without_any_checkpoint_is_one_line(run: Path, damage: str) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "config.json").write_text(DAMAGE[damage])
    error = orthogan("resume", run, "--device", "cpu").error
    assert "config.json cannot be read" in error
    assert "\n" not in error


def test_a_damaged_line_of_the_log_does_not_block(run: Path) -> None:
    log = run / "log.jsonl"
    whole = log.read_text()
    log.write_bytes(b'{"images": 8, "d_\xff\x00}\n{"images": "x"}\n[3]\n' + whole.encode() + b'{"images": 16, "ste')
    assert go_on(run, images=64).run()
    assert log.read_text().startswith(whole)
    assert all(json.loads(line)["images"] for line in log.read_text().splitlines())


def test_a_file_that_no_training_wrote_is_not_resumed(run: Path) -> None:
    """As one that was imported, and given the name of a run's checkpoint."""
    path = checkpoint.numbered(run / "checkpoints")[0]
    found = checkpoint.load(path)
    facts = {"preset": "", "class_names": [], "imported": {}}
    checkpoint.save(path, found.tensors, dataclasses.replace(found.header, extra=facts))
    error = orthogan("resume", run, "--device", "cpu", "--images", "48").error
    assert (
        error
        == f"{path} is of no training, so none can go on from it; begin one with `orthogan train` and --init {path}"
    )


def test_a_checkpoint_without_its_optimisers_is_not_resumed(run: Path) -> None:
    path = checkpoint.numbered(run / "checkpoints")[0]
    found = checkpoint.load(path)
    for kept in (("g_optimizer",), ("d_optimizer",), ("d_optimizer.3.",), ("d_optimizer.3.exp_avg_sq",)):
        tensors = {name: tensor for name, tensor in found.tensors.items() if not name.startswith(kept)}
        checkpoint.save(path, tensors, found.header)
        with pytest.raises(BadCheckpoint, match=f"{path.name} lacks {kept[0][:11]}"):
            go_on(run)
    assert load(path, device="cpu").sample(1).shape == (1, 16, 16, 3)


@pytest.mark.parametrize("damage", ["bit", "shape", "nan"])
def test_damaged_standing_statistics_are_collected_again(run: Path, damage: str) -> None:
    before = load(run, device="cpu").sample(3)
    (kept,) = (run / "checkpoints" / "standing").glob("*.safetensors")
    tensors = dict(checkpoint.tensorfile.read(kept).tensors)
    if damage == "bit":
        content = bytearray(kept.read_bytes())
        content[-2] ^= 64
        kept.write_bytes(content)
    else:
        tensors["0.mean"] = tensors["0.mean"][:-1] if damage == "shape" else tensors["0.mean"] * torch.nan
        checkpoint.tensorfile.write(kept, tensors, {})
    assert (load(run, device="cpu").sample(3) == before).all()


def test_what_killed_writes_leave_is_cleared(run: Path) -> None:
    for folder in (run, run / "checkpoints"):
        (folder / ".writing-0123456789ab").mkdir()
        (folder / ".writing-0123456789ab" / ".tmpAbCdEf").write_bytes(b"half a checkpoint")
    go_on(run)
    assert not [path for path in run.rglob("*") if "writing" in str(path)]


def test_a_resumed_run_reads_its_checkpoint_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    load_whole = checkpoint.load
    monkeypatch.setattr(checkpoint, "load", lambda path: read.append(path) or load_whole(path))
    go_on(run)
    assert [path.name for path in read] == [checkpoint.file_name(32)]
