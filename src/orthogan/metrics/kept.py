"""The files of features in the cache: whole or not there, within a bound, those unused for longest going first.

Free of PyTorch, so that `orthogan data` can list and check them in a moment.
"""

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from orthogan.files import STALE_SECONDS, CannotWrite, aside, cache_folder, remove, remove_asides

MAX_BYTES = 2**32
"""Of all files together: nine sets of 50,000 times 1280 features and 1000 logits. Those unused for longest go first."""


@dataclass(frozen=True)
class Kept:
    """One file of features."""

    path: Path
    n_bytes: int
    last_used: float
    """Seconds since the epoch."""


def folder() -> Path:
    return cache_folder() / "features"


def kept() -> list[Kept]:
    """Every file of features, last used first."""
    found = []
    for path in folder().glob("*.safetensors"):
        with contextlib.suppress(OSError):
            facts = path.stat()
            found.append(Kept(path, facts.st_size, facts.st_mtime))
    return sorted(found, key=lambda file: -file.last_used)


def sweep() -> None:
    """Remove what killed writers left."""
    remove_asides(folder(), STALE_SECONDS)


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
    sweep()
    keep_within(MAX_BYTES - features_nd.nbytes)
    with contextlib.suppress(CannotWrite), aside(path) as partial:
        save_file({"features": features_nd}, partial, {"sum": _sum_of(features_nd)})


def keep_within(n_bytes: int) -> None:
    """Remove files until the rest takes at most so many bytes."""
    total = 0
    for file in kept():
        total += file.n_bytes
        if total > n_bytes:
            remove(file.path)


def _is_sound(features_nd: np.ndarray) -> bool:
    return features_nd.ndim == 2 and features_nd.dtype == np.float32 and bool(np.isfinite(features_nd).all())


def _sum_of(features_nd: np.ndarray) -> str:
    head = f"{features_nd.dtype} {features_nd.shape} ".encode()
    return hashlib.blake2b(head + features_nd.tobytes(), digest_size=16).hexdigest()
