"""Two processes (gloo, CPU) compute what one does on the same global batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from orthogan.training import checkpoint

DRIVE = Path(__file__).with_name("drive.py")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def train(folder: Path, data: Path, processes: int, *words: str) -> dict[str, torch.Tensor]:
    """The variables that torchrun would set, without its slow start."""
    shared = {
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "TORCHELASTIC_RUN_ID": "test",
        "OMP_NUM_THREADS": "1",
    }
    running = []
    for rank in range(processes):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"} | shared
        env = {**os.environ, **own} if processes > 1 else dict(os.environ)
        command = [sys.executable, str(DRIVE), str(folder), str(data), *words]
        running.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    for process in running:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err[-2000:]
        assert out.endswith("finished\n")
    return load_file(checkpoint.numbered(folder / "checkpoints")[0])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_get_the_result_of_one(tmp_path: Path, arrays: Path, accumulate: int) -> None:
    words = ["--images", "48", "--accumulate", str(accumulate)]
    two = train(tmp_path / "two", arrays, 2, *words)
    one = train(tmp_path / "one", arrays, 1, *words)
    assert one.keys() == two.keys()
    weights = [name for name in one if name.startswith(("generator.", "discriminator.", "ema."))]
    for name in weights:
        torch.testing.assert_close(two[name], one[name], atol=1e-5, rtol=0, msg=lambda text, n=name: f"{n}: {text}")
