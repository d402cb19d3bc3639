"""What is scored, as a library: no command, nothing printed."""

from pathlib import Path

import numpy as np
import pytest

from orthogan import judging
from orthogan.data.config import DataConfig
from orthogan.features import pretrained
from orthogan.features.pretrained import FeatureNet
from orthogan.judging import Request, results
from orthogan.judging.reading import real_config


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
