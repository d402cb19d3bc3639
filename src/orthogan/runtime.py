"""What this machine is: device, precision, versions."""

import os
import shutil
import subprocess
from pathlib import Path

import torch

from orthogan import optional
from orthogan.errors import UserError

PRECISIONS = ("auto", "float32", "bf16")

_PACKAGES = ("orthogan", "torch", "lightning-fabric", "numpy", "pillow", "safetensors")


def pick_device(name: str | None = None) -> torch.device:
    """The named device, or the GPU if there is one, or the processor."""
    if name is not None:
        try:
            return torch.empty(0, device=name).device
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"device={name!r} cannot be used here ({str(error).splitlines()[0]}); try cpu") from error
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bf16_is_fast(device: torch.device) -> bool:
    """Whether the device multiplies bf16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # Private, but PyTorch has no public way to ask; absent, bf16 counts as slow.
    asks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, ask, bool)() for ask in asks)


def resolve_precision(precision: str, device: torch.device) -> str:
    """`auto` becomes what is fast on the device: bf16 or float32. Raises `UserError` for what is not in PRECISIONS."""
    if precision not in PRECISIONS:
        raise UserError(f"precision={precision!r}: must be one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        return precision
    return "bf16" if bf16_is_fast(device) else "float32"


def check_compiler(device: torch.device) -> None:
    """Raises `UserError` on a processor without a C++ compiler, which torch.compile calls there."""
    names = (os.environ.get("CXX", "g++"), "clang++")
    if device.type == "cpu" and not any(shutil.which(name) for name in names):
        raise UserError("compile: no C++ compiler (g++ or clang++) was found; install one, or leave the setting out")


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context in which a network runs at a resolved precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free: on the GPU, or on this machine within its container; None if nobody tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    told = [_available_memory(), _container_limit()]
    return min((n for n in told if n is not None), default=None)


def _available_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):  # not Linux: what is installed, then
        names = getattr(os, "sysconf_names", {})
        known = "SC_PHYS_PAGES" in names and "SC_PAGE_SIZE" in names
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else None


def _container_limit() -> int | None:
    """What is left below the limit of a control group, of version 2."""
    group = Path("/sys/fs/cgroup")
    try:
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):  # none, or "max"
        return None


def versions() -> dict[str, str | None]:
    """Installed versions of the packages that decide the numbers of a training."""
    return optional.versions(_PACKAGES)


def git_commit() -> str | None:
    """The commit of the source checkout that runs, if it is one; `+` marks uncommitted changes."""
    here = Path(__file__).parent
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name, cwd=here)  # not the repository around a .venv
        commit = _git("rev-parse", "HEAD", cwd=here)
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no", cwd=here) else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str, cwd: Path) -> str:
    done = subprocess.run(["git", *words], cwd=cwd, capture_output=True, text=True, check=True, timeout=5)
    return done.stdout.strip()
