"""What a dry run reckons, on the tiny run: against another count, and against what more work must add."""

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import tiny_networks, tiny_run

from orthogan import runs
from orthogan.game.regularizers import RegularizerConfig
from orthogan.game.regularizers.consistency import ConsistencySettings
from orthogan.game.regularizers.ortho import OrthoSettings
from orthogan.game.regularizers.r1 import R1Settings
from orthogan.settings import override
from orthogan.training import checkpoint, speed
from orthogan.training.estimate import Estimate, estimate, folder_bytes
from orthogan.training.rehearsal import average
from orthogan.training.trainer import Observer

CPU = torch.device("cpu")


def reckon(**changes: Any) -> Estimate:
    return estimate(tiny_run(**changes), "float32", CPU)


@pytest.mark.parametrize(
    "changes",
    [
        tiny_networks(stabilizer="gradient-penalty"),
        {"regularizers": RegularizerConfig(d_consistency=ConsistencySettings(strength=10.0))},
        {"regularizers": RegularizerConfig(g_ortho=OrthoSettings(strength=1e-4))},
        {"regularizers": RegularizerConfig(d_ortho=OrthoSettings(strength=1e-4))},
        {"g_batches": 2},
        {"loss": "relativistic"},
    ],
    ids=["penalty", "consistency", "ortho of G", "ortho of D", "batches of G", "paired loss"],
)
def test_more_work_counts_as_more_arithmetic(changes: dict[str, Any]) -> None:
    assert reckon(**changes).step_flops > reckon().step_flops


def test_what_is_kept_for_a_second_derivative_counts_as_memory() -> None:
    penalty = tiny_networks(stabilizer="gradient-penalty")
    assert reckon(**penalty, batch=64).peak_bytes > reckon(batch=64).peak_bytes


def test_twice_the_batches_of_g_are_twice_its_arithmetic() -> None:
    """A step is D's part and G's part: a + g_batches * b."""
    one, two, three = (reckon(g_batches=n).step_flops for n in (1, 2, 3))
    assert two - one == pytest.approx(three - two, rel=0.01)


def test_a_checkpoint_and_the_folder_have_the_size_that_was_told(tmp_path: Path, arrays: Path) -> None:
    config = tiny_run(arrays)
    folder = tmp_path / "run"
    runs.start(config, "digits", folder, Observer(), CPU, lambda done, total: None).run()
    header_bytes = 60_000
    written = checkpoint.numbered(folder / "checkpoints")[0].stat().st_size
    told = reckon().checkpoint_bytes
    assert told < written < told + header_bytes
    whole = sum(path.stat().st_size for path in (folder / "checkpoints").iterdir())
    # keep_last=3 and one that is being written.
    assert folder_bytes(config, written) == 4 * written > whole


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, 100),  # the one at the end
        ({"cadence.score_images": 16}, 5 * 100),  # after scores too: the last three, the next, the best
        ({"cadence.checkpoint_images": 16}, 4 * 100),
        ({"cadence.checkpoint_images": 16, "watch.every_images": 16}, 5 * 100),  # and one from before a sign
        ({"cadence.sheet_images": 80}, 100 + 2 * 2 * 30 * 3 * 16 * 16),  # two, in sheets/ and in curves/
        ({"cadence.sheet_images": 100}, 100 + 2 * 2 * 30 * 3 * 16 * 16),  # the second at the end
    ],
    ids=str,
)
def test_all_that_a_run_keeps_counts(changes: dict[str, int], told: int) -> None:
    """In a run of 160 images of 16 pixels, with checkpoints of 100 bytes."""
    plain = {"cadence.checkpoint_images": 1000, "cadence.first_images": 0}
    assert folder_bytes(override(tiny_run(), plain | changes), 100) == told


def test_a_step_too_long_to_measure_is_reckoned_on_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up steps of 5 s and half a second an image; the clock allows two sizes."""
    sizes: list[int] = []

    def took(config: Any, game: Any, micro: int, device: torch.device, update: int) -> float:
        sizes.append(micro)
        return 5 + 0.5 * micro

    monkeypatch.setattr(speed, "_timed", took)
    monkeypatch.setattr(speed.time, "perf_counter", itertools.count(0, 100).__next__)
    assert speed.seconds_per_step(tiny_run(batch=64), "float32", CPU) == pytest.approx(5 + 0.5 * 64)
    assert sizes == [2, 8]


def test_rules_that_come_now_and_then_cost_their_share() -> None:
    """A step takes 10, and 26 with R1 once in 16 updates of D."""
    rules = {"d_r1": SimpleNamespace(interval=16)}
    game: Any = SimpleNamespace(g=SimpleNamespace(rules={}), d=SimpleNamespace(rules=rules))
    assert average(game, lambda update: 10 if update else 26) == 11
    game.d.rules = {}
    assert average(game, lambda update: 10 if update else 26) == 26
    plain, lazy, eager = (
        estimate(tiny_run(regularizers=RegularizerConfig(d_r1=r1)), "float32", CPU)
        for r1 in (R1Settings(), R1Settings(strength=1.0), R1Settings(strength=1.0, interval=1))
    )
    assert eager.peak_bytes == lazy.peak_bytes > plain.peak_bytes
    share = (lazy.step_flops - plain.step_flops) / (eager.step_flops - plain.step_flops)
    assert share == pytest.approx(1 / 16, rel=0.02)


def test_a_measured_step_takes_a_time() -> None:
    assert 0 < speed.seconds_per_step(tiny_run(), "float32", CPU) < 10
