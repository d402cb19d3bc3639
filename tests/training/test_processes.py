"""Two processes (gloo, CPU) compute what one does on the same global batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
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
        ["--accumulate", "2"],
        [
            "--stabilizer",
            "batch-norm",
            "--images",
            "32",
        ],  # D runs twice before a backward; its norms see both processes
        ["--stabilizer", "wgan-gp"],  # a penalty that is differentiated twice
    ],
    ids=" ".join,
)
def test_two_processes_get_the_result_of_one(tmp_path: Path, arrays: Path, words: list[str]) -> None:
    two = train(tmp_path / "two", arrays, TORCHRUN, *words)
    one = train(tmp_path / "one", arrays, [], *words)
    assert one.keys() == two.keys()
    weights = [name for name in one if name.startswith(("generator.", "discriminator.", "ema."))]
    for name in weights:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=0, msg=lambda text, n=name: f"{n}: {text}")


def test_sheets_and_scores_of_the_first_process_hold_up_no_other(tmp_path: Path, arrays: Path) -> None:
    train(tmp_path / "run", arrays, TORCHRUN, "--scores")
    assert len(list((tmp_path / "run" / "sheets").glob("*.png"))) == 3
    assert len((tmp_path / "run" / "scores.jsonl").read_text().splitlines()) == 3
    best = checkpoint.read_header(tmp_path / "run" / "checkpoints" / "best.safetensors")
    assert (best.images, best.extra["best"]) == (48, 7)
