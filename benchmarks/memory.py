"""Peak memory of a training step, each measured in a process of its own so that peaks do not mix.

On a CPU the peak of the resident set during the steps, minus the resident set once the networks are built; also minus
what Python and PyTorch take before building. On CUDA what the allocator handed out at most.
"""

import contextlib
import ctypes
import gc
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

STEPS = 2
"""The second step runs with the optimizers' state in place."""
MIB = 2**20


@dataclass(frozen=True)
class MemoryCase:
    """Which step to measure, as it travels to the child process."""

    side: str
    """"ours" or "rival", both of BigGAN, or "pair" or "published pair" of `benchmarks.pairs`."""
    width: int
    batch: int
    precision: str
    channels_last: bool
    device: str
    rival: str = ""
    preset: str = "biggan-32"
    """Of pairs the name."""
    pixels: int = 32
    """Of pairs the side of the images."""


@dataclass(frozen=True)
class MemoryUse:
    """Bytes."""

    step: int
    """Peak of the steps above the built networks."""
    total: int
    """Peak of the steps above an empty process: networks included."""


class MeasurementError(RuntimeError):
    """The child process failed; the message is its last line."""


def measure(case: MemoryCase) -> MemoryUse:
    """Run the case in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.memory", json.dumps(asdict(case))]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        last_line = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise MeasurementError(last_line)
    return MemoryUse(**json.loads(done.stdout.strip().splitlines()[-1]))


def _proc_status(field: str) -> int | None:
    """A size in /proc/self/status in bytes; None where there is no such file."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return None


def _peak_from_start() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _resident() -> int:
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    now = _proc_status("VmRSS")
    return _peak_from_start() if now is None else now


def _reset_peak() -> None:
    """Start the peak anew, so that a peak while building is not taken for the step's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    peak = _proc_status("VmHWM")
    return _peak_from_start() if peak is None else peak


def _touch_libraries() -> None:
    """A small step that loads the code every training needs, so that it does not count as the step's memory."""
    for dtype in (torch.float32, torch.bfloat16):
        conv = torch.nn.Conv2d(8, 8, 3, padding=1)
        optimizer = torch.optim.Adam(conv.parameters())
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            y = conv(torch.randn(2, 8, 8, 8))
            y = torch.nn.functional.batch_norm(y, None, None, training=True).relu()
            loss = (y.float().mean((2, 3)) @ torch.randn(8, 8)).sum()
        loss.backward()
        optimizer.step()


def _factory(case: MemoryCase) -> Callable[[], Callable[[], object]]:
    if case.side == "ours":
        from benchmarks import ours

        return lambda: ours.make_train_step(
            case.width, case.batch, case.precision, case.channels_last, case.device, case.preset
        )
    if case.side.endswith("pair"):
        from benchmarks import pairs

        device = torch.device(case.device)
        if case.side == "published pair":
            return lambda: pairs.make_published_step(case.rival, case.preset, case.pixels, case.batch, device)
        return lambda: pairs.make_step(case.preset, case.pixels, case.batch, device)
    from benchmarks.rival import Rival

    model = Rival(case.rival, case.device).networks(case.preset, case.width)
    return lambda: model.train_step(case.batch, 2, case.precision, case.channels_last)


def _measure_here(case: MemoryCase) -> MemoryUse:
    make = _factory(case)
    if torch.device(case.device).type == "cuda":
        return _measure_cuda(make)
    _touch_libraries()
    empty = _resident()
    step = make()
    built = _resident()
    _reset_peak()
    for _ in range(STEPS):
        step()
    peak = _peak()
    return MemoryUse(step=peak - built, total=peak - empty)


def _measure_cuda(make: Callable[[], Callable[[], object]]) -> MemoryUse:
    step = make()
    built = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(STEPS):
        step()
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated()
    return MemoryUse(step=peak - built, total=peak)


def main(argument: Any) -> None:
    """Entry of the child process."""
    print(json.dumps(asdict(_measure_here(MemoryCase(**json.loads(argument))))))


if __name__ == "__main__":
    main(sys.argv[1])
