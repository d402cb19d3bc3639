"""Drop-out by keys, in the head and in a run."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_run
from torch import Tensor, nn

from orthogan import runs
from orthogan.errors import UserError
from orthogan.networks import DISCRIMINATORS, build_discriminator
from orthogan.networks.base import StabilizedConfig
from orthogan.networks.biggan import BigGANDiscriminator
from orthogan.nn.dropout import drop
from orthogan.randomness import OF_D, OF_G, Draws
from orthogan.settings import override
from orthogan.training import checkpoint
from orthogan.training.logs import read_config
from orthogan.training.observer import Observer

CPU = torch.device("cpu")
DROPPING = [name for name, row in DISCRIMINATORS.items() if isinstance(row.tiny, StabilizedConfig)]


def keys(n: int, seed: int = 0) -> Tensor:
    return torch.randint(2**62, (n,), generator=torch.Generator().manual_seed(seed))


def test_published_families_have_it() -> None:
    assert DROPPING == ["biggan", "biggan-deep", "sngan", "sngan-cnn"]


def test_features_are_dropped_as_often_as_asked_and_the_mean_stays() -> None:
    found = drop(torch.ones(400, 500), 0.3, keys(400))
    assert found.unique().tolist() == pytest.approx([0, 1 / 0.7])
    # 200,000 numbers: the deviation of the share is 0.001.
    assert float((found == 0).float().mean()) == pytest.approx(0.3, abs=0.005)
    assert float(found.mean()) == pytest.approx(1, abs=0.008)
    of_features, of_rows = (found == 0).float().mean(0), (found == 0).float().mean(1)
    assert float(of_features.std()) == pytest.approx((0.21 / 400) ** 0.5, rel=0.2)
    assert float(of_rows.std()) == pytest.approx((0.21 / 500) ** 0.5, rel=0.2)


def test_a_row_depends_on_its_key_alone() -> None:
    h, of = torch.ones(6, 50), keys(6)
    whole = drop(h, 0.5, of)
    assert torch.equal(whole[2:4], drop(h[2:4], 0.5, of[2:4]))
    assert not torch.equal(whole[0], whole[1])


def test_without_keys_or_chance_nothing_is_touched() -> None:
    h = torch.ones(2, 3)
    assert drop(h, 0.5, None) is h
    assert drop(h, 0.0, keys(2)) is h


@pytest.mark.parametrize("name", DROPPING)
def test_logits_are_those_of_the_features_that_are_left(name: str) -> None:
    """The head by hand: features as its layers see them, masked, through the weights themselves."""
    config = dataclasses.replace(DISCRIMINATORS[name].tiny, dropout=0.4)
    d: Any = build_discriminator(config, 16, 3)
    head = d if name == "sngan-cnn" else d.head
    seen: list[Tensor] = []
    head.linear.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    x, y, of = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 0]), keys(4)
    plain, dropped = d(x, y), d(x, y, of)
    assert torch.equal(plain, d(x, y))
    assert torch.equal(seen[1], drop(seen[0], 0.4, of))
    assert (seen[1] == 0).sum() > (seen[0] == 0).sum()
    by_hand = head.linear(seen[1])[:, 0] + (head.embedding(y) * seen[1]).sum(1)
    assert torch.allclose(dropped, by_hand)
    assert not torch.allclose(dropped, plain)


def test_the_class_s_half_of_the_head_is_under_the_same_mask() -> None:
    """Through the linear layer alone, gradients of dropped features are 0 in both."""
    d: Any = build_discriminator(dataclasses.replace(DISCRIMINATORS["biggan"].tiny, dropout=0.5), 16, 3)
    features = torch.rand(2, d.head.linear.in_features, 4, 4).requires_grad_()
    of = keys(2)
    (gradient,) = torch.autograd.grad(d.head(features, torch.tensor([0, 1]), of).sum(), features)
    dropped = drop(torch.ones(2, features.shape[1]), 0.5, of) == 0
    assert torch.equal((gradient == 0).all(3).all(2), dropped)


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_a_chance_that_is_none_is_refused(p: float) -> None:
    with pytest.raises(UserError, match=r"discriminator\.dropout="):
        dataclasses.replace(DISCRIMINATORS["sngan"].tiny, dropout=p)


def test_keys_of_micro_batches_are_those_of_the_whole_batch() -> None:
    (whole,) = Draws(0, 0, 64, 8, [slice(0, 8)]).keys(OF_D.drop_real)
    parts = Draws(0, 0, 64, 8, [slice(0, 2), slice(2, 8)]).keys(OF_D.drop_real)
    assert torch.equal(whole, torch.cat(parts))
    assert whole.dtype == torch.int64
    others = [Draws(0, *at, 8, [slice(0, 8)]).keys(purpose)[0] for at, purpose in [
        ((0, 64), OF_D.drop_fake), ((0, 64), OF_G.drop_fake), ((1, 64), OF_D.drop_real), ((0, 72), OF_D.drop_real),
    ]]  # fmt: skip
    assert all(not torch.equal(whole, other) for other in others)


def losses(source: Path, folder: Path, **changes: Any) -> tuple[list[dict[str, float]], Any]:
    seen: list[dict[str, float]] = []

    class Listener(Observer):
        def stepped(self, images: int, stats: dict[str, float]) -> None:
            seen.append(stats)

    config = override(tiny_run(source, images=48), {path.replace("__", "."): v for path, v in changes.items()})
    trainer = runs.start(config, "digits", folder, Listener(), CPU, lambda done, total: None)
    trainer.run()
    return seen, trainer


def test_a_run_with_drop_out_is_another_run_and_micro_batches_change_nothing(arrays: Path, tmp_path: Path) -> None:
    on = {"discriminator__dropout": 0.5, "regularizers__d_r1__strength": 1.0, "regularizers__d_r1__interval": 2}
    plain, _ = losses(arrays, tmp_path / "plain", **{**on, "discriminator__dropout": 0.0})
    dropped, _ = losses(arrays, tmp_path / "dropped", **on)
    # Batch norms of G over the whole batch, so that only drop-out could tell micro-batches apart.
    whole, _ = losses(arrays, tmp_path / "whole", **on, accumulate=1)
    split, _ = losses(arrays, tmp_path / "split", **on, accumulate=4, bn_over="batch")
    assert dropped == whole
    assert dropped[0]["d_loss"] != plain[0]["d_loss"]
    for one, other in zip(whole, split, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-4)


def test_every_forward_of_both_updates_and_of_the_rules_has_the_keys_of_its_images(
    arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D's update asks about real and fake images at once, R1 about the real ones again, G's about its fakes."""
    asked: list[tuple[int, Tensor]] = []
    forward = BigGANDiscriminator.forward

    def watched(self: Any, x: Tensor, y: Tensor, keys: Tensor | None = None) -> Tensor:
        assert keys is not None
        asked.append((len(x), keys))
        return forward(self, x, y, keys)

    monkeypatch.setattr(BigGANDiscriminator, "forward", watched)
    on = {"discriminator__dropout": 0.5, "regularizers__d_r1__strength": 1.0, "regularizers__d_r1__interval": 1}
    losses(arrays, tmp_path / "run", **on, d_steps=1, images=8)
    (joint, both), (real, of_real), (fake, of_fake) = asked
    assert (joint, real, fake) == (16, 8, 8)
    assert torch.equal(both[:8], of_real)
    assert len(torch.cat([both, of_fake]).unique()) == 24


def test_a_resumed_run_repeats_its_drop_out(arrays: Path, tmp_path: Path) -> None:
    losses(arrays, tmp_path / "run", discriminator__dropout=0.5, cadence__checkpoint_images=16)
    folder = tmp_path / "run"
    newest, _ = checkpoint.newest(folder / "checkpoints")
    newest.path.unlink()
    again = runs.resume(folder, read_config(folder), Observer(), CPU, lambda done, total: None)
    assert again.images < 48
    assert again.run()
    for name, tensor in checkpoint.load(newest.path).tensors.items():
        assert torch.equal(tensor, newest.tensors[name]), name


def test_modules_that_only_train_are_not_used() -> None:
    """Masks come with their keys: a network in training mode that is given none drops nothing."""
    d = build_discriminator(dataclasses.replace(DISCRIMINATORS["biggan"].tiny, dropout=0.5), 16, 3)
    assert not any(isinstance(module, nn.Dropout) for module in d.modules())
    x, y = torch.randn(2, 3, 16, 16), torch.tensor([0, 1])
    assert torch.equal(d.train()(x, y), d.eval()(x, y))
