from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import tiny_run

from orthogan.errors import UserError
from orthogan.training import checkpoint
from orthogan.training.checkpoint import BadCheckpoint, Header


def write(path: Path, images: int = 0) -> Path:
    tensors = {"ema.a": torch.arange(6.0).view(2, 3), "ema.b": torch.tensor(1.5), "generator.a": torch.ones(2)}
    checkpoint.save(path, tensors, Header(tiny_run(), images, 1, {"class_names": ["cat", "dog"]}))
    return path


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    found = checkpoint.load(write(tmp_path / "x.safetensors", 7))
    header, tensors = found.header, found.part("ema")
    assert (header.images, header.steps, header.extra) == (7, 1, {"class_names": ["cat", "dog"]})
    assert header.config == tiny_run()
    assert torch.equal(tensors["a"], torch.arange(6.0).view(2, 3))
    assert tensors.keys() == {"a", "b"}


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_cut_file_is_recognised(tmp_path: Path, kept: float) -> None:
    path = write(tmp_path / "x.safetensors")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(BadCheckpoint, match="torn"):
        checkpoint.load(path)


def test_a_flipped_bit_is_recognised(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors")
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadCheckpoint, match="checksum"):
        checkpoint.load(path)


def test_foreign_files_are_named(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(BadCheckpoint, match="not a checkpoint of orthogan"):
        checkpoint.load(tmp_path / "foreign.safetensors")
    (tmp_path / "pickle.safetensors").write_bytes(b"\x80\x04 not safetensors")
    with pytest.raises(BadCheckpoint, match=r"pickle\.safetensors"):
        checkpoint.load(tmp_path / "pickle.safetensors")


def test_the_newest_whole_one_is_found_by_number_not_by_name(tmp_path: Path) -> None:
    for images in (5, 30, 1200):
        write(tmp_path / checkpoint.file_name(images), images)
    torn = tmp_path / checkpoint.file_name(99_999)
    torn.write_bytes(b"")
    found, complaints = checkpoint.newest(tmp_path)
    assert checkpoint.images_of(found.path) == found.header.images == 1200
    assert len(complaints) == 1
    assert torn.name in complaints[0]


def test_without_any_whole_file_all_complaints_are_told(tmp_path: Path) -> None:
    (tmp_path / checkpoint.file_name(1)).write_bytes(b"x")
    with pytest.raises(UserError, match="images-000000000001"):
        checkpoint.newest(tmp_path)


def test_pruning_keeps_the_last_and_the_best(tmp_path: Path) -> None:
    for images in (1, 2, 3, 4):
        write(tmp_path / checkpoint.file_name(images), images)
        if images == 2:
            checkpoint.keep_as_best(tmp_path / checkpoint.file_name(images))
    checkpoint.prune(tmp_path, keep=2)
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == ["best.safetensors", checkpoint.file_name(3), checkpoint.file_name(4)]
    assert checkpoint.read_header(tmp_path / "best.safetensors").images == 2
