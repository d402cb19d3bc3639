"""`orthogan memorization`, and `orthogan evaluate` against the parts of a run's images."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_run

from orthogan import runs
from orthogan.commands import evaluate, memorization
from orthogan.data import holding
from orthogan.data.config import DataConfig
from orthogan.errors import UserError
from orthogan.exporting.weights import write_weights
from orthogan.features import pretrained, weights
from orthogan.features.pretrained import FeatureNet
from orthogan.judging.memorization import Question, examine
from orthogan.model import load
from orthogan.sampling import Sampler
from orthogan.training.observer import Observer


@pytest.fixture(autouse=True)
def workplace(tiny: FeatureNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.name = "efficientnet-lite0"
    monkeypatch.setattr(pretrained, "load", lambda name, path=None, device="cpu": tiny)
    monkeypatch.setattr(weights, "locate", lambda name, given=None: Path("nowhere"))
    monkeypatch.chdir(tmp_path)


def train(source: Path, out: Path, **data: Any) -> Path:
    config = tiny_run(source, data=DataConfig(source=str(source), **data), images=16)
    runs.start(config, "digits", out, Observer(), torch.device("cpu"), lambda done, total: None).run()
    return out


@pytest.fixture
def run(arrays: Path, tmp_path: Path) -> Path:
    return train(arrays, tmp_path / "run", hold_out=0.25)


def read(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def test_a_run_is_examined_by_what_it_kept_back(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert memorization.main([str(run), "-n", "12"]) == 0
    result = read(run / "memorization-efficientnet-lite0-16-n12.json")
    assert result["protocol"]["training"]["of"] == 30
    assert result["protocol"]["held_out"]["of"] == 10
    assert result["protocol"]["held_out"]["part"] == "held-out"
    assert set(result["discriminator"]) == {"training", "held_out", "generated", "separation"}
    assert result["neighbours"]["pixels"]["generated"]["images"] == 12
    assert result["neighbours"]["features"]["held_out"]["images"] == 10
    sheet = Image.open(run / "memorization-efficientnet-lite0-16-n12.png")
    assert sheet.width > 13 * 64
    assert sheet.height == 10 * 64 + 28
    told = capsys.readouterr().out
    assert "what D says" in told
    assert "closer: distance to the nearest training image" in told


def test_a_checkpoint_file_alone_says_the_same(run: Path, tmp_path: Path) -> None:
    memorization.main([str(run), "-n", "12"])
    (saved,) = (run / "checkpoints").glob("images-*16.safetensors")
    shutil.copy(saved, tmp_path / "alone.safetensors")
    shutil.move("arrays.npz", "moved.npz")
    with pytest.raises(UserError, match="no such file"):
        memorization.main(["alone.safetensors", "-n", "12"])
    assert memorization.main(["alone.safetensors", "-n", "12", "--data", "moved.npz"]) == 0
    alone = read(Path("memorization-efficientnet-lite0-16-n12.json"))
    whole = read(run / "memorization-efficientnet-lite0-16-n12.json")
    assert (alone["discriminator"], alone["neighbours"]) == (whole["discriminator"], whole["neighbours"])


def test_a_generator_that_copies_is_found_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples that are training images but for one grey level: all of them closer, and held-out images are not."""
    config = DataConfig(source=str(Path("arrays.npz").absolute()), hold_out=0.25)
    training = holding.load(config, 16).checked[np.arange(20)]
    copies = torch.from_numpy(np.where(training < 255, training + 1, 254).astype(np.uint8))
    monkeypatch.setattr(Sampler, "stream", lambda *_, **__: iter(copies.split(7)))
    found = examine(Question(source=str(run), samples=20)).result["neighbours"]
    assert found["pixels"]["generated"]["share_closer"] == 1
    assert found["pixels"]["generated"]["copies"] == 0
    assert found["pixels"]["held_out"]["share_closer"] < 0.9


