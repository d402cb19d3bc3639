"""The files of features in the cache: whole or not there, within a bound, those unused for longest going first.

Free of PyTorch, so that `orthogan data` can list and check them in a moment.
"""

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from orthogan.files import cache_folder, remove

MAX_BYTES = 2**32
"""Of all files together: nine sets of 50,000 times 1280 features and 1000 logits. Those unused for longest go first."""
_WRITING_SECONDS = 600
"""An unfinished file is written in seconds; one untouched for so long was left by a process that was killed."""


@dataclass(frozen=True)
class Kept:
    """One file of features, or what a stopped writer left of one."""

    path: Path
    n_bytes: int
    last_used: float
    """Seconds since the epoch."""
    whole: bool


def folder() -> Path:
    return cache_folder() / "features"


def kept() -> list[Kept]:
    """Every file of features, last used first, and those left unfinished; none that is being written."""
    found = []
    for path in folder().glob("*"):
        with contextlib.suppress(OSError):
            facts, whole = path.stat(), path.suffix == ".safetensors"
            if whole or time.time() - facts.st_mtime > _WRITING_SECONDS:
                found.append(Kept(path, facts.st_size, facts.st_mtime, whole))
    return sorted(found, key=lambda file: -file.last_used)


def read(path: Path) -> np.ndarray | None:
    """The features of a file, float32 (N, D), or None when there is none or it is not what was written."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            features_nd: np.ndarray = file.get_tensor("features")
            written = (file.metadata() or {}).get("sum")
    except Exception:  # damaged files raise anything
        return None
    if _sum_of(features_nd) != written or not _is_sound(features_nd):
        return None
    with contextlib.suppress(OSError):  # in a cache that may only be read no use is noted
        os.utime(path)
    return features_nd


def write(path: Path, features_nd: np.ndarray) -> None:
    """Keep features; readers see the whole file or none. A disk that is full or read-only only costs time later."""
    if not _is_sound(features_nd) or features_nd.nbytes > MAX_BYTES:
        return
    aside = path.with_suffix(f".{os.getpid()}.partial")
    with contextlib.suppress(OSError, SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        keep_within(MAX_BYTES - features_nd.nbytes)
        save_file({"features": features_nd}, aside, {"sum": _sum_of(features_nd)})
        os.replace(aside, path)
    remove(aside)


def keep_within(n_bytes: int) -> None:
    """Remove what was left unfinished, and whole files until the rest takes at most so many bytes."""
    total = 0
    for file in kept():
        total += file.n_bytes
        if not file.whole or total > n_bytes:
            remove(file.path)


def _is_sound(features_nd: np.ndarray) -> bool:
    return features_nd.ndim == 2 and features_nd.dtype == np.float32 and bool(np.isfinite(features_nd).all())


def _sum_of(features_nd: np.ndarray) -> str:
    head = f"{features_nd.dtype} {features_nd.shape} ".encode()
    return hashlib.blake2b(head + features_nd.tobytes(), digest_size=16).hexdigest()
