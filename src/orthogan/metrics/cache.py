"""Features of real images kept on disk, since a training scores against the same ones again and again."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor


def folder() -> Path:
    """`$ORTHOGAN_CACHE/features`, else `features` in `orthogan` below `$XDG_CACHE_HOME` or `~/.cache`."""
    shared = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "orthogan"
    return Path(os.environ.get("ORTHOGAN_CACHE") or shared).expanduser() / "features"


def place(**identity: Any) -> Path:
    """The file, in `folder()`, for features of this identity: plain values that decide every bit."""
    identity = identity | {"torch": torch.__version__}
    digest = hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=16).hexdigest()
    return folder() / f"{digest}.safetensors"


def read(path: Path) -> Tensor | None:
    """The kept features (N, D), or None when there are none or the file is torn."""
    try:
        return load_file(path)["features"]
    except (OSError, SafetensorError, KeyError):
        return None


def write(path: Path, features_nd: Tensor) -> None:
    """Keep features; readers see the whole file or none. A disk that is full or read-only only costs time later."""
    aside = path.with_suffix(f".{os.getpid()}.partial")
    with contextlib.suppress(OSError, SafetensorError):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"features": features_nd.contiguous()}, aside)
        os.replace(aside, path)
    with contextlib.suppress(OSError):
        aside.unlink(missing_ok=True)
