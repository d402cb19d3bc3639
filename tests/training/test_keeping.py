"""Which checkpoints a run may be sent back to, by the names of files that hold nothing."""

from pathlib import Path

import pytest
import torch
from tiny import tiny_run

from orthogan import runs
from orthogan.settings import override
from orthogan.stability.watch import Judge, Streak
from orthogan.training import checkpoint, saving
from orthogan.training.keeping import checkpoint_before, kept
from orthogan.training.observer import Observer
from orthogan.training.trainer import Trainer
from orthogan.training.watch import watch_of


@pytest.fixture
def run(tmp_path: Path, arrays: Path) -> Trainer:
    """Checkpoints by plan at every 32 images; steps of 16."""
    changes = {"cadence.checkpoint_images": 32, "cadence.first_images": 0}
    cpu = torch.device("cpu")
    config = override(tiny_run(arrays), changes)
    trainer = runs.start(config, "digits", tmp_path / "run", Observer(), cpu, lambda done, total: None)
    trainer.close()
    return trainer


def hold(run: Trainer, *images: int) -> None:
    run.checkpoints.mkdir(exist_ok=True)
    for number in images:
        (run.checkpoints / checkpoint.file_name(number)).touch()


def test_the_newest_by_plan_at_or_below_is_taken_and_where_there_is_none_any(run: Trainer) -> None:
    assert checkpoint_before(run, 1000) is None
    hold(run, 48)
    assert checkpoint_before(run, 1000) == 48
    hold(run, 32, 64, 96)
    found = {before: checkpoint_before(run, before) for before in (31, 32, 50, 63, 64, 95, 96, 1000)}
    assert found == {31: None, 32: 32, 50: 32, 63: 32, 64: 64, 95: 64, 96: 96, 1000: 96}
    run.begun = 48  # of a branch its first one is by plan
    assert checkpoint_before(run, 50) == 48


def test_those_before_signs_and_before_past_alarms_are_kept(run: Trainer) -> None:
    hold(run, 0, 32, 64, 96, 128)
    watch = watch_of(run)
    watch.judge = Judge(looks=((112, {}),))
    assert kept(run) == {96}
    watch.alarms = [{"before": 40}]
    assert kept(run) == {32, 96}
    watch.judge = Judge(streaks={"a 0": Streak(96, 80, 1), "b 1": Streak(112, 96, 1)})
    assert kept(run) == {32, 64, 96}


def test_a_checkpoint_that_was_just_written_stays_beside_a_torn_newer_one(run: Trainer) -> None:
    run.config = override(run.config, {"cadence.keep_last": 1})
    hold(run, 32, 96)
    run.images = 64
    assert saving.save(run).exists()
    assert [checkpoint.images_of(path) for path in checkpoint.numbered(run.checkpoints)] == [96, 64]
