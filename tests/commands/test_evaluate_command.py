"""`orthogan evaluate`, with a tiny feature network and, where one is needed, a made-up generator."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from orthogan import model
from orthogan.commands.evaluate import main
from orthogan.data.config import DataConfig
from orthogan.errors import UserError
from orthogan.features import pretrained, weights
from orthogan.features.pretrained import FeatureNet
from orthogan.judging import generated


@pytest.fixture(autouse=True)
def workplace(tiny: FeatureNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder, and the tiny network under the name of the usual one."""
    tiny.name = "efficientnet-lite0"
    monkeypatch.setattr(pretrained, "load", lambda name, path=None, device="cpu": tiny)
    monkeypatch.setattr(weights, "locate", lambda name, given=None: Path("nowhere"))
    monkeypatch.chdir(tmp_path)


def noise(n: int, seed: int, side: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def folder(name: str, images: np.ndarray) -> str:
    Path(name).mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(f"{name}/{i}.png")
    return name


def read(path: str | Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(Path(path).read_text())
    return result


def written(beginning: str, folder: str | Path = ".") -> dict[str, Any]:
    """The only file of scores of a name, which ends with eight digits of its protocol."""
    (path,) = Path(folder).glob(f"{beginning}-{'[0-9a-f]' * 8}.json")
    return read(path)


def test_a_folder_is_scored_against_a_folder_twice_alike(capsys: pytest.CaptureFixture[str]):
    made, real = folder("made", noise(20, 0)), folder("real", noise(30, 1, side=16))
    assert main([made, "--against", real]) == 0
    first = written("scores-made-efficientnet-lite0-n20")
    assert main([made, "--against", real, "--out", "again/scores.json"]) == 0
    assert first == read("again/scores.json")
    assert first["protocol"]["generated"] == {
        "images": 20,
        "source": "made",
        "fingerprint": first["protocol"]["generated"]["fingerprint"],
        "of": 20,
    }
    assert first["protocol"]["real"]["size"] == [8, 8]
    assert first["protocol"]["real"]["resize"] == "area"
    printed = capsys.readouterr().out
    assert "made: 20 generated against 30 real images, over efficientnet-lite0" in printed
    assert "Fréchet distance" in printed
    assert "scores-made-efficientnet-lite0-n20-" in printed
    assert "95 % interval" in printed


def test_scores_against_another_reference_of_equal_size_do_not_overwrite_the_first(capsys: pytest.CaptureFixture[str]):
    made, real, other = folder("made", noise(20, 0)), folder("real", noise(30, 1)), folder("other", noise(30, 2))
    for reference in (real, other, other, real):
        assert main([made, "--against", reference]) == 0
    found = [read(path)["protocol"]["real"]["source"] for path in Path().glob("scores-made-*-n20-*.json")]
    assert sorted(found) == ["other", "real"]
    Path("mine.json").write_text("something else")
    assert main([made, "--against", real, "--out", "mine.json"]) == 0
    assert Path("mine.json").read_text() == "something else"
    assert read("mine-2.json")["protocol"]["real"]["source"] == "real"
    told = capsys.readouterr().out
    assert "mine.json holds a score by another protocol, and stays" in told
    assert "scores and protocol: mine-2.json" in told


def test_an_array_file_is_a_set_of_images():
    np.savez("made.npz", images=noise(20, 0))
    folder("real", noise(20, 1))
    assert main(["made.npz", "--against", "real", "-n", "12", "--real", "15", "--seed", "3"]) == 0
    protocol = written("scores-made-efficientnet-lite0-n12-s3")["protocol"]
    assert protocol["generated"]["images"] == 12
    assert protocol["generated"]["of"] == 20
    assert protocol["real"]["images"] == 15
    assert protocol["settings"]["seed"] == 3


def test_images_of_several_sizes_need_a_resolution():
    folder("made", noise(20, 0))
    Image.fromarray(noise(1, 0, side=12)[0]).save("made/wide.png")
    folder("real", noise(20, 1))
    with pytest.raises(UserError, match=r"8x8, 12x12.*--resolution"):
        main(["made", "--against", "real"])
    assert main(["made", "--against", "real", "--resolution", "4"]) == 0
    assert written("scores-made-efficientnet-lite0-n21")["protocol"]["real"]["size"] == [4, 4]


def test_more_images_than_there_are_cannot_be_scored():
    folder("made", noise(20, 0))
    with pytest.raises(UserError, match="samples=21: made holds 20 images"):
        main(["made", "--against", "made", "-n", "21"])


def test_truncation_of_images_is_refused():
    with pytest.raises(UserError, match=r"truncation=0\.5"):
        main(["made", "--against", "real", "--truncation", "0.5"])


class MadeUpModel:
    """Learnt from data that were read with settings of their own."""

    resolution = 8
    header = SimpleNamespace(
        config=SimpleNamespace(
            data=DataConfig(source="elsewhere", crop="stretch"),
            fake_classes="uniform",
            n_classes=0,
            seed=5,
            generator=SimpleNamespace(remarks=()),
            discriminator=SimpleNamespace(features_seen="resnet18", remarks=("the features of D are random",)),
        ),
        extra={},
    )
    class_names: tuple[str, ...] = ()

    def check(self, *what: object) -> None:
        """All can be drawn."""

    def stand(self, truncation: float | None, form: str) -> None:
        self.truncation = truncation

    def identity(self, truncation: float | None, form: str) -> None:
        """Nothing tells."""

    def stream(
        self, n: int, *, classes: list[int] | None, truncation: float | None, form: str, seed: int, first: int
    ) -> Iterator[torch.Tensor]:
        assert first == 0
        yield from torch.from_numpy(noise(n, seed)).split(7)

    def describe(self) -> dict[str, Any]:
        return {"checkpoint": "000200.safetensors", "images_seen": 200, "truncation": self.truncation}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder, and a generator in place of what its checkpoint would hold."""
    path = Path("run").absolute()
    (path / "checkpoints").mkdir(parents=True)
    (path / "checkpoints" / "000200.safetensors").touch()
    (path / "config.json").touch()
    monkeypatch.setattr(model, "load", lambda path, device: MadeUpModel())
    monkeypatch.setattr(generated, "_settings_of", lambda config: "0123456789ab")
    return path


@pytest.mark.parametrize("which", ["", "checkpoints/000200.safetensors"])
def test_a_run_is_scored_and_leaves_its_file_in_the_run_folder(run: Path, which: str):
    folder("real", noise(20, 1, side=16))
    argv = [str(run / which), "--against", "real", "-n", "25", "--truncation", "0.5", "--seed", "2"]
    assert main(argv) == 0
    result = written("scores-efficientnet-lite0-200-n25-t0.5-s2", run)
    assert "the features of D are random" in result["notes"]
    assert "looked through resnet18" in result["notes"][-1]
    protocol = result["protocol"]
    assert protocol["generator"] == {
        "checkpoint": "000200.safetensors",
        "images_seen": 200,
        "truncation": 0.5,
        "seed": 2,
        "settings": "0123456789ab",
        "run_seed": 5,
    }
    assert protocol["generated"]["images"] == 25
    assert protocol["real"]["source"] == "real"
    assert protocol["real"]["crop"] == "stretch"


def test_several_sources_are_scored_and_lead_to_a_comparison(capsys: pytest.CaptureFixture[str]):
    one, two, real = folder("one", noise(20, 0)), folder("two", noise(20, 1)), folder("real", noise(30, 2))
    assert main([one, two, "--against", real, "--resamples", "100"]) == 0
    found = [written(f"scores-{name}-efficientnet-lite0-n20") for name in (one, two)]
    assert [result["protocol"]["generated"]["source"] for result in found] == ["one", "two"]
    assert (
        found[0]["intervals"].keys()
        == found[1]["intervals"].keys()
        == {*found[0]["scores"]}
        - {
            "kernel_distance_std",
            "classifier_score_std",
        }
    )
    assert "orthogan compare scores-one-" in capsys.readouterr().out


def test_scores_that_compare_would_refuse_lead_to_none(capsys: pytest.CaptureFixture[str]):
    one, two, real = folder("one", noise(20, 0)), folder("two", noise(25, 1)), folder("real", noise(30, 2))
    assert main([one, two, "--against", real, "--resamples", "0"]) == 0
    assert "orthogan compare" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--against", "real"], "nothing to score"),
        (["one", "two", "--against", "real", "--out", "x.json"], r"out=x\.json: one file for 2 results"),
        (["one", "--against", "real", "--out", "scores.txt"], r"out='scores\.txt': must end in \.json"),
        (["one", "--against", "real", "--out", "d.json"], r"out='d\.json': is a folder; give a file in it"),
        (["one", "--against", "real", "--out", "/proc/x.json"], r"/proc/x\.json cannot be written: "),
        (["one", "--against", "real", "--out", "one/0.png/x/y.json"], r"one/0\.png/x/y\.json cannot be written: Not a"),
        (["one", "nowhere", "--against", "real"], "'nowhere': no such file or folder"),
        (["one", "--against", "nowhere"], "'nowhere': no such file or folder"),
        (["begun", "--against", "real"], "'begun' is a run that has no checkpoint yet"),
        (["one", "--against", "begun"], "'begun' is a run that has no checkpoint yet"),
        (["one", "--against", "real", "--resamples", "5"], "resamples=5: must be at least 100, or 0"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_anything_is(
    argv: list[str], told: str, monkeypatch: pytest.MonkeyPatch
):
    folder("one", noise(10, 0)), folder("two", noise(10, 1)), folder("real", noise(10, 2))
    Path("begun").mkdir(), Path("d.json").mkdir()
    Path("begun/config.json").touch(), Path("begun/status.json").touch()
    monkeypatch.setattr("orthogan.judging.scoring.score", None)
    with pytest.raises(UserError, match=told):
        main(argv)
