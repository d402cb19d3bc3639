"""Every network, stabiliser, loss and prior of the tables trains two steps, saves, loads and samples."""

import dataclasses
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tiny import tiny_run

from orthogan import model, runs
from orthogan.game.latents import PRIORS
from orthogan.game.losses import LOSSES
from orthogan.game.regularizers import OF_STABILIZERS, RULES
from orthogan.networks import FAMILIES
from orthogan.nn.stabilizers import Stabilizer
from orthogan.settings import override
from orthogan.training import checkpoint
from orthogan.training.trainer import Observer

CPU = torch.device("cpu")
SHAPES: dict[str, dict[str, Any]] = {
    "biggan": {"width": 8, "g_channels": (2, 2, 1), "d_channels": (1, 2), "d_downs": 2, "dim_z": 12},
    "biggan-deep": {"width": 8, "g_channels": (2, 2, 1), "d_channels": (1, 2, 2), "dim_z": 12},
    "sngan": {"width": 4, "g_channels": (4, 2, 1), "d_channels": (1, 2, 2, 4), "d_downs": 2, "dim_z": 12},
    "sngan-cnn": {"width": 4, "dim_z": 12},
}


def train(folder: Path, source: Path, family: str, stabilizer: str = "spectral-norm", **changes: Any) -> list[Any]:
    """Two steps of a tiny run with everything on the way; returns the losses of each."""
    seen: list[dict[str, float]] = []

    class Listener(Observer):
        def stepped(self, images: int, stats: dict[str, float]) -> None:
            seen.append(stats)

    shape = {"resolution": 16, "n_classes": 10, "stabilizer": stabilizer, **SHAPES[family]}
    loss = "wasserstein" if stabilizer == "wgan-gp" else "hinge"
    config = dataclasses.replace(tiny_run(source), network=FAMILIES[family].config(**shape), images=32, loss=loss)
    config = override(config, {path.replace("__", "."): value for path, value in changes.items()})
    runs.start(config, "digits", folder, Listener(), CPU, lambda done, total: None).run()
    return seen


def check(folder: Path, losses: list[dict[str, float]]) -> None:
    assert len(losses) == 2
    assert all(np.isfinite(value) for step in losses for value in step.values())
    assert model.load(folder, device="cpu").sample(3).shape == (3, 16, 16, 3)


@pytest.mark.parametrize("unconditional", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_network_trains_saves_loads_and_samples(
    tmp_path: Path, arrays: Path, family: str, unconditional: bool
) -> None:
    check(tmp_path / "run", train(tmp_path / "run", arrays, family, data__unconditional=unconditional))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stabilizer", get_args(Stabilizer))
def test_every_stabilizer_on_every_discriminator(tmp_path: Path, arrays: Path, family: str, stabilizer: str) -> None:
    check(tmp_path / "run", train(tmp_path / "run", arrays, family, stabilizer))
    if stabilizer == "weight-clipping":
        found, _ = checkpoint.newest(tmp_path / "run" / "checkpoints")
        assert max(value.abs().max() for value in found.part("discriminator").values()) <= 0.01


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss(tmp_path: Path, arrays: Path, loss: str) -> None:
    check(tmp_path / "run", train(tmp_path / "run", arrays, "sngan-cnn", loss=loss, g_batches=2))


STRENGTHS = [name for name in RULES if name not in OF_STABILIZERS]


@pytest.mark.parametrize("strength", STRENGTHS)
def test_every_strength_of_a_regularizer_changes_the_run(tmp_path: Path, arrays: Path, strength: str) -> None:
    without = train(tmp_path / "without", arrays, "biggan")
    found = train(tmp_path / "run", arrays, "biggan", **{f"regularizers__{strength}__strength": 0.1})
    check(tmp_path / "run", found)
    assert found[1] != without[1]


@pytest.mark.parametrize("prior", PRIORS)
def test_every_prior(tmp_path: Path, arrays: Path, prior: str) -> None:
    check(tmp_path / "run", train(tmp_path / "run", arrays, "biggan", network__latent=prior))


def test_learning_rates_fall_to_zero_at_the_end(tmp_path: Path, arrays: Path) -> None:
    config = override(tiny_run(arrays), {"optimizer.decay_from_images": 80, "network.n_classes": 10})
    trainer = runs.start(config, "digits", tmp_path / "run", Observer(), CPU, lambda done, total: None)
    rates = []
    while trainer.images < 160:
        trainer.step()
        rates.append(trainer.game.g.optimizer.param_groups[0]["lr"])
    # Set at the beginning of each step of 16 images: whole until 80, then a fifth less each step.
    np.testing.assert_allclose(rates, [1e-3] * 6 + [0.8e-3, 0.6e-3, 0.4e-3, 0.2e-3])


def test_dequantised_images_are_within_one_grey_level(tmp_path: Path, arrays: Path) -> None:
    config = override(tiny_run(arrays), {"data.dequantize": True, "network.n_classes": 10})
    trainer = runs.start(config, "digits", tmp_path / "run", Observer(), CPU, lambda done, total: None)
    plain, _ = trainer.feed.stream.batch(0, 8)
    ((noisy, _),) = trainer.feed.real(0)
    above = noisy - (plain.float() / 128 - 1)
    assert above.min() >= 0
    assert above.max() < 1 / 128 + 1e-6
    assert above.std() > 0.002
