"""Anything against anything: by class where both sides have classes, from the cache where nothing has changed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_generator, tiny_run

from orthogan import judging
from orthogan.errors import UserError
from orthogan.features import pretrained
from orthogan.features.pretrained import FeatureNet
from orthogan.judging import Request, classes
from orthogan.metrics import of_data
from orthogan.metrics.titles import TITLES
from orthogan.model import Model, load
from orthogan.training import checkpoint
from orthogan.training.checkpoint import Header


@pytest.fixture(autouse=True)
def counted(tiny: FeatureNet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """The tiny network under every name; the list grows by the number of images it looks at."""
    counts: list[int] = []
    forward = tiny._forward

    def counting(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        counts.append(len(images))
        return forward(images)

    monkeypatch.setattr(tiny, "_forward", counting)
    monkeypatch.setattr(pretrained, "load", lambda name, path=None, device="cpu": tiny)
    monkeypatch.chdir(tmp_path)
    return counts


def bright(n: int, seed: int, colours: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Images of 16 pixels, bright in their upper half and in one colour: which one is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % colours
    images = rng.integers(0, 60, (n, 16, 16, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:8, :, label] = 250 - rng.integers(40)
    return images, labels


def array(name: str, n: int, seed: int, labelled: bool = True) -> str:
    images, labels = bright(n, seed)
    names = {"labels": np.array(["red", "green", "blue"])[labels]} if labelled else {}
    np.savez(name, images=images, **names)
    return name


def folder(name: str, n: int, seed: int) -> str:
    images, labels = bright(n, seed)
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = Path(name) / ("red", "green", "blue")[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i}.png")
    return name


def test_scores_by_class_where_both_sides_have_them_by_name() -> None:
    real, made = array("real.npz", 60, 0), folder("made", 60, 1)
    result = judging.score(Request(source=made, against=real, resamples=100))
    assert result["classes"].keys() == {"red", "green", "blue"}
    assert {of["generated"] for of in result["classes"].values()} == {20}
    assert result["scores"]["intra_frechet_distance"] < 0.1  # numbered otherwise, the colours would be far apart
    low, high = result["intervals"]["intra_frechet_distance"]
    assert low < result["scores"]["intra_frechet_distance"] < high
    assert result["protocol"]["intervals"] == {"level": 0.95, "resamples": 100}
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert {name.removesuffix("_std") for name in result["scores"]} <= TITLES.keys()
    plain = judging.score(Request(source=made, against=real, unconditional=True, resamples=0))
    assert not {"classes", "intervals"} & plain.keys()
    assert plain["scores"]["frechet_distance"] == result["scores"]["frechet_distance"]


def test_images_half_in_class_folders_have_no_classes() -> None:
    made = folder("made", 20, 1)
    Image.fromarray(bright(1, 2)[0][0]).save("made/loose.png")
    result = judging.score(Request(source=made, against=array("real.npz", 60, 0), resamples=0))
    assert result["protocol"]["generated"]["images"] == 21
    assert "classes" not in result


def test_what_was_measured_is_not_measured_again(counted: list[int]) -> None:
    real, made = array("real.npz", 60, 0), folder("made", 60, 1)
    first = judging.score(Request(source=made, against=real))
    assert sum(counted) == 120
    again = judging.score(Request(source=made, against=real))
    assert sum(counted) == 120
    assert again == first
    judging.score(Request(source=real, against=made))  # the other way about
    assert sum(counted) == 120
    judging.score(Request(source=made, against=real, samples=30))
    assert sum(counted) == 150


class FakeCache:
    def __init__(self, labels: list[int] | None, names: list[str]):
        self.labels = None if labels is None else np.array(labels)
        self.class_names, self.n_classes = names, len(names)


@pytest.mark.parametrize(
    ("names", "expected", "told"),
    [
        (["b", "a"], [1, 0, 1], ""),
        (["b", "c"], [1, -1, 1], "classes of the generated images that the real ones lack: c"),
        (["x", "y"], None, "no class of the generated images (x, y) is one of the real ones (a, b)"),
        (["0", "1"], [0, 1, 0], ""),
        (["0", "2"], None, "no class of the generated images (0, 2)"),
        ([], [0, 1, 0], ""),
    ],
)
def test_classes_are_matched_by_name(names: list[str], expected: list[int] | None, told: str) -> None:
    labels, notes = classes.matched(np.array([0, 1, 0]), names, FakeCache([0, 1], ["a", "b"]))  # type: ignore[arg-type]
    assert (None if labels is None else labels.tolist()) == expected
    assert told in "".join(notes)
    assert bool(notes) == bool(told)


def test_sides_without_classes_are_not_matched() -> None:
    assert classes.matched(None, [], FakeCache([0, 1], ["a", "b"])) == (None, [])  # type: ignore[arg-type]
    assert classes.matched(np.array([0]), ["a"], FakeCache(None, [])) == (None, [])  # type: ignore[arg-type]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"VIEWS": 480, "BATCH": 16, "LEAST_SIDE": 32}.items():
        monkeypatch.setattr(of_data, name, value)


def test_each_side_s_classifier_knows_the_other_s_classes(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = array("real.npz", 60, 0), array("made.npz", 60, 1)
    request = Request(source=made, against=real, accuracy=True, resamples=100)
    result = judging.score(request)
    assert result["scores"]["conditional_accuracy"] > 0.9
    assert result["scores"]["classification_accuracy_score"] > 0.9
    assert result["intervals"]["conditional_accuracy"][0] < result["scores"]["conditional_accuracy"]
    assert result["protocol"]["accuracy"]["of_generated"]["trained_on"] == "classes"
    monkeypatch.setattr(of_data, "_train", None)  # both are kept: to train again would be a TypeError
    assert judging.score(request)["scores"] == result["scores"]


class Says(torch.nn.Module):
    """Every image is of one class."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = torch.zeros(len(images), 3)
        logits[:, self.label] = 1
        return torch.zeros(len(images), 4), logits


