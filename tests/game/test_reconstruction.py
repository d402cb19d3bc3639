"""FastGAN's reconstruction of real images, as a rule of D."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from moments import moment_of
from tiny import tiny_run
from torch import Tensor

from orthogan import runs
from orthogan.errors import UserError
from orthogan.features import weights
from orthogan.game.moment import Moment
from orthogan.game.regularizers import RULES, RegularizerConfig, of_players
from orthogan.game.regularizers.reconstruction import (
    FEATURES,
    FeatureDistance,
    Reconstruction,
    ReconstructionSettings,
    l1,
)
from orthogan.networks.fastgan_discriminator import FastGANDiscriminator, FastGANDiscriminatorConfig
from orthogan.training import checkpoint
from orthogan.training.estimate import estimate
from orthogan.training.logs import read_config
from orthogan.training.trainer import Observer

CPU = torch.device("cpu")
DECODING = FastGANDiscriminatorConfig(width=2, decoders=True)
has_features = pytest.mark.skipif(not weights.present(FEATURES), reason="the feature network's weights are not here")


class Echo:
    """Makes of each image its double, its double again, and half of the number of its part."""

    def reconstruct(self, x: Tensor, parts: Tensor) -> list[tuple[Tensor, Tensor]]:
        of_part = (parts / 2).view(-1, 1, 1, 1).expand_as(x)
        return [(x, 2 * x), (x, 2 * x), (torch.zeros_like(x), of_part)]


def moment(judge: Any, real: Tensor, uniform: Tensor, **more: Any) -> Moment:
    return moment_of(discriminator=judge, real=real, uniform=uniform, **more)


def of_pixels(strength: float) -> Reconstruction:
    return Reconstruction(ReconstructionSettings(strength=strength, distance="l1"))


def test_the_sum_of_three_distances_by_hand() -> None:
    """Images of 1 and -3; parts 1 and 3: 5 ((1 + 1) + 0.5) and 5 ((3 + 3) + 1.5)."""
    x = torch.tensor([1.0, -3.0]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
    terms = of_pixels(5.0).on_loss(moment(Echo(), x, torch.tensor([0.25, 0.999])))
    torch.testing.assert_close(terms, torch.tensor([12.5, 37.5]))


def test_each_quadrant_is_drawn_as_often() -> None:
    x = torch.zeros(100, 3, 1, 1)
    terms = of_pixels(2.0).on_loss(moment(Echo(), x, (torch.arange(100) + 0.5) / 100))
    assert [int((terms == part).sum()) for part in range(4)] == [25] * 4


def test_it_is_of_real_images_as_d_sees_them() -> None:
    x = torch.ones(2, 3, 1, 1)
    seen = moment(Echo(), x, torch.zeros(2), augment=lambda images: images + 2)
    torch.testing.assert_close(of_pixels(1.0).on_loss(seen), torch.tensor([6.0, 6.0]))


def test_l1_by_hand() -> None:
    made = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 0.0]]]])
    assert l1(torch.tensor([[[[0.0, -1.0]]], [[[0.0, 1.0]]]]), made).tolist() == [2.0, 0.5]


def test_distance_of_features_by_hand() -> None:
    """Of pixels themselves and of these twice: (3, 4) is (0.6, 0.8) from (1, 0) by 0.16 + 0.64, length left out."""
    distance = FeatureDistance(lambda x: [x, 2 * x])
    made = torch.tensor([[[[3.0, 1.0]], [[4.0, 0.0]]]])
    target = torch.tensor([[[[1.0, 5.0]], [[0.0, 0.0]]]])
    torch.testing.assert_close(distance(target, made), torch.tensor([0.8 / 2]))


def test_distance_of_features_is_a_mean_over_maps_of_any_size() -> None:
    first, second = (torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side)) for side in (4, 2))
    both = FeatureDistance(lambda x: [first * x, second * x])
    alone = [FeatureDistance(lambda x, h=h: [h * x])(-torch.ones(()), torch.ones(())) for h in (first, second)]
    torch.testing.assert_close(both(-torch.ones(()), torch.ones(())), (alone[0] + alone[1]) / 2)
    torch.testing.assert_close(alone[0], torch.full((2,), 4.0))  # opposite directions


def trained_by(rule: Any, resolution: int = 32) -> set[str]:
    """The parameters of a discriminator that the rule's terms reach."""
    torch.manual_seed(0)
    d = FastGANDiscriminator(DECODING, resolution, 0)
    x = torch.rand(3, 3, resolution, resolution) * 2 - 1
    terms = rule.on_loss(moment(d, x, torch.rand(3)))
    assert terms.shape == (3,)
    terms.mean().backward()
    return {name for name, p in d.named_parameters() if p.grad is not None and p.grad.any()}


