"""Features of images kept on disk, since the same ones are scored again and again."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from orthogan.metrics import kept
from orthogan.settings import digest_of_text


def place(**identity: Any) -> Path:
    """The file, in the cache, for features of this identity: plain values that decide every bit."""
    identity = identity | {"torch": torch.__version__}
    return kept.folder() / f"{digest_of_text(json.dumps(identity, sort_keys=True))}.safetensors"


def read(path: Path) -> Tensor | None:
    """The kept features, float32 (N, D), or None when there are none or the file is not what was written."""
    found = kept.read(path)
    return None if found is None else torch.from_numpy(found)


def write(path: Path, features_nd: Tensor) -> None:
    """Keep features float32 (N, D), if the disk takes them and they are finite."""
    kept.write(path, features_nd.contiguous().numpy())
