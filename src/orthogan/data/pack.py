"""Packing: decode every image once, by several processes, and leave a whole pack in the cache or nothing.

A pack is written aside and renamed when whole, so two packers of one key do no harm and a killed one leaves no half.
"""

import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from orthogan.config import DataConfig
from orthogan.data.cache import PARTIAL, ImageCache, is_abandoned, note_use, open_if_whole, packs_folder, write_meta
from orthogan.data.decode import Policy, reason_of, square
from orthogan.data.parallel import Progress, for_each_image
from orthogan.data.source import Source, digest_of
from orthogan.data.sources import open_source
from orthogan.errors import UserError
from orthogan.files import flush

VERSION = 1
"""Raise when decoding changes a pixel or the files change their form: older packs are then left alone."""

LISTED = 50
"""Unreadable images that an error names; of more it gives the number."""

Bad = list[tuple[str, str]]
"""(name, reason) of unreadable images."""


def pack(
    config: DataConfig, resolution: int, progress: Progress | None = None, workers: int | None = None
) -> ImageCache:
    """The images of `config.source` as squares of `resolution`: from the cache, or decoded into it now.

    Raises UserError when the source cannot be opened, and one that lists every unreadable image unless
    `config.skip_bad`. `progress` is called with (done, total) while decoding, and not at all when there is no need.
    """
    policy = Policy.of(config, resolution)
    source = open_source(config.source, config.unconditional)
    home = packs_folder() / _key(source, policy)
    cache = open_if_whole(home)
    if cache is None:
        _prepare(home.parent)
        cache = _build(source, policy, config, home, progress, workers)
    _refuse_bad(cache.skipped, len(cache) + len(cache.skipped), config)
    note_use(cache.path)
    return cache


def _key(source: Source, policy: Policy) -> str:
    """Everything that decides what the pack holds."""
    return digest_of(VERSION, source.fingerprint(), source.labels, source.class_names, vars(policy))


def _prepare(folder: Path) -> None:
    """Make the cache's folder, and clear it of what killed packers left behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the cache {folder} cannot be made ({error}); set ORTHOGAN_CACHE to another folder") from None
    for partial in folder.glob(f"*{PARTIAL}*"):
        with contextlib.suppress(OSError):
            if is_abandoned(partial):
                shutil.rmtree(partial, ignore_errors=True)


def _build(
    source: Source, policy: Policy, config: DataConfig, home: Path, progress: Progress | None, workers: int | None
) -> ImageCache:
    shape = (len(source), policy.resolution, policy.resolution, 3)
    _check_space(shape, home.parent)
    with _partial_folder(home) as partial:
        images = partial / "images.npy"
        np.lib.format.open_memmap(images, mode="w+", dtype=np.uint8, shape=shape).flush()
        outcomes = for_each_image(source, _PackImage(images, policy), progress, workers)
        bad = [(name, reason) for name, (_, reason) in zip(source.names, outcomes, strict=True) if reason]
        _refuse_bad(bad, len(source), config)
        good = [i for i, (_, reason) in enumerate(outcomes) if not reason]
        if bad:
            _keep_rows(images, good)
        labels = None if source.labels is None else np.asarray(source.labels, np.int64)[good]
        if labels is not None:
            np.save(partial / "labels.npy", labels)
        write_meta(partial, source, labels, [outcomes[i][0] for i in good], bad)
        return _publish(partial, home)


@dataclass
class _PackImage:
    """The work on one image: decode it, put it in its row, and say what its pixels hash to, or why it failed."""

    path: Path
    policy: Policy
    _rows: np.ndarray | None = field(default=None, repr=False)

    def __call__(self, source: Source, index: int) -> tuple[str, str]:
        """(digest, "") or ("", reason)."""
        if self._rows is None:
            self._rows = np.load(self.path, mmap_mode="r+")
        try:
            with source.read(index) as image:
                pixels = square(image, self.policy)
        except Exception as error:  # damaged files raise whatever the decoder stumbled over
            return "", reason_of(error)
        self._rows[index] = pixels
        return hashlib.blake2b(pixels.tobytes(), digest_size=8).hexdigest(), ""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": None}  # each process maps the file itself


def _refuse_bad(bad: Bad, total: int, config: DataConfig) -> None:
    if not bad or (config.skip_bad and len(bad) < total):
        return
    lines = [f"data.source={config.source!r}: {len(bad)} of {total} images cannot be read"]
    lines += [f"  {name}: {reason}" for name, reason in bad[:LISTED]]
    if len(bad) > LISTED:
        lines.append(f"  ... and {len(bad) - LISTED} more; orthogan data inspect --json lists all")
    if len(bad) < total:
        lines.append("Mend or remove them, or pass --data.skip-bad to train without them.")
    raise UserError("\n".join(lines))


def _keep_rows(images: Path, good: list[int]) -> None:
    """Rewrite the array with the good rows alone."""
    whole = np.load(images, mmap_mode="r")
    aside = images.with_name("kept.npy")
    kept = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=(len(good), *whole.shape[1:]))
    for row, i in enumerate(good):
        kept[row] = whole[i]
    kept.flush()
    os.replace(aside, images)


def _check_space(shape: Sequence[int], folder: Path) -> None:
    # Writing into a mapped file on a full disk ends the process with a signal instead of an error.
    need, free = int(np.prod(shape, dtype=np.int64)), shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"the packed images need {need / 2**30:.1f} GiB in {folder}, where {free / 2**30:.1f} GiB are free; "
            "set ORTHOGAN_CACHE to a folder with more room, or run: orthogan data clear"
        )


@contextlib.contextmanager
def _partial_folder(home: Path) -> Iterator[Path]:
    """A folder beside `home` that is gone afterwards, unless it was renamed."""
    partial = home.with_name(f"{home.name}{PARTIAL}{uuid.uuid4().hex[:12]}")
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _publish(partial: Path, home: Path) -> ImageCache:
    """Give the finished folder its name. Another process may have been first; then its pack, if whole, is used."""
    for path in (*partial.iterdir(), partial):
        flush(path)
    for _ in range(10):
        with contextlib.suppress(OSError):  # the name is taken
            partial.rename(home)
            flush(home.parent)
        cache = open_if_whole(home)
        if cache is not None:
            return cache
        _take_away(home)
    raise UserError(f"{home} cannot be written or keeps changing; set ORTHOGAN_CACHE to a folder of your own")


def _take_away(torn: Path) -> None:
    """Remove a torn pack, by renaming it first: what is being removed is never found under its name."""
    with _partial_folder(torn) as grave, contextlib.suppress(OSError):
        torn.rename(grave / "torn")
