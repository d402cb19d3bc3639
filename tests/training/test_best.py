"""Scores in the middle of a training: the best checkpoint stays; without weights there is no training."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_run

from orthogan import runs
from orthogan.config import CadenceConfig
from orthogan.errors import UserError
from orthogan.networks import DISCRIMINATORS
from orthogan.training import checkpoint, duties
from orthogan.training.trainer import Observer

CADENCE = CadenceConfig(
    log_images=16, sheet_images=0, checkpoint_images=16, keep_last=1, score_images=16, score_samples=10
)


def run(
    folder: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch, scorer: Any, images: int = 64, **changes: Any
) -> list[str]:
    told: list[str] = []

    class Listener(Observer):
        def told(self, text: str) -> None:
            told.append(text)

    monkeypatch.setattr(duties, "Scorer", scorer)
    config = tiny_run(arrays, cadence=CADENCE, images=images, **changes)
    runs.start(config, "digits", folder, Listener(), torch.device("cpu"), lambda done, total: None).run()
    return told


def test_the_best_checkpoint_stays_beside_the_last(
    tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distances = iter([5.0, 2.0, 2.0, 4.0])  # an equal one does not replace the best

    class Fake:
        def __init__(self, *args: object, **named: object) -> None: ...

        def score(self, images: Iterable[torch.Tensor], seed: int, **stamp: object) -> dict[str, Any]:
            assert sum(len(chunk) for chunk in images) == 10
            return {"scores": {"frechet_distance": next(distances)}, "protocol": stamp}

    run(tmp_path / "run", arrays, monkeypatch, Fake)
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(p.name for p in folder.glob("*.safetensors")) == ["best.safetensors", checkpoint.file_name(64)]
    assert checkpoint.read_header(folder / "best.safetensors").images == 32
    lines = [json.loads(line) for line in (tmp_path / "run" / "scores.jsonl").read_text().splitlines()]
    assert [(line["images"], line["scores"]["frechet_distance"]) for line in lines] == [
        (16, 5.0),
        (32, 2.0),
        (48, 2.0),
        (64, 4.0),
    ]
    assert lines[0]["protocol"]["generator"]["images_seen"] == 16


def test_scores_on_the_way_note_random_features(tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("timm")

    class Fake:
        def __init__(self, *args: object, **named: object) -> None: ...

        def score(self, images: object, seed: int, **stamp: object) -> dict[str, Any]:
            return {"scores": {"frechet_distance": 1.0}, "notes": ["few"]}

    random = DISCRIMINATORS["projected"].tiny
    run(tmp_path / "run", arrays, monkeypatch, Fake, images=16, discriminator=random)
    (line,) = [json.loads(line) for line in (tmp_path / "run" / "scores.jsonl").read_text().splitlines()]
    assert line["notes"] == ["few", *random.remarks]
    assert "random weights" in line["notes"][1]


def test_a_run_says_that_it_trains_while_its_scorer_is_prepared(
    tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def prepared(*args: object, **named: object) -> None:
        said.append(json.loads((tmp_path / "run" / "status.json").read_text())["state"])
        raise UserError("enough")

    with pytest.raises(UserError, match="enough"):
        run(tmp_path / "run", arrays, monkeypatch, prepared)
    assert said == ["training"]


def test_scores_that_cannot_be_had_stop_the_run_before_its_first_step(
    tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*args: object, **named: object) -> None:
        raise UserError("the weights are damaged")

    with pytest.raises(UserError, match="the weights are damaged"):
        run(tmp_path / "run", arrays, monkeypatch, damaged)
    assert not (tmp_path / "run" / "checkpoints").exists()
