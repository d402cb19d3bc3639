"""The files of features: whole or not there, and bounded."""

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

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


def test_what_a_killed_writer_left_goes_with_the_next_file():
    folder = kept.folder()
    kept.write(folder / "0.safetensors", FEATURES)
    for name in ("dead.123.partial", ".tmpdead", "alive.124.partial"):
        (folder / name).touch()
    for name in ("dead.123.partial", ".tmpdead"):
        os.utime(folder / name, (0, 0))
    kept.write(folder / "1.safetensors", FEATURES)
    assert names() == ["0", "1", "alive.124"]
