"""Two processes (gloo, CPU) compute what one does on the same global batch."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from process import Running, orthogan
from safetensors.torch import load_file

from orthogan.training import checkpoint

DRIVE = Path(__file__).with_name("drive.py")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def train(folder: Path, data: Path, launcher: list[str], *words: str) -> dict[str, torch.Tensor]:
    command = [sys.executable, *launcher, str(DRIVE), str(folder), str(data), "--images", "48", *words]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("finished") == (2 if launcher else 1)  # two processes share one output
    return load_file(checkpoint.numbered(folder / "checkpoints")[0])


@pytest.mark.parametrize(
    "words",
    [
        ["--accumulate", "1"],
        # Real images, a third as many as the fakes that they are paired with, in the same process as those.
        ["--accumulate", "2", "--g-batches", "3", "--loss", "relativistic"],
        [
            "--stabilizer",
            "batch-norm",
            "--images",
            "32",
        ],  # D runs twice before a backward; its norms see both processes
        ["--pair", "fastgan", "projected"],  # noise inside G, batch norms in both
        ["--stabilizer", "wgan-gp"],  # a penalty that is differentiated twice
        ["--ada", "--accumulate", "2"],  # strength by the images and signs of all processes
    ],
    ids=" ".join,
)
def test_two_processes_get_the_result_of_one(tmp_path: Path, arrays: Path, words: list[str]) -> None:
    two = train(tmp_path / "two", arrays, TORCHRUN, *words)
    one = train(tmp_path / "one", arrays, [], *words)
    assert one.keys() == two.keys()
    assert ("augment.p" in one) == ("--ada" in words)
    compared = [name for name in one if name.startswith(("generator.", "discriminator.", "ema.", "augment."))]
    for name in compared:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=0, msg=lambda text, n=name: f"{n}: {text}")


def test_two_processes_begin_from_the_networks_of_another_run(tmp_path: Path, arrays: Path) -> None:
    train(tmp_path / "parent", arrays, [], "--images", "16")
    other = tmp_path / "other.npz"
    images = np.random.default_rng(1).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    np.savez(other, images=images, labels=np.arange(40) % 5)
    one, two = (
        train(tmp_path / name, other, launcher, "--images", "32", "--init", str(tmp_path / "parent"))
        for name, launcher in (("one", []), ("two", TORCHRUN))
    )
    for name in (name for name in one if name.startswith(("generator.", "discriminator.", "ema."))):
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=0, msg=lambda text, n=name: f"{n}: {text}")


def test_sheets_and_scores_of_the_first_process_hold_up_no_other(tmp_path: Path, arrays: Path) -> None:
    train(tmp_path / "run", arrays, TORCHRUN, "--scores")
    assert len(list((tmp_path / "run" / "sheets").glob("*.png"))) == 3
    assert len((tmp_path / "run" / "scores.jsonl").read_text().splitlines()) == 3
    best = checkpoint.read_header(tmp_path / "run" / "checkpoints" / "best.safetensors")
    assert (best.images, best.extra["best"]) == (48, 7)


def test_where_one_process_is_killed_the_others_say_so_in_one_line(tmp_path: Path, arrays: Path) -> None:
    """And name the line that resumes; whoever is first to be told by the launcher may also save and leave."""
    run = tmp_path / "run"
    words = ["train", "digits", "--data", str(arrays), "--out", str(run), "--images", "100000000", "--device", "cpu"]
    small = ["--width", "4", "--batch", "8", "--precision", "float32", "--cadence.checkpoint-images", "8"]
    logs = ["--log-dir", str(tmp_path / "logs"), "--redirects", "3"]
    command = [sys.executable, *TORCHRUN, *logs, "-m", "orthogan", *words, *small]
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL) as launcher:
        try:
            wait_for(lambda: checkpoint.numbered(run / "checkpoints"))
            second = next(pid for pid in children(launcher.pid) if environment(pid)["RANK"] == "1")
            os.kill(second, signal.SIGKILL)
            launcher.wait(timeout=120)
        finally:
            launcher.kill()
    (told,) = [path.read_text() for path in (tmp_path / "logs").rglob("0/stderr.log")]
    assert "Traceback" not in told
    (line,) = [line for line in told.splitlines() if line.startswith("error: ")]
    assert "another process of this run has ended" in line
    assert f"orthogan resume {run}" in line


def two_processes(folder: Path, data: Path, *words: str) -> list[tuple[int, list[str]]]:
    """Exit status and lines of each, which no launcher ends before it has ended by itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    running = [
        Running(DRIVE, folder, data, *words, env={**shared, "RANK": rank, "LOCAL_RANK": rank}) for rank in ("0", "1")
    ]
    return [(done.status, done.out.splitlines()) for done in [process.wait() for process in running]]


@pytest.mark.parametrize(
    ("name", "words"), [("images-000000000032", ["--scores"]), ("log.jsonl", []), ("alarms.jsonl", ["--collapse"])]
)
def test_where_the_first_process_cannot_write_all_end(
    tmp_path: Path, arrays: Path, name: str, words: list[str]
) -> None:
    (status, first), (other_status, other) = two_processes(tmp_path / "run", arrays, "--no-room", name, *words)
    assert (status, other_status) == (4, 4)
    assert first[-1].startswith("refused: ")
    assert first[-1].endswith("cannot be written: No space left on device")
    assert other[-1] == f"refused: stopped, because another process of this run did: {first[-1].partition(' ')[2]}"


def test_where_the_first_process_cannot_open_its_log_all_end_for_the_same_reason(tmp_path: Path, arrays: Path) -> None:
    (tmp_path / "run" / "log.jsonl").mkdir(parents=True)
    (status, first), (other_status, other) = two_processes(tmp_path / "run", arrays, "--scores")
    assert (status, other_status) == (4, 4)
    told = f"{tmp_path / 'run' / 'log.jsonl'} cannot be written: Is a directory"
    assert first[-1] == f"refused: {told}"
    assert other[-1] == f"refused: stopped, because another process of this run did: {told}"


def test_two_processes_see_a_collapse_as_one_does_and_return_alike(tmp_path: Path, arrays: Path) -> None:
    words = ["--collapse", "--images", "192"]
    (_, first), (_, other) = two_processes(tmp_path / "two", arrays, *words)
    assert first[-1] == other[-1] == "finished"
    known = json.loads(first[-2])
    assert known == json.loads(other[-2])
    assert (known["attempt"], known["images"], len(known["watch"]["alarms"])) == (1, 192, 1)
    assert [(record["from"], record["to"]) for record in known["rollbacks"]] == [(128, 64)]
    assert orthogan(DRIVE, tmp_path / "one", arrays, *words).status == 0
    one, two = (
        [json.loads(line) for line in (tmp_path / name / "watch.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert len(one) == len(two) == 16
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=1e-2, abs=1e-3)
        assert "label_fit" in a


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def environment(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def test_what_the_first_process_refuses_all_refuse(tmp_path: Path) -> None:
    """Nobody waits for a process that has left."""
    words = ["train", "digits", "--data", str(tmp_path / "nothing.zip"), "--out", str(tmp_path / "run")]
    command = [sys.executable, *TORCHRUN, "-m", "orthogan", *words, "--device", "cpu"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    # The launcher may end the other process before it has said so too.
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors
    assert all("nothing.zip': no such file" in line for line in errors)
    assert not (tmp_path / "run").exists()
