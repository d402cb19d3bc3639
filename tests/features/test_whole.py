"""Any network of timm's as a feature network: what it sees, what it gives, and which weights are let in."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from orthogan.errors import UserError
from orthogan.features import pretrained, weights
from orthogan.features.pretrained import CLIP
from orthogan.features.whole import WholeImages

timm = pytest.importorskip("timm")

NAME = "test_vit3.r160_in1k"


def saved(name: str, path: Path, **how: object) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = timm.create_model(name, **how).eval()
    if path.suffix == ".safetensors":
        save_file(body.state_dict(), path)
    else:
        torch.save(body.state_dict(), path)
    return body


def noise(n: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_images_are_resized_and_normalised_as_the_network_learnt(suffix: str, tmp_path: Path) -> None:
    body = saved(NAME, tmp_path / f"w.{suffix}")
    net = pretrained.load(f"timm:{NAME}", tmp_path / f"w.{suffix}")
    images = noise(2, 200)
    x = F.interpolate(torch.from_numpy(images).permute(0, 3, 1, 2).float(), (160, 160), mode="bicubic", antialias=True)
    mean, std = (torch.tensor(body.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    with torch.inference_mode():
        expected = body((x.clamp(0, 255) / 255 - mean) / std)
    features, logits = net(images)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert features.shape == (2, net.feature_dim)
    assert net.resize == "bicubic, antialiased, to 160x160 in float32, clamped to 0..255 (PyTorch)"
    assert net.facts["mean"] == [float(v) for v in body.pretrained_cfg["mean"]]
    again = pretrained.load(f"timm:{NAME}", tmp_path / f"w.{suffix}")
    assert net.weights_sha256 == again.weights_sha256


def test_the_digest_is_of_the_weights_and_not_of_the_file(tmp_path: Path) -> None:
    for suffix in ("safetensors", "pth"):
        saved("test_resnet", tmp_path / f"w.{suffix}")
    one, other = (pretrained.load("timm:test_resnet", tmp_path / f"w.{suffix}") for suffix in ("safetensors", "pth"))
    assert one.weights_sha256 == other.weights_sha256
    assert one.resize.startswith("bilinear")


def test_a_network_without_classes_has_no_logits() -> None:
    net = WholeImages(timm.create_model("test_vit3", num_classes=0)).eval()
    features, logits = net(torch.zeros(2, 3, 32, 32, dtype=torch.uint8))
    assert (features.shape[0], logits.shape) == (2, (2, 0))


def test_of_clip_the_features_are_those_that_it_compares_with_text(tmp_path: Path) -> None:
    name = "vit_xsmall_patch16_clip_224.tinyclip_yfcc15m"
    body = saved(name, tmp_path / "w.safetensors", num_classes=512)
    net = pretrained.load(f"timm:{name}", tmp_path / "w.safetensors")
    assert net.facts["embedding"] == CLIP
    features, logits = net(noise(1, 224))
    x = (torch.from_numpy(noise(1, 224)).permute(0, 3, 1, 2) / 255 - net._module._mean) / net._module._std
    with torch.inference_mode():
        torch.testing.assert_close(features, body(x), rtol=1e-3, atol=1e-4)
    assert (features.shape, logits.shape) == ((1, 512), (1, 0))


def test_an_unknown_network_names_the_nearest() -> None:
    with pytest.raises(UserError, match="'timm:resnet5O' is no network of timm's; did you mean 'timm:resnet50'"):
        pretrained.load("timm:resnet5O")


def test_weights_of_another_network_are_refused_in_one_line(tmp_path: Path) -> None:
    saved("test_resnet", tmp_path / "w.pth")
    with pytest.raises(UserError, match=f"not the weights of timm:{NAME}") as error:
        pretrained.load(f"timm:{NAME}", tmp_path / "w.pth")
    assert "\n" not in str(error.value)
    for name, content in (("torn.pth", b"PK\x03\x04 half"), ("torn.safetensors", b"x"), ("torn.npz", b"x")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="not the weights of"):
            pretrained.load(f"timm:{NAME}", tmp_path / name)


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    with pytest.raises(UserError, match="not the weights of"):
        pretrained.load(f"timm:{NAME}", tmp_path / "module.pth")


def test_weights_that_the_hub_does_not_give_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        UserError, match=r"neither in timm's cache nor to be had from its hub .*--weights PATH"
    ) as error:
        pretrained.load(f"timm:{NAME}")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.pth' is no file; correct --weights"):
        weights.check_scoring(f"timm:{NAME}", tmp_path / "nowhere.pth")
