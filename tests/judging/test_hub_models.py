"""Models of the hub are scored by their address, from its cache and without a network."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_generator, tiny_run

from orthogan import judging
from orthogan.commands import evaluate, truncation
from orthogan.errors import UserError
from orthogan.exporting.folder import Card, write_folder
from orthogan.features import pretrained, weights
from orthogan.features.pretrained import FeatureNet
from orthogan.judging import Request
from orthogan.model import load
from orthogan.training import checkpoint
from orthogan.training.checkpoint import Header

pytest.importorskip("huggingface_hub")
ADDRESS = "hf://owner/name"


@pytest.fixture(autouse=True)
def exported(tiny: FeatureNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: Path) -> Path:
    """A checkpoint, whose exported folder lies in the hub's cache as owner/name; the current folder is empty."""
    tiny.name = "efficientnet-lite0"
    monkeypatch.setattr(pretrained, "load", lambda name, path=None, device="cpu": tiny)
    monkeypatch.setattr(weights, "locate", lambda name, given=None: Path("nowhere"))
    torch.manual_seed(0)
    tensors = {f"ema.{k}": v for k, v in tiny_generator().state_dict().items()}
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, tensors, Header(tiny_run(arrays), 5, 1, {"class_names": ["0", "1", "2"]}))
    commit = "0123456789abcdef0123456789abcdef01234567"
    model = tmp_path / "hub" / "models--owner--name"
    write_folder(load(path, "cpu", "float32"), model / "snapshots" / commit, Card(license="mit"))
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return path


def test_it_has_the_scores_of_the_run_that_it_was_exported_from(exported: Path, arrays: Path) -> None:
    assert evaluate.main([ADDRESS, "--against", str(arrays), "-n", "30", "--resamples", "0"]) == 0
    (written,) = Path().glob("scores-owner-name-efficientnet-lite0-5-n30-*.json")
    result = json.loads(written.read_text())
    own = judging.score(Request(source=str(exported), against=str(arrays), samples=30, resamples=0))["scores"]
    assert result["scores"]["frechet_distance"] == pytest.approx(own["frechet_distance"], rel=0.05)
    assert result["protocol"]["generated"]["source"] == ADDRESS
    assert {path.name for path in Path().iterdir()} == {written.name}


def test_it_has_a_curve_and_is_a_reference(arrays: Path) -> None:
    assert truncation.main([ADDRESS, "--against", str(arrays), "-n", "12", "--thresholds", "0.5"]) == 0
    assert len(list(Path().glob("truncation-owner-name-*.json"))) == 1
    result = judging.score(Request(source=str(arrays), against=f"{ADDRESS}@main", resamples=0))
    assert result["protocol"]["real"]["source"] == f"{ADDRESS}@main"
    assert np.isfinite(result["scores"]["frechet_distance"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["hf://owner"], "not an address of the hub"),
        (["hf://owner/other"], "hf://owner/other cannot be had"),
        ([ADDRESS, "hf://owner/other"], "hf://owner/other cannot be had"),
        ([ADDRESS], "names no images that it was trained on; give some by --against DATA"),
        ([ADDRESS, "--resolution", "8"], "resolution=8: a generator is scored at its own"),
    ],
)
def test_what_is_not_there_is_one_line(words: list[str], told: str, arrays: Path) -> None:
    against = ["--against", str(arrays)] if words != [ADDRESS] else []
    with pytest.raises(UserError, match=told):
        evaluate.main([*words, *against, "-n", "12"])
