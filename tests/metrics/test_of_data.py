"""The feature network that is trained on the real images themselves."""

from pathlib import Path

import numpy as np
import pytest
import torch

from orthogan.data.config import DataConfig
from orthogan.metrics import of_data
from orthogan.metrics.evaluate import Scorer

CLASSES = 3


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"VIEWS": 640, "BATCH": 16, "LEAST_SIDE": 32}.items():
        monkeypatch.setattr(of_data, name, value)


def bright() -> tuple[np.ndarray, np.ndarray]:
    """48 images of 16 pixels, bright in their upper half and in one colour: which one is the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(48) % CLASSES
    images = rng.integers(0, 60, (48, 16, 16, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:8, :, label] = 250
    return images, labels


def test_it_learns_the_labels_and_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = bright()
    net = of_data.load(images, labels, "one")
    assert net.facts["trained_on"] == "classes"
    assert net.facts["held_out_accuracy"] > 0.9
    features, logits = net(images[:5])
    assert features.shape == (5, 512)
    assert logits.argmax(1).tolist() == labels[:5].tolist()
    monkeypatch.setattr(of_data, "_train", None)  # to train again would be a TypeError
    again = of_data.load(images, labels, "one")
    assert again.weights_sha256 == net.weights_sha256
    assert again.facts == net.facts
    assert torch.equal(again(images[:5])[0], features)
    with pytest.raises(TypeError):
        of_data.load(images, labels, "another")


def test_without_labels_it_learns_which_way_up_images_are() -> None:
    images, _ = bright()
    net = of_data.load(images, None, "one")
    assert net.facts["trained_on"] == "rotations"
    assert net.facts["held_out_accuracy"] > 0.9
    turned = np.rot90(images[:8], 2, (1, 2)).copy()
    told = net(np.concatenate([images[:8], turned]))[1].argmax(1).tolist()
    assert told == [0] * 8 + [2] * 8


def test_a_tenth_of_the_images_is_held_out_and_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = bright()
    asked: list[set[int]] = []
    task = of_data._task

    def noted(images: np.ndarray, labels: np.ndarray, rows: np.ndarray, source: torch.Generator) -> object:
        asked.append(set(rows.tolist()))
        return task(images, labels, rows, source)

    monkeypatch.setattr(of_data, "_task", noted)
    of_data.load(images, labels, "one")
    *trained, held_out = asked
    assert len(held_out) == 5
    assert set.union(*trained) == set(range(48)) - held_out


def test_damaged_weights_are_trained_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_data, "VIEWS", 32)
    images, labels = bright()
    first = of_data.load(images, labels, "one")
    (file,) = (tmp_path / "cache" / "networks").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:1000])
    assert of_data.load(images, labels, "one").weights_sha256 == first.weights_sha256


def test_scores_tell_what_it_was_trained_on() -> None:
    images, labels = bright()
    scorer = Scorer("data", images, "one", labels=labels)
    result = scorer.score([images], seed=0)
    told = result["protocol"]["features"]
    assert (told["network"], told["trained_on"], told["dimensions"]) == ("data", "classes", 512)
    assert result["scores"]["frechet_distance"] < 1e-3
    noise = np.random.default_rng(1).integers(0, 256, images.shape, dtype=np.uint8)
    assert scorer.score([noise], seed=0)["scores"]["frechet_distance"] > 1


def test_one_class_tells_nothing_apart_and_rotations_are_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_data, "VIEWS", 16)
    images, _ = bright()
    assert of_data.load(images, np.zeros(len(images), np.int64), "one").facts["trained_on"] == "rotations"


def test_labels_are_read_for_this_network_alone() -> None:
    data = DataConfig(source="somewhere", unconditional=True)
    assert not of_data.data_for("data", data).unconditional
    assert of_data.data_for("inception", data) == data
