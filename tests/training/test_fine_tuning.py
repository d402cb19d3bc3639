"""A run whose networks begin from a checkpoint: what fits is taken, classes are made anew, the rest begins afresh."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_run

from orthogan import runs
from orthogan.config import RunConfig
from orthogan.errors import UserError
from orthogan.model import find_checkpoint
from orthogan.networks import DISCRIMINATORS, GENERATORS, build_discriminator, build_generator, find, table
from orthogan.nn.spectral import normalized_layers
from orthogan.pair import freeze_first
from orthogan.presets import get
from orthogan.runs import InitConfig
from orthogan.settings import override
from orthogan.training import checkpoint, saving
from orthogan.training.logs import read_begun, read_config
from orthogan.training.trainer import Observer, Trainer
from orthogan.training.transfer import class_axes, class_mixture, transfer

CPU = torch.device("cpu")
SIDE = 16
EVERY = [(role, name) for role in ("generator", "discriminator") for name in table(role)]
BUILD: dict[str, Any] = {"generator": build_generator, "discriminator": build_discriminator}


class Listener(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def told(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """Other images than those of `arrays`, in 5 classes, three of which are called as its are."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    path = tmp_path / "others.npz"
    np.savez(path, images=images, labels=np.arange(40) % 5)
    return path


@pytest.fixture
def parent(tmp_path: Path, arrays: Path) -> Path:
    config = tiny_run(arrays, images=32)
    assert runs.start(config, "digits", tmp_path / "parent", Observer(), CPU, lambda done, total: None).run()
    return tmp_path / "parent"


def fine_tune(
    parent: Path, folder: Path, data: Path | str, observer: Observer | None = None, preset: str = "", **changes: Any
) -> Trainer:
    found = find_checkpoint(parent)
    of_init = {name.removeprefix("init_"): changes.pop(name) for name in list(changes) if name.startswith("init_")}
    config = runs.configuration(found, get(preset) if preset else None)
    config = override(config, {"data.source": str(data), "images": 64, **changes})
    init = InitConfig(file=str(parent), **of_init)
    return runs.fine_tune(found, init, config, preset, folder, observer or Observer(), CPU, lambda done, total: None)


def networks(role: str, name: str, *counts: int) -> list[Any]:
    torch.manual_seed(0)
    return [BUILD[role](find(role, name).tiny, SIDE, count) for count in counts]


def axes_of(role: str, name: str, n_classes: int) -> dict[str, int]:
    return class_axes(partial(BUILD[role], find(role, name).tiny, SIDE), n_classes)


# -- tensors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("role", "name"), EVERY)
def test_all_but_the_classes_is_taken_in_every_network(role: str, name: str) -> None:
    old, new = networks(role, name, 3, 5)
    before = {k: v.clone() for k, v in new.state_dict().items()}
    axes = axes_of(role, name, 5)
    assert {k for k, v in new.state_dict().items() if v.shape != old.state_dict()[k].shape} == axes.keys()
    made = transfer(new, old.state_dict(), axes, None)
    assert not made.left
    assert sorted([*made.taken, *made.remade]) == sorted(before)
    assert set(made.remade) == axes.keys()
    assert axes
    beside = {name.rpartition(".")[0] for name in axes}
    for key, tensor in new.state_dict().items():
        if key in axes and not key.endswith(".u"):
            assert torch.equal(tensor, before[key]), key
        elif key.rpartition(".")[0] not in beside:  # a layer whose weight is new has new singular vectors
            assert torch.equal(tensor, old.state_dict()[key]), key


@pytest.mark.parametrize("name", GENERATORS)
def test_the_mean_of_all_classes_is_what_weights_of_all_classes_give(name: str) -> None:
    old, new = networks("generator", name, 3, 5)
    for parameter in old.parameters():  # SN-GAN begins with all classes alike
        torch.nn.init.normal_(parameter, std=0.3) if parameter.shape[:1] == (3,) else None
    transfer(new, old.state_dict(), axes_of("generator", name, 5), class_mixture("mean", [], [], 5, 3))
    if name == "stylegan2":  # its embedding is normalised behind the table, where weights mix before it
        assert torch.allclose(new.mapping.embedding.weight[:, 4], old.mapping.embedding.weight.mean(1))
    z = torch.randn(4, old.dim_z)
    expected = old(z, torch.full((4, 3), 1 / 3))
    torch.testing.assert_close(new(z, torch.tensor([0, 2, 4, 1])), expected, rtol=1e-3, atol=1e-4)


def test_rows_by_name_and_the_mean_for_the_others() -> None:
    mixture = class_mixture("name", ["x", "b", "twice"], ["a", "b", "twice", "twice"], 3, 4)
    assert mixture is not None
    assert mixture.tolist() == [[0.25] * 4, [0.0, 1.0, 0.0, 0.0], [0.25] * 4]
    with pytest.raises(UserError, match=r"init.classes='name': unknown class 'cta'; did you mean 'cat'"):
        class_mixture("name", ["cta"], ["cat", "dog"], 1, 2)
    with pytest.raises(UserError, match="does not name its classes"):
        class_mixture("name", ["cat"], [], 1, 2)


