"""What is scored, as a library: no command, nothing printed."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import tiny_run

from orthogan import judging, model
from orthogan.data import ImageCache
from orthogan.data.config import DataConfig
from orthogan.features import pretrained
from orthogan.features.pretrained import FeatureNet
from orthogan.judging import Request, generated, results
from orthogan.judging.counting import silently
from orthogan.judging.reading import real_config
from orthogan.metrics.evaluate import AS_DATA


def test_the_request_beats_the_generator():
    request = Request(source="run.safetensors", against="real", crop="top", skip_bad=True)
    config = real_config(request, DataConfig(source="elsewhere", crop="stretch", resize="lanczos"))
    assert (config.source, config.crop, config.resize, config.skip_bad) == ("real", "top", "lanczos", True)


def test_images_are_scored_without_a_word(
    tiny: FeatureNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(pretrained, "load", lambda name, path=None, device="cpu": tiny)
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "made.npy", images)
    request = Request(source=str(tmp_path / "made.npy"), against=str(tmp_path / "made.npy"))
    result = judging.score(request)
    assert result["scores"]["frechet_distance"] == pytest.approx(0, abs=1e-6)
    assert capsys.readouterr() == ("", "")
    place = results.free_name(tmp_path / "scores.json", result["protocol"])
    results.write(place, result)
    assert results.free_name(place, result["protocol"]) == place
    assert results.free_name(place, {}) == tmp_path / "scores-2.json"
    results.write(tmp_path / "x.json", {"protocol": {"sides": (1, 2)}})
    assert results.free_name(tmp_path / "x.json", {"sides": (1, 2)}) == tmp_path / "x.json"  # JSON has lists alone


def test_a_picture_of_something_else_is_not_written_over(tmp_path: Path):
    (tmp_path / "holiday.png").touch()
    (tmp_path / "curve-sheet.png").touch()
    wanted = [tmp_path / "holiday.json", tmp_path / "curve.json"]
    found = [results.free_name(path, {}, [".png", "-sheet.png"]).name for path in wanted]
    assert found == ["holiday-2.json", "curve-2.json"]
    results.write(wanted[0], {"protocol": {}})  # the picture is then that result's own
    assert results.free_name(wanted[0], {}, [".png"]) == wanted[0]
    assert results.free_name(wanted[1], {}) == wanted[1]


@pytest.mark.parametrize(("fake_classes", "there"), [("data", 3), ("data", 2), ("uniform", 3)])
def test_the_stamp_says_whose_classes_the_images_have_before_any_is_drawn(
    fake_classes: str, there: int, monkeypatch: pytest.MonkeyPatch
):
    header = SimpleNamespace(config=tiny_run(fake_classes=fake_classes), extra={})
    facts = {"header": header, "class_names": [], "resolution": 8}
    loaded = SimpleNamespace(**facts, check=lambda *what: None, describe=dict)
    monkeypatch.setattr(model, "load", lambda path, device: loaded)
    samples = generated.Samples(Request(source="a.safetensors", samples=12), silently)
    real = ImageCache(np.zeros((23, 8, 8, 3), np.uint8), np.arange(23) % there, [*"abc"[:there]], "", [], "", Path())
    classes = samples.classes(real)
    as_data = fake_classes == "data" and there == 3
    assert classes == ([0, 2, 1] * 4 if as_data else None)  # of every other image
    stamped = {"classes": AS_DATA} if as_data else {}
    assert samples.stamp(classes)["generated"] == {"source": "a.safetensors", **stamped}
