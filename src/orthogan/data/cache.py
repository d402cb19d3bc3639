"""The packed cache on disk: every image decoded once, kept as one memory-mapped array of uint8.

A pack is a folder named by a key of what the source holds and how its images become squares (see `pack.py`):

    images.npy   uint8 (N, side, side, 3), RGB
    sums.npy     uint64 (N,), a digest of each image's pixels
    labels.npy   int64 (N,), only with classes
    meta.json    class names, names of images left out, fingerprint, shapes and digests of the other files

Everything but the pixels is compared with its digest whenever a pack is opened. So are the pixels of a small pack; of a
large one, which would take minutes to read, each image is compared with its sum when it is first read for use.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthogan.data.partial import PARTIAL, is_abandoned
from orthogan.data.source import Source, digest_of, reason_of
from orthogan.errors import UserError
from orthogan.files import cache_folder, remove

VERIFIED_WHOLE_BYTES = 2**29
"""Packs up to this size are verified whenever they are opened, in about half a second."""


@dataclass(frozen=True)
class ImageCache:
    """A packed data set."""

    images: np.ndarray
    """uint8 (N, resolution, resolution, 3), RGB, mapped read-only from disk; of a part, those of the whole pack."""
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
    sums: np.ndarray | None = None
    """uint64 (N,): `row_sum` of each image; None for images that are not from disk."""
    rows: np.ndarray | None = None
    """Of a part of a pack: int64, which of `images` and `sums` are in it; None: all."""

    @functools.cached_property
    def checked(self) -> CheckedImages:
        """The images for use: each is compared with its sum when it is first read."""
        return CheckedImages(self)

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def resolution(self) -> int:
        return int(self.images.shape[1])

    def __len__(self) -> int:
        return len(self.images if self.rows is None else self.rows)

    def part(self, rows: np.ndarray) -> ImageCache:
        """These of the images, in this order, under a fingerprint of their own. No pixel is copied."""
        return dataclasses.replace(
            self,
            labels=None if self.labels is None else self.labels[rows],
            fingerprint=digest_of(self.fingerprint, sum_of(rows)),
            rows=rows if self.rows is None else self.rows[rows],
        )


class CheckedImages:
    """The images of a pack, by arrays of indices. Raises UserError for one that changed on disk since it was packed."""

    def __init__(self, cache: ImageCache) -> None:
        self._cache = cache
        self._images = np.asarray(cache.images)  # the mapping without the subclass, whose slices cost more
        self._known = np.full(len(cache.images), cache.sums is None)
        self.shape, self.dtype = (len(cache), *cache.images.shape[1:]), cache.images.dtype

    def __len__(self) -> int:
        return len(self._cache)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """uint8 (len(indices), side, side, 3), fresh memory."""
        indices = indices if self._cache.rows is None else self._cache.rows[indices]
        images = np.take(self._images, indices, axis=0)
        for at in np.flatnonzero(~self._known[indices]):
            if row_sum(images[at]) != self._cache.sums[indices[at]]:  # type: ignore[index]
                raise self._damaged(int(indices[at]))
        self._known[indices] = True
        return images

    def _damaged(self, row: int) -> UserError:
        home = self._cache.path
        why = set_aside(home)
        rule = f"The pack cannot be set aside ({why}): set ORTHOGAN_CACHE to a folder of your own, then"
        return UserError(
            f"{home / 'images.npy'} is damaged: image {row} of {self._cache.source} is not what was packed. "
            f"{rule if why else 'The pack is set aside;'} run the same again, and the images are decoded anew"
        )

    def torn(self) -> list[int]:
        """Indices of all images that changed on disk."""
        sums = self._cache.sums
        return [] if sums is None else [i for i, image in enumerate(self._images) if row_sum(image) != sums[i]]


class TornPack(ValueError):
    """A pack of which something is missing or altered; the text says what."""


def packs_folder() -> Path:
    return cache_folder() / "data"


def open_if_whole(home: Path) -> ImageCache | None:
    """The pack in a folder, or None where there is none or it is torn."""
    try:
        return open_whole(home)
    except TornPack:
        return None


def open_whole(home: Path) -> ImageCache:
    """The pack in a folder, its pixels verified if it is small. Raises TornPack where there is none or it is torn."""
    cache = open_pack(home)
    if cache.images.nbytes <= VERIFIED_WHOLE_BYTES and (torn := cache.checked.torn()):
        raise TornPack(f"images.npy: image {torn[0]} is not what was packed")
    return cache


def open_pack(home: Path) -> ImageCache:
    """The pack in a folder, its pixels yet unread. Raises TornPack for anything that is not as it was written."""
    try:
        return _open(home)
    except TornPack:
        raise
    except Exception as error:  # damaged files raise anything
        raise TornPack(f"meta.json: {reason_of(error)}") from None


def _load(path: Path, **how: Any) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, **how)
    except FileNotFoundError:
        raise TornPack(f"{path.name} is missing") from None
    except Exception as error:  # damaged files raise anything
        raise TornPack(f"{path.name}: {reason_of(error)}") from None
    return array


def _open(home: Path) -> ImageCache:
    meta = _read_meta(home)
    images = _load(home / "images.npy", mmap_mode="r")
    sums = _load(home / "sums.npy")
    labels = _load(home / "labels.npy") if meta["class_names"] else None
    n, side = meta["count"], meta["resolution"]
    for name, array, dtype, shape in (
        ("images.npy", images, np.uint8, (n, side, side, 3)),
        ("sums.npy", sums, np.uint64, (n,)),
        ("labels.npy", labels, np.int64, (n,)),
    ):
        if array is not None and (array.dtype != dtype or array.shape != shape):
            raise TornPack(f"{name}: {array.dtype} {array.shape} instead of {np.dtype(dtype)} {shape}")
    if (home / "images.npy").stat().st_size != meta["images_bytes"]:
        raise TornPack("images.npy: its size")
    for name, array in (("sums", sums), ("labels", labels)):
        if sum_of(array) != meta[name]:
            raise TornPack(f"{name}.npy: not what was written")
    skipped = [(name, reason) for name, reason in meta["skipped"]]
    return ImageCache(images, labels, meta["class_names"], meta["fingerprint"], skipped, meta["source"], home, sums)


def write_meta(
    folder: Path, source: Source, labels: np.ndarray | None, sums: np.ndarray, skipped: list[tuple[str, str]]
) -> None:
    """Write everything but the images, which are there, into `folder`; `sums` are uint64 (N,), one an image."""
    shape = np.load(folder / "images.npy", mmap_mode="r").shape
    np.save(folder / "sums.npy", sums)
    if labels is not None:
        np.save(folder / "labels.npy", labels)
    meta = {
        "source": source.spec,
        "class_names": source.class_names,
        "skipped": skipped,
        "count": len(sums),
        "resolution": shape[1],
        "sums": sum_of(sums),
        "labels": sum_of(labels),
        "fingerprint": digest_of("".join(f"{s:016x}" for s in sums.tolist()), sum_of(labels), source.class_names),
        "images_bytes": (folder / "images.npy").stat().st_size,
    }
    (folder / "meta.json").write_text(json.dumps({"meta": meta, "digest": digest_of(meta)}))


def _read_meta(home: Path) -> dict[str, Any]:
    """What meta.json says, or TornPack where it is not what was written."""
    if not (home / "meta.json").is_file():
        raise TornPack("meta.json is missing")
    saved = json.loads((home / "meta.json").read_text())
    meta: dict[str, Any] = saved["meta"]
    if digest_of(meta) != saved["digest"]:
        raise TornPack("meta.json: not what was written")
    return meta


def row_sum(image: np.ndarray) -> int:
    """A digest of 64 bits of the pixels of one image."""
    return int.from_bytes(hashlib.blake2b(image.tobytes(), digest_size=8).digest(), "big")


def sum_of(array: np.ndarray | None) -> str:
    """A digest of a whole array; empty without one."""
    return "" if array is None else hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()


def set_aside(home: Path) -> str:
    """Have a damaged pack be made again when it is next wanted. Gives the reason where that cannot be done.

    A run that has it open goes on.
    """
    return remove(home / "meta.json")


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


def _info(path: Path) -> PackInfo:
    n_bytes = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    try:
        cache = open_pack(path)
    except TornPack:
        source = "(left by a stopped packing)" if PARTIAL in path.name else "(torn)"
        return PackInfo(path, source, 0, 0, n_bytes, path.stat().st_mtime)
    return PackInfo(path, cache.source, len(cache), cache.resolution, n_bytes, (path / "meta.json").stat().st_mtime)


def note_use(home: Path) -> None:
    """Remember that a pack was used now. In a cache that may only be read nothing is noted."""
    with contextlib.suppress(OSError):
        os.utime(home / "meta.json")