def test_singular_vectors_follow_a_table_that_was_made_anew() -> None:
    old, new = networks("discriminator", "biggan", 3, 5)
    transfer(new, old.state_dict(), axes_of("discriminator", "biggan", 5), class_mixture("mean", [], [], 5, 3))
    layer = dict(normalized_layers(new))["head.embedding"]
    exact = torch.linalg.matrix_norm(layer.weight, 2)
    torch.testing.assert_close(layer.sigma(), exact, rtol=1e-4, atol=0)


@pytest.mark.parametrize(("name", "layer"), [("biggan", "blocks.0.norm1.gain"), ("biggan-deep", "linear")])
def test_where_classes_go_or_come_the_columns_of_z_stay(name: str, layer: str) -> None:
    for counts in ((3, 0), (0, 3)):
        old, new = networks("generator", name, *counts)
        made = transfer(new, old.state_dict(), axes_of("generator", name, counts[1]), None)
        assert f"{layer}.weight" in made.remade
        a, b = (net.get_submodule(layer).weight for net in (old, new))
        of_z = min(a.shape[1], b.shape[1])
        assert torch.equal(a[:, -of_z:], b[:, -of_z:])
        new.eval()(torch.randn(2, new.dim_z), torch.tensor([0, 1]) if counts[1] else None)


# -- runs ----------------------------------------------------------------------------------------------------------


def test_a_run_on_other_classes_is_told_recorded_and_resumed_exactly(
    parent: Path, others: Path, tmp_path: Path
) -> None:
    listener = Listener()
    straight = fine_tune(parent, tmp_path / "straight", others, listener, init_classes="name")
    assert (straight.images, straight.steps) == (0, 0)
    old, g = find_checkpoint(parent).part("generator"), straight.game.g.network.state_dict()
    assert torch.equal(g["linear.weight"], old["linear.weight"])
    assert torch.equal(g["embedding.weight"][2], old["embedding.weight"][2])
    torch.testing.assert_close(g["embedding.weight"][4], old["embedding.weight"].mean(0))
    for name, tensor in straight.ema.module.state_dict().items():
        assert torch.equal(tensor, g[name])
    assert not straight.game.g.optimizer.state_dict()["state"]
    told = "\n".join(listener.lines)
    assert "begun from" in told
    assert "remade for 5 classes, by the names of classes: generator.embedding.weight" in told
    assert "classes found by name: 0, 1, 2" in told
    recorded = read_begun(tmp_path / "straight").parent
    assert recorded is not None
    assert recorded["remade"][0] == "generator.embedding.weight"
    assert recorded["changed"]["n_classes"] == [3, 5]
    assert recorded["checksum"] == find_checkpoint(parent).header.checksum
    fine_tune(parent, tmp_path / "killed", others, init_classes="name").close()
    assert straight.run()
    resumed = runs.resume(
        tmp_path / "killed", read_config(tmp_path / "killed"), Observer(), CPU, lambda done, total: None
    )
    assert resumed.begun == 0
    assert resumed.run()
    ends = [find_checkpoint(tmp_path / name) for name in ("straight", "killed")]
    assert ends[0].header.checksum == ends[1].header.checksum
    assert ends[1].header.extra["parent"] == recorded


def test_a_generator_alone_is_enough_and_another_discriminator_may_be_taken(
    parent: Path, others: Path, tmp_path: Path
) -> None:
    found = find_checkpoint(parent)
    alone = tmp_path / "alone.safetensors"
    tensors = {name: tensor for name, tensor in found.tensors.items() if name.startswith("ema.")}
    checkpoint.save(alone, tensors, found.header)
    listener = Listener()
    trainer = fine_tune(alone, tmp_path / "new", others, listener)
    assert torch.equal(trainer.game.g.network.state_dict()["linear.weight"], tensors["ema.linear.weight"])
    assert "the checkpoint has no discriminator, which begins fresh" in listener.lines
    assert any("(the average, for the checkpoint has no other)" in line for line in listener.lines)
    assert trainer.parent is not None
    assert trainer.parent["afresh"][0] == "discriminator"
    trainer.close()
    config = runs.configuration(found, None)
    other = dataclasses.replace(config, discriminator=DISCRIMINATORS["sngan"].tiny)
    assert "it is sngan, not the checkpoint's biggan" in (runs.refuse_misfit(found, InitConfig(), other) or "")
    with pytest.raises(UserError, match="freeze_d_blocks=1: the discriminator begins fresh"):
        runs.refuse_misfit(found, InitConfig(), dataclasses.replace(other, freeze_d_blocks=1))