def test_copies_are_counted_and_told(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = DataConfig(source=str(Path("arrays.npz").absolute()), hold_out=0.25)
    samples = torch.from_numpy(holding.load(config, 16).checked[np.arange(20)].copy())
    samples[:3] = 255 - samples[:3]
    monkeypatch.setattr(Sampler, "stream", lambda *_, **__: iter(samples.split(7)))
    result = examine(Question(source=str(run), samples=20)).result
    found = result["neighbours"]
    assert [found[space]["generated"]["copies"] for space in ("features", "pixels")] == [17, 17]
    assert found["pixels"]["held_out"]["copies"] == 0
    memorization.show(result)
    lines = capsys.readouterr().out.splitlines()
    (told,) = [line.split("│") for line in lines if "generated" in line and "pixels" in line]
    assert told[4].strip() == "17"
    assert all(len(line) <= 80 for line in lines if "│" in line)


def test_without_a_held_out_part_other_images_are_needed(arrays: Path, tmp_path: Path) -> None:
    run = train(arrays, tmp_path / "all")
    with pytest.raises(UserError, match=r"nothing is kept back.*--held-out SRC"):
        memorization.main([str(run)])
    rng = np.random.default_rng(1)
    images, labels = rng.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8), np.arange(12) % 3
    with np.load(arrays) as stored:
        images[:2] = stored["images"][:2]
    np.savez("other.npz", images=images, labels=labels)
    assert memorization.main([str(run), "-n", "10", "--held-out", "other.npz"]) == 0
    result = read(run / "memorization-efficientnet-lite0-16-n10.json")
    assert result["protocol"]["held_out"]["source"] == "other.npz"
    assert result["notes"][0].startswith("2 held-out images are, pixel by pixel, training images too")
    np.savez("strange.npz", images=images, labels=np.arange(12) % 5)
    with pytest.raises(UserError, match="has the class '3', and the run has not"):
        memorization.main([str(run), "--held-out", "strange.npz"])
    np.savez("plain.npz", images=images)
    with pytest.raises(UserError, match="has no classes, and the run has"):
        memorization.main([str(run), "--held-out", "plain.npz"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "does not exist"),
        (["."], "no run folder"),
        (["run", "-n", "3"], "samples=3"),
        (["run", "--out", "x.png"], r"must end in \.json"),
        (["run", "--truncation", "-1"], "truncation"),
        (["run", "--held-out", "none.npz"], "none.npz"),
    ],
)
def test_what_cannot_be_examined_is_one_line(run: Path, words: list[str], told: str) -> None:
    with pytest.raises(UserError, match=told):
        memorization.main(words)


def test_a_file_without_a_discriminator_is_refused_before_any_image_is_read(run: Path, arrays: Path) -> None:
    write_weights(load(run, "cpu"), Path("exported.safetensors"))
    arrays.unlink()
    with pytest.raises(UserError, match=r"exported\.safetensors holds no discriminator to ask; give the run"):
        memorization.main(["exported.safetensors"])


def test_changed_data_is_refused(run: Path, arrays: Path) -> None:
    np.savez(arrays, images=np.zeros((40, 16, 16, 3), np.uint8), labels=np.arange(40) % 3)
    with pytest.raises(UserError, match="has changed since"):
        memorization.main([str(run)])


def test_a_run_is_scored_against_either_part(run: Path) -> None:
    for words in ([], ["--against", "training"], ["--against", "held-out"]):
        assert evaluate.main([str(run), "-n", "12", *words]) == 0
    stored = [read(path)["protocol"]["real"] for path in run.glob("scores-efficientnet-lite0-16-n12-*.json")]
    assert sorted((real["part"], real["images"]) for real in stored) == [("held-out", 10), ("training", 30)]
    with pytest.raises(UserError, match=r"leave --data\.\* out"):
        evaluate.main([str(run), "--data.crop", "top"])
