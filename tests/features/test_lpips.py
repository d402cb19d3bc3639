"""LPIPS against its formula written out over torchvision's own network."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from orthogan import optional
from orthogan.errors import UserError
from orthogan.features import lpips, weights
from orthogan.game.regularizers.reconstruction import ReconstructionSettings, lpips_distance

TAPS = (3, 8, 15, 22, 29)
"""Indices in VGG16's features: the last ReLU of each of its five stages."""

needs_packages = pytest.mark.skipif(
    not (optional.is_installed("lpips") and optional.is_installed("torchvision")), reason="extra lpips"
)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A VGG16 with random weights, in the place of the published one."""
    from torchvision.models import vgg16

    torch.manual_seed(0)
    network = vgg16(weights=None).eval()
    path = folder / "vgg16-397923af.pth"
    torch.save({name: value for name, value in network.state_dict().items() if "features" in name}, path)
    row = dataclasses.replace(weights.TRUNKS[weights.VGG16], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(weights.TRUNKS, weights.VGG16, row)
    return network.features


def channel_weights() -> list[torch.Tensor]:
    (folder,) = optional.folders("lpips")
    linear = torch.load(folder / "weights" / "v0.1" / "vgg.pth", map_location="cpu")
    return [linear[f"lin{k}.model.1.weight"] for k in range(5)]


@needs_packages
def test_it_is_the_formula_of_the_paper(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = published(hub, monkeypatch)
    made, target = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pair = [((x + 1) / 2 - mean.view(3, 1, 1)) / std.view(3, 1, 1) for x in (made, target)]
    wanted = torch.zeros(2)
    for index, layer in enumerate(features):
        pair = [layer(h) for h in pair]
        if index in TAPS:
            a, b = (F.normalize(h, dim=1) for h in pair)
            of_channel = channel_weights()[TAPS.index(index)]
            wanted += ((a - b) ** 2 * of_channel.view(-1, 1, 1)).sum(1).mean((1, 2))
    found = lpips_distance()(target, made.requires_grad_())
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)
    found.sum().backward()
    assert made.grad is not None
    assert made.grad.abs().sum() > 0


@needs_packages
def test_shapes_alone_need_no_weights(hub: Path) -> None:
    with FakeTensorMode():
        distance = lpips_distance()
        for side in (32, 16, 8):  # of FastGAN's small decoder at 16 pixels, which VGG16 cannot see as it is
            assert distance(torch.rand(2, 3, side, side), torch.rand(2, 3, side, side)).shape == (2,)


@needs_packages
def test_missing_weights_and_those_of_another_network_are_refused(hub: Path) -> None:
    settings = ReconstructionSettings(strength=8.0, distance="lpips")
    with pytest.raises(UserError, match=r"vgg16-397923af\.pth.*put the file there, or take .*distance features"):
        settings.check_present()
    (hub / "vgg16-397923af.pth").write_bytes(b"half a file")
    settings.check_present()
    with pytest.raises(UserError, match="is not the weight file of vgg16"):
        lpips.load()


@needs_packages
def test_a_trunk_of_other_shapes_is_refused(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published(hub, monkeypatch)
    path = hub / "vgg16-397923af.pth"
    torch.save({"features.0.weight": torch.zeros(3)}, path)
    row = dataclasses.replace(weights.TRUNKS[weights.VGG16], sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setitem(weights.TRUNKS, weights.VGG16, row)
    with pytest.raises(UserError, match=r"not VGG16 as torchvision has it: features\.0\.weight"):
        lpips.load()


def test_a_missing_package_names_the_extra(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional, "is_installed", lambda module: module != "lpips")
    with pytest.raises(UserError, match=r"distance='lpips' needs lpips .*pip install 'orthogan\[lpips\]'"):
        ReconstructionSettings(strength=8.0, distance="lpips").check_present()
