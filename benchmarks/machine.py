"""A description of the machine that a table of numbers needs beside it."""

import os
import platform
from pathlib import Path
from typing import Any

import torch

INSTRUCTIONS = {"avx512_bf16": "_is_avx512_bf16_supported", "amx": "_is_amx_tile_supported"}


def _cpu_info(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), "")


def _has(instruction: str) -> bool:
    helper = getattr(torch.cpu, INSTRUCTIONS[instruction], None)
    flag = {"amx": "amx_tile"}.get(instruction, instruction)
    return bool(helper()) if helper else flag in _cpu_info("flags").split()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe(device: str) -> dict[str, Any]:
    """CPU, cores, bf16 instructions, versions, and the GPU when there is one in play."""
    found: dict[str, Any] = {
        "cpu": _cpu_info("model name") or platform.processor() or platform.machine(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "bf16": [name for name in INSTRUCTIONS if _has(name)] or ["none"],
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    if torch.device(device).type == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    return found
