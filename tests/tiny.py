"""A network and a run so small that their steps take milliseconds."""

from pathlib import Path
from typing import Any

from orthogan.config import CadenceConfig, EmaConfig, OptimizerConfig, RunConfig
from orthogan.data.config import DataConfig
from orthogan.networks.biggan import BigGANConfig


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
