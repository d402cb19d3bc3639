"""Networks and a run so small that their steps take milliseconds, and a feature network to score with in one."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from orthogan.config import CadenceConfig, EmaConfig, OptimizerConfig, RunConfig
from orthogan.data.config import DataConfig
from orthogan.formats import whole_paths
from orthogan.networks import build_discriminator, build_generator
from orthogan.networks.base import Discriminator, Generator
from orthogan.networks.biggan import BigGANDiscriminatorConfig, BigGANGeneratorConfig
from orthogan.settings import flatten, override


def changed(run: RunConfig, **changes: Any) -> RunConfig:
    """With settings by short names: `width=4` changes both networks, `d_channels=(1, 2)` one."""
    known = flatten(run)
    paths = {path: value for name, value in changes.items() for path in whole_paths(name, known)}
    new: RunConfig = override(run, paths)
    return new


def tiny_networks(**changes: Any) -> dict[str, Any]:
    """The settings of a run that decide its networks."""
    begun = {
        "resolution": 16,
        "n_classes": 3,
        "generator": BigGANGeneratorConfig(width=8, channels=(2, 2, 1), dim_z=12, shared_dim=8),
        "discriminator": BigGANDiscriminatorConfig(width=8, channels=(1, 2), downs=2),
    }
    # The loss of the stabiliser wgan-gp: what goes together is looked at where the run is made.
    run = changed(RunConfig(**begun, loss="wasserstein"), **changes)  # type: ignore[arg-type]
    return {name: getattr(run, name) for name in begun}


def tiny_generator(**changes: Any) -> Generator:
    made = tiny_networks(**changes)
    return build_generator(made["generator"], made["resolution"], made["n_classes"])


def tiny_discriminator(**changes: Any) -> Discriminator:
    made = tiny_networks(**changes)
    return build_discriminator(made["discriminator"], made["resolution"], made["n_classes"])


def tiny_run(source: Path | str = "", **changes: Any) -> RunConfig:
    """A run whose steps take milliseconds; float32, so that results compare to the last digits."""
    settings: dict[str, Any] = {
        **tiny_networks(),
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


class TinyFeatures(nn.Module):
    """Four features: mean of each channel and of the image's upper half. Three logits."""

    def forward(self, images_nchw: Tensor) -> tuple[Tensor, Tensor]:
        x = images_nchw.float() / 255
        means = x.mean((2, 3))
        return torch.cat([means, x[:, :, : x.shape[2] // 2].mean((1, 2, 3))[:, None]], dim=1), 5 * means
