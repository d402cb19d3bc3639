"""Where the runs of a study go, and with how many threads."""

import os

import pytest
import torch

from orthogan import runtime
from orthogan.studies.pool import places


@pytest.mark.parametrize(
    ("jobs", "runs", "threads", "expected"),
    [
        (None, 20, None, ["cpu 1"] * 8),
        (None, 3, None, ["cpu 1"] * 3),  # no more threads where cores are left over: the bits are those of a long study
        (1, 20, None, ["cpu 1"]),
        (None, 20, "4", ["cpu 4"] * 2),
        (3, 20, "4", ["cpu 4"] * 3),
        (None, 20, "16", ["cpu 16"]),
        (2, 20, "many", ["cpu 1"] * 2),
        (2, 20, "0", ["cpu 1"] * 2),
    ],
)
def test_a_run_on_a_processor_has_threads_that_do_not_follow_from_those_beside_it(
    jobs: int | None, runs: int, threads: str | None, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if threads is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert [f"{place.device} {place.threads}" for place in places("cpu", jobs, runs)] == expected


@pytest.mark.parametrize(
    ("device", "jobs", "expected"),
    [
        (None, None, ["cuda:0 4", "cuda:1 4"]),
        ("cuda", 4, ["cuda:0 2", "cuda:1 2", "cuda:0 2", "cuda:1 2"]),
        ("cuda:1", None, ["cuda:1 8"]),
    ],
)
def test_runs_on_gpus_share_the_cores(
    device: str | None, jobs: int | None, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(runtime, "pick_device", lambda name: torch.device(name or "cuda"))
    assert [f"{place.device} {place.threads}" for place in places(device, jobs, 20)] == expected
