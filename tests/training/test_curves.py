"""What TensorBoard shows of a run that was killed and resumed, read by TensorBoard itself."""

import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import tiny_run

from orthogan import runs
from orthogan.config import CadenceConfig, RunConfig
from orthogan.settings import override
from orthogan.training import duties
from orthogan.training.trainer import Observer, Trainer

CPU = torch.device("cpu")
SCORES = {"frechet_distance": 7.0, "kernel_distance": 2.0, "precision": 0.5}


class Killed(BaseException):
    pass


class DiesAt(Observer):
    def __init__(self, images: int = 0):
        self.images = images

    def stepped(self, images: int, stats: dict[str, float]) -> None:
        if images == self.images:
            raise Killed


class Scorer:
    def __init__(self, *args: object, **named: object) -> None: ...

    def score(self, images: object, **stamp: object) -> dict[str, object]:
        return {"scores": SCORES}


def nothing(done: int, total: int) -> None: ...


def curves(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder / "curves"), size_guidance={"images": 0, "scalars": 0})
    found.Reload()
    return found


@pytest.fixture
def config(arrays: Path) -> RunConfig:
    cadence = CadenceConfig(
        log_images=16, sheet_images=32, checkpoint_images=48, first_images=0, score_images=80, score_samples=10
    )
    return override(tiny_run(arrays, cadence=cadence), {"images": 160})


def test_no_step_comes_twice_after_a_resume_and_everything_is_there(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duties, "Scorer", Scorer)
    folder = tmp_path / "run"
    # Killed twice: before the first checkpoint, and between two.
    first = runs.start(config, "digits", folder, DiesAt(32), CPU, nothing)
    with pytest.raises(Killed):
        first.run()
    release(first)
    second = runs.resume(folder, config, DiesAt(144), CPU, nothing)
    with pytest.raises(Killed):
        second.run()
    release(second)
    third = runs.resume(folder, config, Observer(), CPU, nothing)
    assert third.images == 96
    assert third.run()

    found = curves(folder)
    assert [event.step for event in found.Images("sheet")] == [32, 64, 96, 128, 160]
    for tag in ("d_loss", "images_per_second"):
        assert [event.step for event in found.Scalars(tag)] == list(range(16, 161, 16)), tag
    assert all(event.value > 0 for event in found.Scalars("images_per_second"))
    for name, value in SCORES.items():
        assert [(event.step, event.value) for event in found.Scalars(f"scores/{name}")] == [(80, value), (160, value)]


def release(trainer: Trainer) -> None:
    """Let go of the folder, as the end of a process does; the names of TensorBoard's files count whole seconds."""
    time.sleep(1.1)
    lock = getattr(trainer, "_lock", None)
    if lock is not None:
        lock.release()
