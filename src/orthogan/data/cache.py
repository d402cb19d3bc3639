"""The packed cache on disk: every image decoded once, kept as one memory-mapped array of uint8.

A pack is a folder named by a key of what the source holds and how its images become squares (see `pack.py`):

    images.npy   uint8 (N, resolution, resolution, 3), RGB
    labels.npy   int64 (N,), only with classes
    meta.json    class names, names of images left out, fingerprint, sizes and sums that show a torn pack
"""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthogan.data.source import Source, digest_of

PARTIAL = ".partial-"
"""Marks the folder of a pack that is being written."""

_ABANDONED_SECONDS = 6 * 3600


@dataclass(frozen=True)
class ImageCache:
    """A packed data set."""

    images: np.ndarray
    """uint8 (N, resolution, resolution, 3), RGB, mapped read-only from disk."""
    labels: np.ndarray | None
    """int64 (N,) in 0..n_classes-1, or None without classes."""
    class_names: list[str]
    fingerprint: str
    """Digest of pixels, labels and class names: the same wherever the files lie, another when an image changes."""
    skipped: list[tuple[str, str]]
    """(name, reason) of the images that `skip_bad` left out."""
    source: str
    """What the user called the source when it was packed."""
    path: Path

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def resolution(self) -> int:
        return int(self.images.shape[1])

    def __len__(self) -> int:
        return len(self.images)


def packs_folder() -> Path:
    """`data` below `$ORTHOGAN_CACHE`, else below `$XDG_CACHE_HOME/orthogan`, else below `~/.cache/orthogan`."""
    if own := os.environ.get("ORTHOGAN_CACHE"):
        return Path(own).expanduser() / "data"
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "orthogan" / "data"


def open_if_whole(home: Path) -> ImageCache | None:
    """The pack in a folder, or None where there is none or it is torn: a file missing, cut short or altered."""
    try:
        meta = _read_meta(home)
        images = np.load(home / "images.npy", mmap_mode="r")
        labels = np.load(home / "labels.npy") if meta["class_names"] else None
        n_bytes = (home / "images.npy").stat().st_size
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    if len(images) != meta["count"] or n_bytes != meta["images_bytes"] or sum_of(labels) != meta["labels"]:
        return None
    skipped = [(name, reason) for name, reason in meta["skipped"]]
    return ImageCache(images, labels, meta["class_names"], meta["fingerprint"], skipped, meta["source"], home)


def write_meta(
    folder: Path, source: Source, labels: np.ndarray | None, digests: Sequence[str], skipped: list[tuple[str, str]]
) -> None:
    """Describe the arrays in `folder`; `digests` are those of the images kept, in order."""
    meta = {
        "source": source.spec,
        "class_names": source.class_names,
        "skipped": skipped,
        "count": len(digests),
        "labels": sum_of(labels),
        "fingerprint": digest_of("".join(digests), sum_of(labels), source.class_names),
        "images_bytes": (folder / "images.npy").stat().st_size,
    }
    (folder / "meta.json").write_text(json.dumps({"meta": meta, "digest": digest_of(meta)}))


def _read_meta(home: Path) -> dict[str, Any]:
    """What meta.json says, or ValueError where it is not what was written."""
    saved = json.loads((home / "meta.json").read_text())
    meta: dict[str, Any] = saved["meta"]
    if digest_of(meta) != saved["digest"]:
        raise ValueError(f"{home / 'meta.json'} is torn")
    return meta


def sum_of(labels: np.ndarray | None) -> str:
    """A digest of the label array, quick for millions; empty without labels."""
    return "" if labels is None else hashlib.blake2b(labels.tobytes(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class PackInfo:
    """One folder of the cache, for people to decide about."""

    path: Path
    source: str
    images: int
    resolution: int
    n_bytes: int
    last_used: float
    """Seconds since the epoch."""


def list_packs() -> list[PackInfo]:
    """Every pack in the cache, last used first; torn and abandoned ones too, but none that is being written."""
    folder = packs_folder()
    folders = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    found = [_info(path) for path in folders if PARTIAL not in path.name or is_abandoned(path)]
    return sorted(found, key=lambda info: -info.last_used)


def is_abandoned(partial: Path) -> bool:
    """Whether nothing was written to an unfinished pack for so long that its packer must have been killed."""
    newest = max((path.stat().st_mtime for path in (partial, *partial.rglob("*"))), default=0)
    return time.time() - newest > _ABANDONED_SECONDS


def _info(path: Path) -> PackInfo:
    n_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    cache = open_if_whole(path)
    if cache is None:
        return PackInfo(path, "(not whole)", 0, 0, n_bytes, path.stat().st_mtime)
    return PackInfo(path, cache.source, len(cache), cache.resolution, n_bytes, (path / "meta.json").stat().st_mtime)


def note_use(home: Path) -> None:
    """Remember that a pack was used now. In a cache that may only be read nothing is noted."""
    with contextlib.suppress(OSError):
        os.utime(home / "meta.json")


def remove_packs(packs: Sequence[PackInfo]) -> None:
    """Delete packs. A run that has one open goes on: the files vanish only when it ends."""
    for info in packs:
        shutil.rmtree(info.path, ignore_errors=True)
