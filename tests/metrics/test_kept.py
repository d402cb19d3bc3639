"""The files of features: whole or not there, and bounded."""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from orthogan.files import ASIDE
from orthogan.metrics import kept

FEATURES = np.arange(1000, dtype=np.float32).reshape(100, 10)


def test_what_was_written_is_read(tmp_path: Path):
    kept.write(tmp_path / "a.safetensors", FEATURES)
    assert np.array_equal(kept.read(tmp_path / "a.safetensors"), FEATURES)


@pytest.mark.parametrize(
    "wrong", [np.where(FEATURES == 7, np.nan, FEATURES), FEATURES[0], FEATURES.astype(np.float64)], ids=str
)
def test_a_wrong_shape_type_or_nan_is_neither_kept_nor_read(tmp_path: Path, wrong: np.ndarray):
    kept.write(tmp_path / "a.safetensors", wrong)
    assert not (tmp_path / "a.safetensors").exists()
    save_file({"features": wrong}, tmp_path / "a.safetensors", {"sum": kept._sum_of(wrong)})
    assert kept.read(tmp_path / "a.safetensors") is None


def test_a_file_without_a_sum_is_not_read(tmp_path: Path):
    save_file({"features": FEATURES}, tmp_path / "a.safetensors")
    assert kept.read(tmp_path / "a.safetensors") is None


def names() -> list[str]:
    return sorted(path.stem for path in kept.folder().iterdir())


def test_the_longest_unused_go_beyond_the_bound(monkeypatch: pytest.MonkeyPatch):
    folder = kept.folder()
    kept.write(folder / "0.safetensors", FEATURES)
    monkeypatch.setattr(kept, "MAX_BYTES", 3 * (folder / "0.safetensors").stat().st_size + FEATURES.nbytes)
    for i in range(4):
        kept.write(folder / f"{i}.safetensors", FEATURES)
        os.utime(folder / f"{i}.safetensors", (1000 + i, 1000 + i))
    assert kept.read(folder / "0.safetensors") is not None  # 1 is now the one unused for longest
    kept.write(folder / "4.safetensors", FEATURES)
    assert names() == ["0", "2", "3", "4"]
    monkeypatch.setattr(kept, "MAX_BYTES", FEATURES.nbytes - 1)
    kept.write(folder / "5.safetensors", FEATURES)
    assert "5" not in names()


def begin_writing(name: str, idle: bool) -> Path:
    """What a writer that was stopped in the middle has left."""
    left = kept.folder() / f"{ASIDE}{name}"
    left.mkdir(parents=True)
    (left / "a.safetensors").write_bytes(b"half")
    if idle:
        for place in (left / "a.safetensors", left):
            os.utime(place, (0, 0))
    return left


def test_what_a_killed_writer_left_goes_with_the_next_file():
    kept.write(kept.folder() / "0.safetensors", FEATURES)
    dead, alive = begin_writing("dead", idle=True), begin_writing("alive", idle=False)
    assert [file.path.stem for file in kept.kept()] == ["0"]
    kept.write(kept.folder() / "1.safetensors", FEATURES)
    assert not dead.exists()
    assert names() == [alive.name, "0", "1"]


def test_a_disk_that_fails_leaves_nothing_and_what_was_there(monkeypatch: pytest.MonkeyPatch):
    path = kept.folder() / "0.safetensors"
    kept.write(path, FEATURES)

    def torn(tensors: dict[str, np.ndarray], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "save_file", torn)
    for name in ("0", "1"):
        kept.write(kept.folder() / f"{name}.safetensors", FEATURES + 1)
    assert names() == ["0"]
    assert np.array_equal(kept.read(path), FEATURES)
