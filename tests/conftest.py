"""Shared by all tests: a small data set on disk, a tiny run, a private cache."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orthogan.config import CadenceConfig, DataConfig, EmaConfig, OptimizerConfig, RunConfig
from orthogan.networks.biggan import BigGANConfig


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


def tiny_network(**changes: Any) -> BigGANConfig:
    settings: dict[str, Any] = {
        "resolution": 16,
        "n_classes": 3,
        "width": 8,
        "g_channels": (2, 2, 1),
        "d_channels": (1, 2),
        "d_downs": 2,
        "dim_z": 12,
        "shared_dim": 8,
    }
    return BigGANConfig(**(settings | changes))


def tiny_run(source: Path | str = "", **changes: Any) -> RunConfig[Any]:
    """A run whose steps take milliseconds; float32, so that results compare to the last digits."""
    settings: dict[str, Any] = {
        "network": tiny_network(),
        "data": DataConfig(source=str(source)),
        # Biases in front of a batch norm have no gradient but rounding noise, which Adam's usual eps blows up to full
        # steps; with this one runs that differ only in rounding stay comparable.
        "optimizer": OptimizerConfig(g_lr=1e-3, d_lr=1e-3, eps=1e-3),
        "ema": EmaConfig(decay=0.9),
        "cadence": CadenceConfig(log_images=24, sheet_images=0, checkpoint_images=48),
        "images": 160,
        "batch": 8,
        "precision": "float32",
    }
    return RunConfig(**(settings | changes))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tests run side by side in several processes; threads would only wait for one another."""
    torch.set_num_threads(1)
