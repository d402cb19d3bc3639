"""Exact resume: real processes, really killed."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_run

from orthogan import runs
from orthogan.config import OptimizerConfig
from orthogan.errors import UserError
from orthogan.settings import override
from orthogan.training import checkpoint
from orthogan.training.logs import read_config
from orthogan.training.trainer import Observer

DRIVE = Path(__file__).with_name("drive.py")
CPU = torch.device("cpu")


def drive(folder: Path, data: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(DRIVE), str(folder), str(data), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def finish(process: subprocess.Popen[str]) -> str:
    out, _ = process.communicate(timeout=120)
    return out


def kill_after_steps(process: subprocess.Popen[str], steps: int, number: signal.Signals) -> None:
    assert process.stdout is not None
    for _ in range(steps):
        assert process.stdout.readline().startswith("images")
    process.send_signal(number)


def same_run(a: Path, b: Path) -> None:
    """Final checkpoints and log lines, bit for bit."""
    names = [checkpoint.numbered(run / "checkpoints")[0] for run in (a, b)]
    assert names[0].name == names[1].name
    one, other = map(load_file, names)
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different
    assert checkpoint.read_header(names[0]).extra == checkpoint.read_header(names[1]).extra
    assert (a / "log.jsonl").read_bytes() == (b / "log.jsonl").read_bytes()


@pytest.fixture
def straight(tmp_path: Path, arrays: Path) -> Path:
    """The run that is never stopped."""
    folder = tmp_path / "straight"
    assert finish(drive(folder, arrays)).endswith("finished\n")
    return folder


def test_a_run_killed_at_random_moments_ends_bit_identical(straight: Path, tmp_path: Path, arrays: Path) -> None:
    folder = tmp_path / "killed"
    moments = random.Random(3)
    for _ in range(2):
        process = drive(folder, arrays)
        kill_after_steps(process, moments.randrange(2, 5), signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL
    assert finish(drive(folder, arrays)).endswith("finished\n")
    same_run(straight, folder)


def test_a_run_killed_while_it_writes_a_checkpoint_ends_bit_identical(
    straight: Path, tmp_path: Path, arrays: Path
) -> None:
    folder = tmp_path / "torn"
    process = drive(folder, arrays, "--die-in-write", "2")
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert list((folder / "checkpoints").glob(".writing-*/*")), "it was to die with a half file on disk"
    assert finish(drive(folder, arrays)).endswith("finished\n")
    assert all(path.suffix == ".safetensors" for path in (folder / "checkpoints").iterdir())
    same_run(straight, folder)


def test_sigterm_finishes_the_step_saves_and_the_run_goes_on_exactly(
    straight: Path, tmp_path: Path, arrays: Path
) -> None:
    folder = tmp_path / "stopped"
    process = drive(folder, arrays)
    kill_after_steps(process, 2, signal.SIGTERM)
    assert finish(process).endswith("stopped\n")
    images = checkpoint.read_header(checkpoint.numbered(folder / "checkpoints")[0]).images
    assert images % 16 == 0
    assert images < 160
    assert finish(drive(folder, arrays)).endswith("finished\n")
    same_run(straight, folder)


def in_process(folder: Path, source: Path, **changes: object) -> Path:
    runs.start(tiny_run(source, **changes), "digits", folder, Observer(), CPU, lambda done, total: None).run()
    return folder


def test_a_changed_setting_is_refused_with_all_differences(tmp_path: Path, arrays: Path) -> None:
    folder = in_process(tmp_path / "run", arrays, images=32)
    config = override(tiny_run(arrays), {"optimizer.g_lr": 0.5, "batch": 4, "images": 64, "cadence.log_images": 8})
    with pytest.raises(UserError, match="must keep its configuration") as error:
        runs.resume(folder, config, Observer(), CPU, lambda done, total: None)
    assert "optimizer.g_lr: 0.001 -> 0.5" in str(error.value)
    assert "batch: 8 -> 4" in str(error.value)
    assert "cadence.log_images:" not in str(error.value)


def test_length_and_cadence_may_change(tmp_path: Path, arrays: Path) -> None:
    folder = in_process(tmp_path / "run", arrays, images=32)
    config = override(tiny_run(arrays), {"images": 64, "cadence.checkpoint_images": 16})
    trainer = runs.resume(folder, config, Observer(), CPU, lambda done, total: None)
    assert trainer.images == 32
    assert read_config(folder) == config, "the next resume must know the new length"
    assert trainer.run()
    assert checkpoint.images_of(checkpoint.numbered(folder / "checkpoints")[0]) == 64


def test_length_may_not_change_where_the_learning_rate_depends_on_it(tmp_path: Path, arrays: Path) -> None:
    falling = OptimizerConfig(g_lr=1e-3, d_lr=1e-3, decay_from_images=0)
    folder = in_process(tmp_path / "run", arrays, images=32, optimizer=falling)
    config = override(tiny_run(arrays, optimizer=falling), {"images": 64})
    with pytest.raises(UserError, match="images: 32 -> 64"):
        runs.resume(folder, config, Observer(), CPU, lambda done, total: None)


def test_changed_data_is_refused(tmp_path: Path, arrays: Path) -> None:
    import numpy as np

    folder = in_process(tmp_path / "run", arrays, images=32)
    old = dict(np.load(arrays))
    np.savez(arrays, images=255 - old["images"], labels=old["labels"])
    with pytest.raises(UserError, match="has changed since"):
        runs.resume(folder, tiny_run(arrays), Observer(), CPU, lambda done, total: None)


def test_a_torn_newest_checkpoint_is_named_and_the_one_before_is_taken(tmp_path: Path, arrays: Path) -> None:
    folder = in_process(tmp_path / "run", arrays, images=96)
    newest, before = checkpoint.numbered(folder / "checkpoints")[:2]
    newest.write_bytes(newest.read_bytes()[:-100])
    told: list[str] = []

    class Listener(Observer):
        def told(self, text: str) -> None:
            told.append(text)

    config = override(tiny_run(arrays), {"images": 96})
    trainer = runs.resume(folder, config, Listener(), CPU, lambda done, total: None)
    assert trainer.images == checkpoint.images_of(before)
    assert any(newest.name in text and "torn" in text for text in told)


def test_training_does_not_overwrite_a_run(tmp_path: Path, arrays: Path) -> None:
    folder = in_process(tmp_path / "run", arrays, images=16)
    with pytest.raises(UserError, match="orthogan resume"):
        in_process(folder, arrays, images=16)
