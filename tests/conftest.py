"""Shared by all tests: a small data set on disk, a private cache, one thread."""

from pathlib import Path

import numpy as np
import pytest
import torch
import toys
from tiny import TinyFeatures

from orthogan.features.pretrained import FeatureNet
from orthogan.networks import DISCRIMINATORS, GENERATORS

# By these two lines alone every test over the tables takes in networks from outside the package.
GENERATORS["toy"] = toys.GENERATOR
DISCRIMINATORS["toy"] = toys.DISCRIMINATOR


@pytest.fixture(autouse=True)
def private_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORTHOGAN_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def arrays(tmp_path: Path) -> Path:
    """40 random images of 16 pixels in 3 classes."""
    rng = np.random.default_rng(0)
    path = tmp_path / "arrays.npz"
    np.savez(path, images=rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8), labels=np.arange(40) % 3)
    return path


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests run side by side in several processes; threads would only wait for one another."""
    torch.set_num_threads(1)


@pytest.fixture
def tiny() -> FeatureNet:
    return FeatureNet("tiny", TinyFeatures(), weights_sha256="0" * 64, resize="none", feature_dim=4)