def test_a_preset_gives_all_but_the_networks(parent: Path) -> None:
    found = find_checkpoint(parent)
    config, preset = runs.configuration(found, get("small-64")), get("small-64")
    own = found.header.config
    assert (config.generator, config.discriminator, config.resolution) == (own.generator, own.discriminator, 16)
    assert (config.optimizer, config.batch, config.ema) == (preset.optimizer, preset.batch, preset.ema)
    only_g = dataclasses.replace(found, tensors={k: v for k, v in found.tensors.items() if k.startswith("ema.")})
    assert runs.configuration(only_g, preset).discriminator.width == preset.discriminator.width


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"generator.width": 4}, "the generator of .* generator.width 8 -> 4; leave them out$"),
        (
            {"discriminator.width": 4},
            "width 8 -> 4; leave them out; or begin with a fresh one: --init.discriminator fresh",
        ),
        ({"resolution": 32}, "resolution 16 -> 32"),
        ({"freeze_d_blocks": 3}, "freeze_d_blocks=3: this discriminator has 2 blocks"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_data_is_read(
    parent: Path, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        fine_tune(parent, tmp_path / "new", tmp_path / "nothing.npz", **change)
    assert not (tmp_path / "new").exists()


def test_a_number_of_classes_that_the_data_does_not_have_is_refused(parent: Path, others: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="n_classes=7, but the data has 5 classes"):
        fine_tune(parent, tmp_path / "new", others, n_classes=7)
    trainer = fine_tune(parent, tmp_path / "none", others, **{"data.unconditional": True})
    assert trainer.parent is not None
    assert trainer.parent["left"] == ["generator.embedding.weight", *HEAD_OF_CLASSES]
    trainer.step()
    trainer.close()


HEAD_OF_CLASSES = [f"discriminator.head.embedding.{name}" for name in ("u", "v", "weight")]


def test_a_damaged_or_empty_checkpoint_is_one_line(parent: Path, others: Path, tmp_path: Path) -> None:
    found = find_checkpoint(parent)
    empty = tmp_path / "empty.safetensors"
    checkpoint.save(empty, {"ema_": torch.zeros(1)}, found.header)
    with pytest.raises(UserError, match="no generator to begin from"):
        fine_tune(empty, tmp_path / "new", others)
    half = {name: t for name, t in found.tensors.items() if name != "generator.linear.weight"}
    checkpoint.save(empty, half, found.header)
    with pytest.raises(UserError, match=r"does not fit its configuration: generator.linear.weight is missing"):
        fine_tune(empty, tmp_path / "new", others)


# -- frozen blocks -------------------------------------------------------------------------------------------------


def test_frozen_blocks_keep_their_bits_and_the_others_learn(parent: Path, others: Path, tmp_path: Path) -> None:
    trainer = fine_tune(parent, tmp_path / "new", others, freeze_d_blocks=1)
    d = trainer.game.d.network
    before = {name: parameter.clone() for name, parameter in d.named_parameters()}
    trainer.step()
    trainer.step()
    for name, parameter in d.named_parameters():
        assert torch.equal(parameter, before[name]) == name.startswith("blocks.0."), name
    saving.save(trainer)
    found = find_checkpoint(tmp_path / "new")
    trainer.close()
    thawed = override(read_config(tmp_path / "new"), {"freeze_d_blocks": 0, "images": 96})
    new = runs.branch(tmp_path / "new", thawed, tmp_path / "thawed", Observer(), CPU, lambda done, total: None)
    assert new.parent is not None
    assert new.parent["afresh"] == ["d_optimizer"]
    new.close()
    assert found.header.config.freeze_d_blocks == 1


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_every_discriminator_freezes_from_the_image_on(name: str) -> None:
    (d,) = networks("discriminator", name, 3)
    stages = d.stages()
    for count in range(1, len(stages) + 1):
        freeze_first(d, count)
        frozen = {id(p) for stage in stages[:count] for module in stage for p in module.parameters()}
        named = {k: p for k, p in d.named_parameters() if not k.startswith(("features.", "projection."))}
        assert {id(p) for p in named.values() if not p.requires_grad} == frozen
        later = {id(p) for stage in stages[count:] for module in stage for p in module.parameters()}
        assert not later & frozen
    y = torch.arange(4) % 3
    x = torch.randn(4, 3, SIDE, SIDE, requires_grad=True)
    d(x, y).sin().sum().backward()
    assert x.grad is not None
    assert x.grad.any()
    with pytest.raises(UserError, match=f"has {len(stages)} blocks" if stages else "has no blocks of its own"):
        freeze_first(d, len(stages) + 1)


def test_random_layers_are_not_frozen(tmp_path: Path, arrays: Path) -> None:
    config: RunConfig = tiny_run(arrays, freeze_d_blocks=1)
    with pytest.raises(UserError, match="of fresh networks these would stay random"):
        runs.start(config, "digits", tmp_path / "new", Observer(), CPU, lambda done, total: None)
