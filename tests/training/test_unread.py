"""A setting that nothing of a run reads is refused where somebody sets it, and indeed changes nothing."""

from pathlib import Path
from typing import Any

import pytest
import torch
from process import orthogan
from tiny import tiny_run
from torch import Tensor

from orthogan import presets, runs
from orthogan.config import RunConfig
from orthogan.errors import UserError
from orthogan.networks.stylegan2 import StyleGAN2GeneratorConfig
from orthogan.runs.unread import READERS
from orthogan.settings import override
from orthogan.training.observer import Observer
from orthogan.training.saving import parts
from orthogan.training.state import gather

FROZEN_G: dict[str, Any] = {"freeze": "generator"}
FROZEN_D: dict[str, Any] = {"freeze": "discriminator"}
ADA: dict[str, Any] = {"augment.kind": "ada"}
UNLABELLED: dict[str, Any] = {"data.unconditional": True, "n_classes": 0}

QUICK: dict[str, Any] = {"augment.speed_images": 24, "augment.interval": 2, "augment.target": -0.9}
STYLE = StyleGAN2GeneratorConfig(dim_z=8, dim_w=8, channel_base=64, channel_max=8)

CASES: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
    "generator.shared_embedding": (UNLABELLED | {"generator.skip_z": False}, False, {"generator.skip_z": False}),
    "generator.shared_dim": ({"generator.shared_embedding": False, "generator.skip_z": False}, 6, {}),
    "discriminator.sn_eps": ({"discriminator.stabilizer": "layer-norm"}, 1.0, {}),
    "discriminator.bn_eps": ({}, 1.0, {"discriminator.stabilizer": "batch-norm"}),
    "fake_classes": (UNLABELLED, "data", {}),
    "optimizer.g_lr": (FROZEN_G, 0.5, {}),
    "optimizer.d_lr": (FROZEN_D, 0.5, {}),
    "bn_over": ({"accumulate": 2, "generator": STYLE}, "batch", {"accumulate": 2}),
    "augment.target": (FROZEN_D | ADA, 1.0, ADA | QUICK),
    "augment.interval": (FROZEN_D | ADA, 1, ADA | QUICK),
    "augment.speed_images": (FROZEN_D | ADA, 10, ADA | QUICK),
    "regularizers.g_ortho.strength": (FROZEN_G, 0.1, {}),
    "regularizers.d_ortho.strength": (FROZEN_D, 0.1, {}),
    "regularizers.d_r1.strength": (FROZEN_D, 10.0, {}),
    "g_batches": (FROZEN_G, 2, {}),
    "ema.decay": (FROZEN_G, 0.5, {}),
    "ema.halflife_images": (FROZEN_G | {"ema.decay": None, "ema.halflife_images": 9.0}, 99.0,
                            {"ema.decay": None, "ema.halflife_images": 9.0}),
    "ema.rampup": (FROZEN_G | {"ema.decay": None, "ema.halflife_images": 9.0}, 0.01,
                   {"ema.decay": None, "ema.halflife_images": 9.0}),
    "ema.start_steps": ({"ema.decay": 0.0}, 2, {}),
    "cadence.score_features": ({}, "efficientnet-lite1", {"cadence.score_images": 1000}),
    "cadence.score_samples": ({}, 100, {"cadence.score_images": 1000}),
}  # fmt: skip
"""By path: what makes it unread, another value, and what makes it read."""


LEARNT = ("generator.", "discriminator.", "ema.")


def learnt(config: RunConfig, folder: Path) -> dict[str, Tensor]:
    """The networks and the average after three steps."""
    trainer = runs.start(config, "digits", folder, Observer(), torch.device("cpu"), lambda done, total: None)
    for _ in range(3):
        trainer.step()
    tensors = {name: tensor.clone() for name, tensor in gather(parts(trainer)).items() if name.startswith(LEARNT)}
    trainer.close()
    return tensors


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def made(arrays: Path, changes: dict[str, Any]) -> RunConfig:
    """A tiny run of three classes with these settings, a whole generator among them."""
    whole = {name: value for name, value in changes.items() if name == "generator"}
    return override(tiny_run(arrays, **whole), {name: value for name, value in changes.items() if name not in whole})


def test_every_setting_has_its_case() -> None:
    of_rules = {path for path in READERS if path.startswith("regularizers.")}
    assert READERS.keys() - of_rules == CASES.keys() - of_rules
    assert of_rules > CASES.keys() & of_rules


@pytest.mark.parametrize("path", CASES)
def test_an_unread_setting_is_refused_and_changes_nothing(tmp_path: Path, arrays: Path, path: str) -> None:
    unread, value, read = CASES[path]
    begun = made(arrays, unread)
    given = override(begun, {path: value})
    with pytest.raises(UserError, match=rf"{path}=.*: only .* reads it; change that, or leave this out"):
        runs.refuse_unread(begun, given)
    runs.refuse_unread(given, given)  # a preset may bring it along
    if path != "bn_over":  # it draws the mixed styles of a larger batch, for nothing
        assert same(learnt(begun, tmp_path / "begun"), learnt(given, tmp_path / "given"))
    begun = made(arrays, read)
    given = override(begun, {path: value})
    runs.refuse_unread(begun, given)
    if not path.startswith("cadence."):
        assert not same(learnt(begun, tmp_path / "read"), learnt(given, tmp_path / "read otherwise"))


@pytest.mark.parametrize("preset", ["sngan-32", "sngan-cnn-32", "biggan-32", "biggan-deep-32"])
def test_eps_of_spectral_norm_is_of_every_discriminator_that_may_do_without(preset: str) -> None:
    with_it = presets.get(preset)
    runs.refuse_unread(with_it, override(with_it, {"discriminator.sn_eps": 1e-3}))
    without = override(with_it, {"discriminator.stabilizer": "none"})
    with pytest.raises(UserError, match=r"discriminator\.sn_eps=0\.001: only discriminator\.stabilizer spectral-norm"):
        runs.refuse_unread(without, override(without, {"discriminator.sn_eps": 1e-3}))


def test_each_command_refuses_it_by_its_words(tmp_path: Path, arrays: Path) -> None:
    folder = tmp_path / "run"
    config = tiny_run(arrays, images=32)
    assert runs.start(config, "digits", folder, Observer(), torch.device("cpu"), lambda done, total: None).run()
    scored = ["--cadence.score-samples", "60"]
    for words, told in (
        (
            ["train", "small-32", "--data", arrays, "--stabilizer", "none", "--discriminator.sn-eps", "1e-3"],
            "sn_eps=0.001",
        ),
        (["train", "small-32", "--data", arrays, *scored, "--dry-run"], "cadence.score_samples=60"),
        (["resume", folder, "--images", "64", *scored], "cadence.score_samples=60"),
        (
            ["branch", folder, "--out", tmp_path / "new", "--freeze", "generator", "--optimizer.g-lr", "1"],
            "optimizer.g_lr=1.0",
        ),
    ):
        done = orthogan(*words)
        assert done.status == 2
        assert told in done.err
        assert "reads it; change that, or leave this out" in " ".join(done.err.split())
    assert not (tmp_path / "new").exists()


def test_what_a_preset_brings_along_is_no_error(tmp_path: Path, arrays: Path) -> None:
    words = ["train", "biggan-32", "--data", arrays, "--width", "2", "--batch", "4", "--stabilizer", "layer-norm"]
    done = orthogan(*words, "--freeze", "discriminator", "--dry-run")
    assert done.status == 0, done.err
