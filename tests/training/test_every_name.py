"""Every network, stabiliser, loss and prior of the tables trains two steps, saves, loads and samples."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tiny import tiny_run

from orthogan import model, runs
from orthogan.game.augment.ada import PIPES
from orthogan.game.latents import PRIORS
from orthogan.game.losses import LOSSES
from orthogan.game.regularizers import OF_STABILIZERS, RULES
from orthogan.networks import DISCRIMINATORS, GENERATORS
from orthogan.nn.stabilizers import Stabilizer
from orthogan.settings import override
from orthogan.training import checkpoint
from orthogan.training.estimate import estimate
from orthogan.training.logs import read_config
from orthogan.training.trainer import Observer

CPU = torch.device("cpu")
PLAYED = list(itertools.product(GENERATORS, DISCRIMINATORS))


def config_of(source: Path, generator: str, discriminator: str, **changes: Any) -> Any:
    """Two steps of tiny networks, by their names in the tables."""
    pair = {"generator": GENERATORS[generator].tiny, "discriminator": DISCRIMINATORS[discriminator].tiny}
    begun = dataclasses.replace(tiny_run(source), **pair, images=32, n_classes=10)
    return override(begun, {path.replace("__", "."): value for path, value in changes.items()})


def train(folder: Path, source: Path, network: str, **changes: Any) -> list[Any]:
    """Two steps with everything on the way, of a generator and a discriminator of one name; the losses of each."""
    seen: list[dict[str, float]] = []

    class Listener(Observer):
        def stepped(self, images: int, stats: dict[str, float]) -> None:
            seen.append(stats)

    config = config_of(source, network, network, **changes)
    runs.start(config, "digits", folder, Listener(), CPU, lambda done, total: None).run()
    return seen


def check(folder: Path, losses: list[dict[str, float]]) -> None:
    assert len(losses) == 2
    assert all(np.isfinite(value) for step in losses for value in step.values())
    assert model.load(folder, device="cpu").sample(3).shape == (3, 16, 16, 3)


@pytest.mark.parametrize("unconditional", [False, True])
@pytest.mark.parametrize(("generator", "discriminator"), PLAYED)
def test_every_generator_plays_every_discriminator(
    tmp_path: Path, arrays: Path, generator: str, discriminator: str, unconditional: bool
) -> None:
    """Two steps, the second of them again from the checkpoint of the first, and images."""
    changes = {"data__unconditional": unconditional, "cadence__checkpoint_images": 16}
    config, folder = config_of(arrays, generator, discriminator, **changes), tmp_path / "run"
    runs.start(config, "digits", folder, Observer(), CPU, lambda done, total: None).run()
    newest, _ = checkpoint.newest(folder / "checkpoints")
    newest.path.unlink()
    resumed = runs.resume(folder, read_config(folder), Observer(), CPU, lambda done, total: None)
    assert resumed.images == 16
    assert resumed.run()
    again = checkpoint.load(newest.path).tensors
    assert again.keys() == newest.tensors.keys()
    for name, tensor in again.items():
        assert torch.equal(tensor, newest.tensors[name]), name
        assert tensor.isfinite().all(), name
    made = model.load(folder, device="cpu")
    made.sampler.collect(batches=1)  # 16 of them would take most of the test
    assert next(made.sampler.stream(3)).shape == (3, 16, 16, 3)
    assert made.n_classes == (0 if unconditional else 3)


@pytest.mark.parametrize(
    ("generator", "discriminator"), itertools.zip_longest(GENERATORS, DISCRIMINATORS, fillvalue="biggan")
)
def test_what_every_network_needs_is_told_before(arrays: Path, generator: str, discriminator: str) -> None:
    needs = estimate(config_of(arrays, generator, discriminator, n_classes=3), "float32", CPU)
    assert min(needs.g_parameters, needs.d_parameters, needs.step_flops, needs.checkpoint_bytes) > 0


def of_stabilizers() -> list[tuple[str, str]]:
    taking = [name for name, row in DISCRIMINATORS.items() if row.tiny.stabilizer is not None]
    return list(itertools.product(get_args(Stabilizer), taking))


@pytest.mark.parametrize(("stabilizer", "name"), of_stabilizers())
def test_every_stabilizer_on_every_discriminator(tmp_path: Path, arrays: Path, stabilizer: str, name: str) -> None:
    loss = "wasserstein" if stabilizer == "wgan-gp" else "hinge"
    check(tmp_path / "run", train(tmp_path / "run", arrays, name, discriminator__stabilizer=stabilizer, loss=loss))
    if stabilizer == "weight-clipping":
        found, _ = checkpoint.newest(tmp_path / "run" / "checkpoints")
        assert max(value.abs().max() for value in found.part("discriminator").values()) <= 0.01


AUGMENTS = [
    {"kind": "diffaugment", "policy": "color,translation,cutout"},
    {"kind": "diffaugment", "policy": "translation"},
    *({"kind": "ada", "pipe": pipe, "speed_images": 64, "interval": 1} for pipe in PIPES),
    {"kind": "ada", "p": 0.5},
]


@pytest.mark.parametrize("settings", AUGMENTS, ids=str)
def test_every_augmentation_resumes_exactly(tmp_path: Path, arrays: Path, settings: dict[str, Any]) -> None:
    """Four steps at once and two, then two more: the same weights, and the same p."""
    augment = {f"augment__{name}": value for name, value in settings.items()}
    adapts = settings["kind"] == "ada" and "p" not in settings
    # A loss that pairs images augments real ones in G's update too.
    loss = "hinge" if adapts else "relativistic"
    changes = {"images": 64, "cadence__checkpoint_images": 32, "d_steps": 2, "batch": 8, "loss": loss}
    config = config_of(arrays, "sngan-cnn", "sngan-cnn", **changes, **augment)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        runs.start(config, "digits", folder, Observer(), CPU, lambda done, total: None).run()
    newest, _ = checkpoint.newest(broken / "checkpoints")
    newest.path.unlink()
    assert runs.resume(broken, read_config(broken), Observer(), CPU, lambda done, total: None).run()
    ends = [checkpoint.newest(folder / "checkpoints")[0].tensors for folder in (whole, broken)]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
    other = tmp_path / "plain"
    without = config_of(arrays, "sngan-cnn", "sngan-cnn", **changes)
    runs.start(without, "digits", other, Observer(), CPU, lambda done, total: None).run()
    tensors = checkpoint.newest(other / "checkpoints")[0].tensors
    assert any(not torch.equal(tensor, ends[0][name]) for name, tensor in tensors.items())
    if adapts:
        logged = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
        assert any(line["ada_p"] != 0 for line in logged)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss(tmp_path: Path, arrays: Path, loss: str) -> None:
    check(tmp_path / "run", train(tmp_path / "run", arrays, "sngan-cnn", loss=loss, g_batches=2))


STRENGTHS = [name for name, rule in RULES.items() if name not in OF_STABILIZERS and not rule.alone]


@pytest.mark.parametrize("strength", STRENGTHS)
def test_every_strength_of_a_regularizer_changes_the_run(tmp_path: Path, arrays: Path, strength: str) -> None:
    needs = RULES[strength].needs
    both = [name for name in GENERATORS if name in DISCRIMINATORS]
    having = (n for n in both if needs in GENERATORS[n].tiny.offers | DISCRIMINATORS[n].tiny.offers)
    network = next(having) if needs else "biggan"
    without = train(tmp_path / "without", arrays, network)
    found = train(tmp_path / "run", arrays, network, **{f"regularizers__{strength}__strength": 0.1})
    check(tmp_path / "run", found)
    assert found[1] != without[1]


@pytest.mark.parametrize("prior", PRIORS)
def test_every_prior(tmp_path: Path, arrays: Path, prior: str) -> None:
    check(tmp_path / "run", train(tmp_path / "run", arrays, "biggan", generator__latent=prior))


def test_dequantised_images_are_within_one_grey_level(tmp_path: Path, arrays: Path) -> None:
    config = override(tiny_run(arrays), {"data.dequantize": True, "n_classes": 10})
    trainer = runs.start(config, "digits", tmp_path / "run", Observer(), CPU, lambda done, total: None)
    plain, _ = trainer.feed.stream.batch(0, 8)
    ((noisy, _),) = trainer.feed.real(0)
    above = noisy - (plain.float() / 128 - 1)
    assert above.min() >= 0
    assert above.max() < 1 / 128 + 1e-6
    assert above.std() > 0.002
