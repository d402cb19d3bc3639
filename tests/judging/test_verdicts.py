"""What a discriminator says of images."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tiny import tiny_run

from orthogan import runs
from orthogan.data.config import DataConfig
from orthogan.errors import UserError
from orthogan.game.losses import LOSSES
from orthogan.judging import verdicts
from orthogan.networks import DISCRIMINATORS
from orthogan.settings import override
from orthogan.training import checkpoint
from orthogan.training.observer import Observer

CPU = torch.device("cpu")


def config_of(source: Path, discriminator: str, **changes: Any) -> Any:
    begun = dataclasses.replace(
        tiny_run(source, data=DataConfig(source=str(source), hold_out=0.25), images=16),
        discriminator=DISCRIMINATORS[discriminator].tiny,
    )
    return override(begun, changes)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_every_discriminator_is_read_from_a_checkpoint_and_asked(name: str, arrays: Path, tmp_path: Path) -> None:
    """Against its own forwards over micro-batches, the last filled up, as the trainer's network gives them."""
    trainer = runs.start(config_of(arrays, name), "digits", tmp_path / "run", Observer(), CPU, lambda *_: None)
    trainer.run()
    found = checkpoint.newest(tmp_path / "run" / "checkpoints")[0]
    network = verdicts.discriminator_of(found, CPU)
    own = trainer.game.d.network
    own.train()
    cache, rows = trainer.cache, np.arange(11)
    before = network.train(False).training
    said = verdicts.mean_logits(network, trainer.config, cache.checked, cache.labels, rows)
    assert network.training == before
    assert cache.labels is not None
    images = torch.from_numpy(cache.checked[np.arange(11)]).permute(0, 3, 1, 2).float() / 127.5 - 1
    labels = torch.from_numpy(cache.labels[:11])
    chunks = [torch.arange(8), torch.tensor([8, 9, 10, 0, 1, 2, 3, 4])]
    with torch.no_grad():
        logits = torch.cat([own(images[chunk], labels[chunk]) for chunk in chunks])[:11]
    assert said == pytest.approx(logits.flatten(1).mean(1).numpy() if logits.ndim > 1 else logits.numpy(), abs=1e-5)


def test_images_of_a_dequantised_run_are_scaled_as_in_training(arrays: Path) -> None:
    class Mean(torch.nn.Module):
        weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
            return x.mean((1, 2, 3))

        def parameters(self, recurse: bool = True) -> Any:
            return iter([self.weight])

    grey = np.full((2, 16, 16, 3), 127, np.uint8)
    for dequantize, expected in ((False, 127 / 127.5 - 1), (True, 127.5 / 128 - 1)):
        config = config_of(arrays, "biggan", **{"data.dequantize": dequantize})
        said = verdicts.mean_logits(Mean(), config, grey, np.zeros(2, int), np.arange(2))  # type: ignore[arg-type]
        assert said == pytest.approx([expected] * 2)


@pytest.mark.parametrize(("loss", "share"), [("hinge", 0.75), ("least-squares", 0.5), ("wasserstein", None)])
def test_share_of_images_taken_for_real(loss: str, share: float | None, arrays: Path) -> None:
    """Of the logits -1, 0.4, 0.6 and 3; least squares draws the line in the middle of its labels 0 and 1."""
    said = verdicts.describe(np.array([-1, 0.4, 0.6, 3]), config_of(arrays, "biggan", loss=loss))
    assert said["share_real"] == share
    assert said["mean_logit"] == 0.75
    assert ("share_real_interval" in said) == (share is not None)


def test_logits_that_are_no_numbers_are_not_those_of_generated_images(arrays: Path, tmp_path: Path) -> None:
    diverged = np.array([1.0, np.nan, np.inf])
    assert verdicts.share_real(diverged, config_of(arrays, "biggan")) is None
    with pytest.raises(UserError, match=r"run\.safetensors has diverged: its logits of 2 of 3 images are no numbers"):
        verdicts.require_numbers(diverged, Path("run.safetensors"))
    verdicts.require_numbers(diverged[:1], Path("run.safetensors"))


def test_every_loss_that_pairs_images_draws_no_line() -> None:
    assert all(loss.boundary is None for loss in LOSSES.values() if loss.paired)


def test_auc_is_the_share_of_pairs() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.5, 1, 30).round(1), rng.normal(0, 1, 50).round(1)
    pairs = np.mean([(x > y) + 0.5 * (x == y) for x in a for y in b])
    assert verdicts.auc(a, b) == pytest.approx(pairs)
    assert verdicts.auc(a, b) == pytest.approx(stats.mannwhitneyu(a, b).statistic / (30 * 50))


def test_separation_of_what_is_alike_and_of_what_is_not() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 200), rng.normal(0, 1, 300)
    alike = verdicts.separation(a, b, seed=0)
    assert alike["auc_interval"][0] < 0.5 < alike["auc_interval"][1]
    assert alike["gap_interval"][0] < 0 < alike["gap_interval"][1]
    apart = verdicts.separation(a + 1, b, seed=0)
    assert apart["auc_interval"][0] > 0.5
    assert apart["gap"] == pytest.approx(a.mean() + 1 - b.mean())
    # The closed form of the interval of a difference of means.
    half = 1.96 * np.sqrt(a.var() / 200 + b.var() / 300)
    assert apart["gap_interval"] == pytest.approx([apart["gap"] - half, apart["gap"] + half], abs=0.04)
    assert apart == verdicts.separation(a + 1, b, seed=0)