HEADS = {"joint.0.weight", "joint.1.weight", "joint.1.bias", "head.conv.weight", "small_head.conv.weight"}


@pytest.mark.parametrize("resolution", [16, 64])
def test_the_gradient_reaches_decoders_and_what_d_sees_with(resolution: int) -> None:
    every = {name for name, _ in FastGANDiscriminator(DECODING, resolution, 0).named_parameters()}
    assert trained_by(of_pixels(1.0), resolution) == every - HEADS


@has_features
def test_the_gradient_passes_through_pretrained_features() -> None:
    found = trained_by(Reconstruction(ReconstructionSettings(strength=1.0)))
    assert "decoder.to_rgb.weight" in found
    assert "stem.0.weight" in found


@has_features
def test_pretrained_features_tell_more_from_less_alike() -> None:
    torch.manual_seed(0)
    distance = Reconstruction(ReconstructionSettings(strength=1.0)).distance
    x, noise = torch.rand(2, 3, 64, 64) * 2 - 1, torch.randn(2, 3, 64, 64)
    near, far = distance(x, x + 0.05 * noise), distance(x, x + 0.5 * noise)
    assert (near > 0).all()
    assert (near < far).all()
    torch.testing.assert_close(distance(x, x), torch.zeros(2))


def config_of(source: Path, distance: str, **changes: Any) -> Any:
    rule = RegularizerConfig(d_reconstruction=ReconstructionSettings(strength=8.0, distance=distance))  # type: ignore[arg-type]
    begun: dict[str, Any] = {"discriminator": DECODING, "regularizers": rule, "images": 32, "n_classes": 10}
    return dataclasses.replace(tiny_run(source), **(begun | changes))


@pytest.mark.parametrize("distance", ["l1", pytest.param("features", marks=has_features)])
def test_a_run_with_decoders_trains_all_of_them_and_goes_on_from_a_checkpoint(
    tmp_path: Path, arrays: Path, distance: str
) -> None:
    """Two steps, the second of them again from the checkpoint of the first."""
    cadence = dataclasses.replace(tiny_run().cadence, checkpoint_images=16)
    config, folder = config_of(arrays, distance, cadence=cadence), tmp_path / "run"
    runs.start(config, "digits", folder, Observer(), CPU, lambda done, total: None).run()
    newest, _ = checkpoint.newest(folder / "checkpoints")
    newest.path.unlink()
    assert runs.resume(folder, read_config(folder), Observer(), CPU, lambda done, total: None).run()
    again = checkpoint.load(newest.path).tensors
    assert all(torch.equal(tensor, newest.tensors[name]) for name, tensor in again.items())
    assert "discriminator.part_decoder.to_rgb.weight" in again


def test_a_dry_run_counts_it_without_weights(arrays: Path) -> None:
    pytest.importorskip("timm")
    needs = estimate(config_of(arrays, "features", batch=2, d_steps=1), "float32", CPU)
    with torch.device("meta"):
        d = FastGANDiscriminator(DECODING, 16, 10)
    assert needs.d_parameters == sum(p.numel() for p in d.parameters())
    # EfficientNet-lite0's 0.8 GFLOP at 224 pixels, on six images of 32.
    assert needs.step_flops > 6 * 0.8e9 * (32 / 224) ** 2


def test_it_goes_with_decoders_and_decoders_with_it(arrays: Path) -> None:
    assert RULES["d_reconstruction"].needs == "reconstructions"
    with pytest.raises(UserError, match=r"d_reconstruction.strength=8.0: needs a discriminator that has reconstr"):
        config_of(arrays, "l1", discriminator=FastGANDiscriminatorConfig(width=2))
    with pytest.raises(UserError, match=r"d_reconstruction.strength=0.0: must be positive, for nothing else trains"):
        config_of(arrays, "l1", regularizers=RegularizerConfig())


def test_settings() -> None:
    with pytest.raises(UserError, match=r"d_reconstruction.distance='l1': has no effect"):
        RegularizerConfig(d_reconstruction=ReconstructionSettings(distance="l1"))
    config = RegularizerConfig(d_reconstruction=ReconstructionSettings(strength=3.0, distance="l1"))
    _, rules = of_players(config)
    rule = rules["d_reconstruction"]
    assert isinstance(rule, Reconstruction)
    assert (rule.settings.strength, rule.distance) == (3.0, l1)