def test_each_classifier_is_asked_about_the_other_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of the 60 real images says 0 and the one of the 45 generated ones 1."""

    def load(images: Any, *_: object) -> FeatureNet:
        module = Says(0 if len(images) == 60 else 1)
        return FeatureNet("data", module, weights_sha256=str(module.label), resize="none", feature_dim=4)

    monkeypatch.setattr(of_data, "load", load)
    names = np.array(["red", "green", "blue"])
    np.savez("real.npz", images=bright(60, 0)[0], labels=names[np.repeat([0, 1, 2], [10, 20, 30])])
    np.savez("made.npz", images=bright(45, 1)[0], labels=names[np.repeat([0, 1, 2], [27, 9, 9])])
    result = judging.score(Request(source="made.npz", against="real.npz", accuracy=True, resamples=0))
    classes = sorted(names)
    assert (classes[0], classes[1]) == ("blue", "green")  # labels are in the order of the names
    assert result["scores"]["conditional_accuracy"] == 9 / 45
    assert result["scores"]["classification_accuracy_score"] == 20 / 60
    assert [result["protocol"]["accuracy"][f"of_{side}"]["weights_sha256"] for side in ("real", "generated")] == [
        "0",
        "1",
    ]


def test_accuracy_without_classes_is_refused_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_data, "load", None)
    real, plain = array("real.npz", 60, 0), array("plain.npz", 60, 1, labelled=False)
    with pytest.raises(UserError, match=r"accuracy=True: not every image of plain\.npz has one of the 3 classes"):
        judging.score(Request(source=plain, against=real, accuracy=True))
    with pytest.raises(UserError, match=r"accuracy=True: plain\.npz has no two classes"):
        judging.score(Request(source=real, against=plain, accuracy=True))
    with pytest.raises(UserError, match="leave unconditional out"):
        Request(source=plain, against=real, accuracy=True, unconditional=True)


@pytest.fixture
def made_by(tmp_path: Path) -> Path:
    """A checkpoint of three named classes that has learnt nothing."""
    array("real.npz", 60, 0)
    return generator(tmp_path / "a.safetensors")


def generator(path: Path, seed: int = 0, **changes: Any) -> Path:
    torch.manual_seed(seed)
    tensors = {f"ema.{k}": v for k, v in tiny_generator().state_dict().items()}
    config = tiny_run(path.parent / "real.npz", seed=seed, **changes)
    checkpoint.save(path, tensors, Header(config, 5, 1, {"class_names": ["blue", "green", "red"]}))
    return path


def test_a_generator_is_scored_by_class(made_by: Path) -> None:
    result = judging.score(Request(source=str(made_by), against="real.npz", samples=60, resamples=0))
    drawn = {name: of["generated"] for name, of in result["classes"].items()}
    assert sum(drawn.values()) == 60
    assert min(drawn.values()) > 10
    assert result["protocol"]["generator"]["run_seed"] == 0


def test_a_generator_is_a_reference_too(made_by: Path, tmp_path: Path) -> None:
    itself = judging.score(Request(source=str(made_by), against=str(made_by), samples=200, resamples=0))
    assert itself["protocol"]["real"]["images"] == 200
    assert itself["protocol"]["real"]["seed"] == 1
    other = generator(tmp_path / "b.safetensors", seed=1)
    apart = judging.score(Request(source=str(other), against=str(made_by), samples=200, resamples=0))
    assert 0 < itself["scores"]["frechet_distance"] < apart["scores"]["frechet_distance"]
    images = judging.score(Request(source="real.npz", against=str(made_by), resamples=0))
    assert images["protocol"]["real"]["images"] == 60
    with pytest.raises(UserError, match=r"crop='top': no effect on a generator's images"):
        Request(source="real.npz", against=str(made_by), crop="top")
    with pytest.raises(UserError, match=r"16 pixels a side, those of real\.npz 8"):
        judging.score(Request(source="real.npz", against=str(made_by), resolution=8))


def test_runs_of_one_setting_tell_so(made_by: Path, tmp_path: Path) -> None:
    paths = [made_by, generator(tmp_path / "b.safetensors", seed=1), generator(tmp_path / "c.safetensors", batch=4)]
    stamps = [
        judging.score(Request(source=str(path), against="real.npz", samples=20, resamples=0))["protocol"]["generator"]
        for path in paths
    ]
    assert stamps[0]["settings"] == stamps[1]["settings"] != stamps[2]["settings"]
    assert [stamp["run_seed"] for stamp in stamps] == [0, 1, 0]


def test_a_branch_and_a_fine_tuned_run_say_what_they_began_from(tmp_path: Path) -> None:
    array("real.npz", 60, 0)
    begun = {"images": 5, "checksum": "abc", "taken": ["generator"]}
    parents = {
        "plain": None,
        "one": {**begun, "checkpoint": "/here/x", "changed": {"seed": [0, 1]}},
        "moved": {**begun, "checkpoint": "/there/x", "changed": {"seed": [0, 2]}},
        "other": {**begun, "checkpoint": "/here/x", "checksum": "abd"},
        "otherwise": {**begun, "checkpoint": "/here/x", "init": {"classes": "fresh"}},
    }
    told = {}
    for name, parent in parents.items():
        path = generator(tmp_path / f"{name}.safetensors")
        found = checkpoint.load(path)
        extra = found.header.extra | ({} if parent is None else {"parent": parent})
        checkpoint.save(path, found.tensors, Header(found.header.config, 5, 1, extra))
        result = judging.score(Request(source=str(path), against="real.npz", samples=20, resamples=0))
        told[name] = result["protocol"]["generator"].get("parent")
    assert told["plain"] is None
    assert told["one"] == told["moved"]
    assert len(set(told.values())) == 4


def test_a_generator_as_reference_is_drawn_only_where_it_has_not_been_measured(
    made_by: Path, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orthogan.runtime.git_commit", lambda: None)
    request = Request(source="real.npz", against=str(made_by), resamples=0)
    first = judging.score(request)
    assert sum(counted) == 60 + 60
    monkeypatch.setattr(Model, "stream", None)  # to draw would be a TypeError
    assert judging.score(request) == first
    assert sum(counted) == 60 + 60


def test_a_classifier_is_trained_on_the_images_of_a_generator(small: None, made_by: Path) -> None:
    """Where pixels are needed, they are those that were measured."""
    images = load(made_by, "cpu").sample(60, seed=1)
    np.savez("drawn.npz", images=images, labels=load(made_by, "cpu").sampler.labels(60, None, 1).numpy())
    asked = {"source": "real.npz", "features": "data", "resamples": 0}
    scores = [judging.score(Request(against=a, **asked))["scores"] for a in (str(made_by), "drawn.npz")]
    assert "frechet_distance" in scores[1]
    assert scores[1].items() <= scores[0].items()  # the array has numbers where the generator has names of classes
