import os
import random
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tiny import tiny_networks, tiny_run

import orthogan
from orthogan import tensorfile
from orthogan.errors import UserError
from orthogan.files import CannotWrite, write_whole
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


def test_pruning_leaves_files_of_other_names_and_folders(tmp_path: Path) -> None:
    copy = write(tmp_path / "images-000000000002-good.safetensors", 2)
    folder = tmp_path / checkpoint.file_name(1)
    folder.mkdir()
    for images in (2, 3):
        write(tmp_path / checkpoint.file_name(images), images)
    checkpoint.prune(tmp_path, keep=1)
    assert checkpoint.numbered(tmp_path) == [tmp_path / checkpoint.file_name(3)]
    assert copy.exists()
    assert folder.exists()


def header_bytes(path: Path) -> int:
    return 8 + int.from_bytes(path.read_bytes()[:8], "little")


def test_no_flipped_bit_of_the_header_is_accepted(tmp_path: Path) -> None:
    """Every change is refused by name, and none changes what is read: only padding may differ unseen."""
    path = write(tmp_path / "x.safetensors", 7)
    whole, found = path.read_bytes(), checkpoint.load(path)
    refused: list[str] = []
    bits = random.Random(0).sample(range(8 * header_bytes(path)), 800)
    for bit in bits:
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            read = checkpoint.load(path)
        except BadCheckpoint as error:
            refused.append(str(error))
            continue
        assert read.header == found.header
        assert read.tensors.keys() == found.tensors.keys()
        assert all(torch.equal(read.tensors[name], found.tensors[name]) for name in found.tensors)
    assert all("x.safetensors" in text for text in refused)
    assert len(refused) > 0.95 * len(bits)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"config": 3},
        {"images": "many"},
        {"extra": None},
        {"config": {"family": "bigan", "run": {}}},
        {"config": {"family": "biggan", "run": {"network": {"resolution": -16}}}},
    ],
    ids=str,
)
def test_a_header_that_makes_no_sense_is_a_bad_checkpoint_that_is_named(tmp_path: Path, facts: dict[str, Any]) -> None:
    whole = {"format": checkpoint.FORMAT, "images": 0, "steps": 0, "extra": {}}
    tensorfile.write(tmp_path / "x.safetensors", {"ema.a": torch.ones(1)}, {**whole, **facts})
    with pytest.raises(BadCheckpoint, match=r"x\.safetensors"):
        checkpoint.load(tmp_path / "x.safetensors")
    with pytest.raises(BadCheckpoint, match=r"x\.safetensors"):
        checkpoint.read_header(tmp_path / "x.safetensors")


def test_a_header_nested_too_deep_is_named(tmp_path: Path) -> None:
    deep = "[" * 100_000
    save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors", metadata={"orthogan": deep})
    with pytest.raises(BadCheckpoint, match=r"x\.safetensors"):
        checkpoint.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("network", [{"width": 100_000}, {"width": 2**30}, {"resolution": 2**30}], ids=str)
def test_a_size_that_the_tensors_do_not_have_is_refused_before_memory_is_taken(
    tmp_path: Path, network: dict[str, int]
) -> None:
    """A width of 100,000 would take 23 TB."""
    tensors = {"ema.linear.weight": torch.zeros(2, 2)}
    checkpoint.save(tmp_path / "x.safetensors", tensors, Header(tiny_run(**tiny_networks(**network)), 0, 0, {}))
    with pytest.raises(BadCheckpoint, match=r"x\.safetensors (does not fit|is damaged)"):
        orthogan.load(tmp_path / "x.safetensors")


def test_a_pipe_or_a_folder_named_like_a_checkpoint_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "images-000000000001.safetensors")
    (tmp_path / "images-000000000002.safetensors").mkdir()
    for path in tmp_path.iterdir():
        with pytest.raises(BadCheckpoint, match="is not a file"):
            checkpoint.load(path)


def test_a_checkpoint_that_is_pruned_between_listing_and_opening_is_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a training run with keep_last 1 does beside a reader."""
    write(tmp_path / checkpoint.file_name(1), 1)
    listed = checkpoint.numbered

    def list_then_prune(folder: Path) -> list[Path]:
        found = listed(folder)
        if checkpoint.images_of(found[0]) < 4:
            write(folder / checkpoint.file_name(checkpoint.images_of(found[0]) + 1))
            found[0].unlink()
        return found

    monkeypatch.setattr(checkpoint, "numbered", list_then_prune)
    found, complaints = checkpoint.newest(tmp_path)
    assert (checkpoint.images_of(found.path), complaints) == (4, [])


def test_standing_statistics_go_with_their_checkpoint(tmp_path: Path) -> None:
    standing = tmp_path / "standing"
    standing.mkdir()
    for images in (1, 2):
        write(tmp_path / checkpoint.file_name(images), images)
    names = ("images-000000000001-a1", "images-000000000002-b2", "images-000000000000-c3", "best-d4")
    for name in names:
        (standing / f"{name}.safetensors").write_bytes(b"")
    checkpoint.keep_as_best(tmp_path / checkpoint.file_name(1))
    assert not (standing / "best-d4.safetensors").exists(), "they were those of the best before"
    checkpoint.prune(tmp_path, keep=1)
    assert [path.stem for path in standing.iterdir()] == ["images-000000000002-b2"]


def test_a_failing_write_is_one_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", 7)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
    try:
        with pytest.raises(CannotWrite, match=r"x\.safetensors cannot be written: .*File too large"):
            write(path, 8)
        with pytest.raises(CannotWrite, match=r"t\.json cannot be written: File too large"):
            write_whole(tmp_path / "t.json", "x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]
