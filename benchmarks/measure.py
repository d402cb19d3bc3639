"""Fair timing: everything that is compared runs interleaved in one process, round after round."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

Clock = Callable[[], float]
"""Seconds: of the wall, or `time.process_time` where other programs take the processor now and then."""


@dataclass(frozen=True)
class Case:
    """Something to time: `run` does the work of `images` images."""

    name: str
    run: Callable[[], object]
    images: int


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest of the rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{figures(self.median)} ({figures(self.low)}-{figures(self.high)})"


@dataclass(frozen=True)
class Timing:
    """Images a second of one case, round by round."""

    name: str
    rounds: tuple[float, ...]

    @property
    def rate(self) -> Spread:
        """Images a second."""
        return spread(self.rounds)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers for the report file."""
        return {"images_per_second": asdict(self.rate), "rounds": list(self.rounds)}


def figures(value: float) -> str:
    """Three significant digits without exponents."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    return f"{value:,.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def spread(values: Sequence[float]) -> Spread:
    """Summarise rounds."""
    return Spread(statistics.median(values), min(values), max(values))


def ratio(a: Timing, b: Timing) -> Spread:
    """How many times faster a is than b, computed round by round, so that a slow moment of the machine cancels."""
    return spread([x / y for x, y in zip(a.rounds, b.rounds, strict=True)])


def synchronize(device: str) -> None:
    """Wait for the device to finish what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def seconds(run: Callable[[], object], calls: int, device: str, clock: Clock = time.perf_counter) -> float:
    """Time of a number of calls."""
    synchronize(device)
    start = clock()
    for _ in range(calls):
        run()
    synchronize(device)
    return clock() - start


def interleave(
    cases: Sequence[Case],
    *,
    device: str = "cpu",
    rounds: int = 5,
    warmup: int = 2,
    min_seconds: float = 1.0,
    clock: Clock = time.perf_counter,
) -> dict[str, Timing]:
    """Time all cases side by side: A, B, C, A, B, C, ...

    Args:
        cases: what to compare; names must differ.
        device: "cpu" or "cuda"; on cuda every measurement waits for the device.
        rounds: measurements of each case.
        warmup: calls before the first measurement; the last one's time sets the calls in a round.
        min_seconds: a round repeats a quick case until about this long.
        clock: what is timed.

    Returns:
        The timing of each case by name, in the order given.
    """
    calls = {case.name: _calls(case, device, warmup, min_seconds) for case in cases}
    if len(calls) != len(cases):
        raise ValueError(f"names of cases must differ: {[case.name for case in cases]}")
    rates: dict[str, list[float]] = {case.name: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            n = calls[case.name]
            rates[case.name].append(case.images * n / seconds(case.run, n, device, clock))
    return {name: Timing(name, tuple(values)) for name, values in rates.items()}


def _calls(case: Case, device: str, warmup: int, min_seconds: float) -> int:
    for _ in range(max(0, warmup - 1)):
        case.run()
    return max(1, math.ceil(min_seconds / seconds(case.run, 1, device)))
