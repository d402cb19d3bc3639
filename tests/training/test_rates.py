"""The learning rates of a run, step by step."""

from pathlib import Path

import pytest
import torch
from tiny import tiny_run

from orthogan import presets, runs
from orthogan.settings import override
from orthogan.training.cadence import rate_share
from orthogan.training.changes import Changes, change
from orthogan.training.observer import Observer


def test_the_rates_fall_on_a_straight_line_to_the_end() -> None:
    run = override(presets.get("digits"), {"images": 1000, "optimizer.decay_from_images": 600})
    assert [rate_share(run, n) for n in (0, 600, 700, 900, 1000, 1100)] == [1, 1, 0.75, 0.25, 0, 0]
    constant = override(run, {"optimizer.decay_from_images": None})
    assert [rate_share(constant, n) for n in (0, 1000)] == [1, 1]


def test_each_player_learns_at_its_own_rate_times_what_is_left_and_what_rollbacks_left(
    tmp_path: Path, arrays: Path
) -> None:
    """Steps show 2 batches of 8 images; the rates of a step are those of the images before it."""
    settings = {"optimizer.g_lr": 1e-3, "optimizer.d_lr": 4e-3, "optimizer.decay_from_images": 16, "images": 80}
    config = override(tiny_run(arrays), settings)
    trainer = runs.start(config, "digits", tmp_path / "run", Observer(), torch.device("cpu"), lambda done, total: None)
    g, d = (player.optimizer.param_groups[0] for player in (trainer.game.g, trainer.game.d))
    found = []
    for step in range(5):
        if step == 3:
            change(trainer, Changes(rate_factor=0.5))
        trainer.step()
        found.append((g["lr"], d["lr"]))
    trainer.close()
    left = [1, 1, 0.75, 0.5 * 0.5, 0.25 * 0.5]
    assert found == [(pytest.approx(1e-3 * share), pytest.approx(4e-3 * share)) for share in left]
