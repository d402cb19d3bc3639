"""A run that was written as checkpoint format 1 loads, samples and goes on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import orthogan
from orthogan import runs
from orthogan.settings import override
from orthogan.training import checkpoint
from orthogan.training.checkpoint import BadCheckpoint
from orthogan.training.logs import read_config
from orthogan.training.trainer import Observer

STORED = Path(__file__).with_name("format1")


@pytest.fixture
def old(tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stored run beside its data, which its configuration names by a relative path."""
    monkeypatch.chdir(arrays.parent)
    return Path(shutil.copytree(STORED, tmp_path / "old"))


def test_it_is_of_format_1(old: Path) -> None:
    with safe_open(checkpoint.numbered(old / "checkpoints")[0], "pt") as file:
        assert json.loads(file.metadata()["orthogan"])["format"] == "orthogan-checkpoint-1"


def test_it_samples_what_it_sampled(old: Path) -> None:
    images = orthogan.load(old, device="cpu", precision="float32").sample(4, seed=0)
    stored = np.load(old / "samples.npz")["images"]
    assert np.abs(images.astype(int) - stored).max() <= 1


def test_it_goes_on(old: Path) -> None:
    config = override(read_config(old), {"images": 48})
    trainer = runs.resume(old, config, Observer(), torch.device("cpu"), lambda done, total: None)
    assert trainer.images == 32
    assert trainer.run()
    header = checkpoint.read_header(checkpoint.numbered(old / "checkpoints")[0])
    assert (header.images, header.extra["preset"]) == (48, "digits")


def test_its_tensors_are_verified(old: Path) -> None:
    path = checkpoint.numbered(old / "checkpoints")[0]
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadCheckpoint, match="checksum"):
        checkpoint.load(path)
