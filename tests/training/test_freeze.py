"""A frozen network stays as it is, bit for bit, and the other one learns; stopping changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_run
from torch import Tensor

from orthogan import runs
from orthogan.config import RunConfig
from orthogan.errors import UserError
from orthogan.game.augment import AugmentConfig
from orthogan.reports import TrainingView
from orthogan.training import checkpoint
from orthogan.training.logs import read_config
from orthogan.training.saving import parts
from orthogan.training.state import gather
from orthogan.training.trainer import Observer, Trainer

CPU = torch.device("cpu")
OF_ITS_OWN = {
    "generator": ("generator.", "g_optimizer.", "ema."),
    "discriminator": ("discriminator.", "d_optimizer.", "augment."),
}
"""Beginnings of the tensors that only updates of a player change."""


def begin(folder: Path, config: RunConfig, observer: Observer | None = None) -> Trainer:
    return runs.start(config, "digits", folder, observer or Observer(), CPU, lambda done, total: None)


def state(trainer: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in gather(parts(trainer)).items()}


@pytest.mark.parametrize(("loss", "augment"), [("hinge", "ada"), ("relativistic", "diffaugment")])
@pytest.mark.parametrize(("frozen", "playing"), [("generator", "discriminator"), ("discriminator", "generator")])
def test_a_frozen_network_keeps_its_bits_and_the_other_learns(
    tmp_path: Path, arrays: Path, frozen: str, playing: str, loss: str, augment: Any
) -> None:
    trainer = begin(tmp_path / "run", tiny_run(arrays, freeze=frozen, loss=loss, augment=AugmentConfig(kind=augment)))
    before = state(trainer)
    stats = trainer.step()
    trainer.step()
    after = state(trainer)
    assert (trainer.images, trainer.steps) == (32, 2)
    for name, tensor in before.items():
        if name.startswith(OF_ITS_OWN[frozen]):
            assert torch.equal(tensor, after[name]), name
    for name, parameter in getattr(trainer.game, playing[0]).network.named_parameters():
        if parameter.ndim > 1:  # a paired loss does not see the bias of the logits
            assert not torch.equal(before[f"{playing}.{name}"], after[f"{playing}.{name}"]), name
    assert not any(name.startswith(f"{frozen[0]}_optimizer.") for name in after)
    assert not any(name.startswith(f"{frozen[0]}_") for name in stats)
    assert all(torch.isfinite(value) for value in stats.values())
    trainer.close()


@pytest.mark.parametrize("frozen", ["generator", "discriminator"])
def test_it_is_resumed_exactly_though_one_optimizer_never_stepped(tmp_path: Path, arrays: Path, frozen: str) -> None:
    folder, config = tmp_path / "run", tiny_run(arrays, freeze=frozen, images=64)
    assert begin(folder, config, TrainingView(64, 16)).run()
    newest, middle = checkpoint.numbered(folder / "checkpoints")[:2]
    straight = checkpoint.load(newest)
    newest.unlink()
    resumed = runs.resume(folder, read_config(folder), Observer(), CPU, lambda done, total: None)
    assert resumed.images == checkpoint.images_of(middle) < 64
    assert resumed.run()
    again = checkpoint.load(newest)
    assert again.header == straight.header
    assert all(torch.equal(tensor, again.tensors[name]) for name, tensor in straight.tensors.items())


def test_a_resumed_run_cannot_begin_to_freeze(tmp_path: Path, arrays: Path) -> None:
    assert begin(tmp_path / "run", tiny_run(arrays, images=16)).run()
    config = tiny_run(arrays, images=32, freeze="generator")
    with pytest.raises(UserError, match="freeze: 'none' -> 'generator'"):
        runs.resume(tmp_path / "run", config, Observer(), CPU, lambda done, total: None)
