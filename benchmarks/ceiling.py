"""What the machine could do at best, and the arithmetic that a step needs."""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Clock, seconds

PUBLISHED_FLOPS = {16: 1.49e9, 32: 5.91e9, 64: 23.5e9}
"""FLOPs a real image (32x32, 2 D steps, no gradients for D's weights in the G step) of the published step, by width.

Counted anew when a rival is given.
"""
BATCH, CHANNELS, SIDES = 64, 256, (16, 32)


def best_seconds(
    run: Callable[[], object], device: str, tries: int, min_seconds: float = 0.1, clock: Clock = time.perf_counter
) -> float:
    """Shortest time of one call over several tries, each long enough to be timed."""
    run()
    calls = max(1, round(min_seconds / max(seconds(run, 1, device, clock), 1e-6)))
    return min(seconds(run, calls, device, clock) / calls for _ in range(tries))


@torch.no_grad()
def conv_ceiling(dtype: torch.dtype, device: str = "cpu", tries: int = 5, clock: Clock = time.perf_counter) -> float:
    """FLOP/s of the best forward 3x3 convolution, 256 to 256 channels, batch 64, 16x16 or 32x32, channels_last."""
    best = 0.0
    for side in SIDES:
        conv = torch.nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        conv = conv.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = torch.randn(BATCH, CHANNELS, side, side, device=device, dtype=dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        flops = 2 * BATCH * CHANNELS * CHANNELS * 9 * side * side
        best = max(best, flops / best_seconds(partial(conv, x), device, tries, clock=clock))
    return best


@torch.no_grad()
def matmul_ceiling(dtype: torch.dtype, device: str, size: int = 8192, tries: int = 5) -> float:
    """FLOP/s of a square matrix product."""
    a = torch.randn(size, size, device=device, dtype=dtype)
    b = torch.randn(size, size, device=device, dtype=dtype)
    return 2 * size**3 / best_seconds(lambda: a @ b, device, tries)


def ceilings(device: str, tries: int = 5) -> dict[str, float]:
    """FLOP/s by name: `conv_bf16`, `conv_float32`, and on cuda `matmul_bf16`."""
    found = {
        "conv_bf16": conv_ceiling(torch.bfloat16, device, tries),
        "conv_float32": conv_ceiling(torch.float32, device, tries),
    }
    if torch.device(device).type == "cuda":
        found["matmul_bf16"] = matmul_ceiling(torch.bfloat16, device, tries=tries)
    return found


def count_flops(run: Callable[[], object]) -> int:
    """FLOPs that one call executes in convolutions, matrix products and attention (a multiply-add counts as two)."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())
