"""Packing: decode every image once, by several processes, and leave a whole pack in the cache or nothing.

A pack is written aside and renamed when whole, so two packers of one key do no harm and a killed one leaves no half.
What a killed one leaves is removed by the next.
"""

import contextlib
import math
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orthogan.data.cache import (
    ImageCache,
    TornPack,
    note_use,
    open_if_whole,
    open_whole,
    packs_folder,
    row_sum,
    write_meta,
)
from orthogan.data.config import DataConfig
from orthogan.data.decode import Policy, square
from orthogan.data.parallel import Progress, for_each_image
from orthogan.data.partial import partial_folder, rename, sweep
from orthogan.data.rows import RowWriter, create_rows, keep_rows
from orthogan.data.source import Source, digest_of, reason_of
from orthogan.data.sources import open_source
from orthogan.errors import UserError, printable
from orthogan.files import flush

VERSION = 2
"""Raise when decoding changes a pixel or the files change their form: older packs are then left alone."""

LISTED = 50
"""Unreadable images that an error names; of more it gives the number."""

Bad = list[tuple[str, str]]
"""(name, reason) of unreadable images."""


def pack(
    config: DataConfig, resolution: int, progress: Progress | None = None, workers: int | None = None
) -> ImageCache:
    """The images of `config.source` as squares of `resolution`: from the cache, or decoded into it now.

    With `config.random_crop` below 1 the squares are larger by as much; `BatchStream` then shows parts of them.

    Raises UserError when the source cannot be opened, and one that lists every unreadable image unless
    `config.skip_bad`. `progress` is called with (done, total) while decoding, and not at all when there is no need.
    """
    source, policy, home = _place(config, resolution)
    try:
        cache = open_whole(home)
    except TornPack as why:
        if home.is_dir():
            warnings.warn(f"the pack {home} is torn ({why}); its images are decoded again", stacklevel=2)
        _prepare(home.parent)
        with _writes_told(home.parent):
            cache = _build(source, policy, config, home, progress, workers)
    _refuse_bad(cache.skipped, len(cache) + len(cache.skipped), config)
    note_use(cache.path)
    return cache


def if_packed(config: DataConfig, resolution: int) -> ImageCache | None:
    """What `pack` would give, where nothing has to be decoded for it. Raises UserError for a source that is gone."""
    return open_if_whole(_place(config, resolution)[2])


def _place(config: DataConfig, resolution: int) -> tuple[Source, Policy, Path]:
    """The source, how its images become squares, and the folder of such a pack of it."""
    policy = Policy.of(config, round(resolution / config.random_crop))
    source = open_source(config.source, config.unconditional)
    return source, policy, packs_folder() / _key(source, policy)


def _key(source: Source, policy: Policy) -> str:
    """Everything that decides what the pack holds."""
    return digest_of(VERSION, source.fingerprint(), source.labels, source.class_names, vars(policy))


def _prepare(folder: Path) -> None:
    """Make the cache's folder, and clear it of what killed packers left behind."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the cache {folder} cannot be made ({error}); set ORTHOGAN_CACHE to another folder") from None
    sweep(folder)


@contextlib.contextmanager
def _writes_told(folder: Path) -> Iterator[None]:
    """A disk that is full, or fails, while images are packed is one line."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"the packed images cannot be written to {folder} ({error.strerror or error}); set ORTHOGAN_CACHE to a "
            "folder with more room, or run: orthogan data clear"
        ) from None


def _build(
    source: Source, policy: Policy, config: DataConfig, home: Path, progress: Progress | None, workers: int | None
) -> ImageCache:
    shape = (len(source), policy.resolution, policy.resolution, 3)
    _check_space(shape, home.parent)
    with partial_folder(home) as partial:
        images = partial / "images.npy"
        create_rows(images, shape)
        outcomes = for_each_image(source, _PackImage(RowWriter(images), policy), progress, workers)
        bad = [(name, reason) for name, (_, reason) in zip(source.names, outcomes, strict=True) if reason]
        _refuse_bad(bad, len(source), config)
        good = [i for i, (_, reason) in enumerate(outcomes) if not reason]
        if bad:
            keep_rows(images, good)
        labels = None if source.labels is None else np.asarray(source.labels, np.int64)[good]
        write_meta(partial, source, labels, np.array([outcomes[i][0] for i in good], np.uint64), bad)
        return _publish(partial, home)


@dataclass(frozen=True)
class _PackImage:
    """The work on one image: decode it, put it in its row, and give the sum of its pixels, or why it failed."""

    rows: RowWriter
    policy: Policy

    def __call__(self, source: Source, index: int) -> tuple[int, str]:
        """(sum, "") or (0, reason)."""
        try:
            with source.read(index) as image:
                pixels = square(image, self.policy)
        except Exception as error:  # damaged files raise whatever the decoder stumbled over
            return 0, reason_of(error)
        self.rows.write(index, pixels)
        return row_sum(pixels), ""


def _refuse_bad(bad: Bad, total: int, config: DataConfig) -> None:
    if not bad or (config.skip_bad and len(bad) < total):
        return
    lines = [f"data.source={config.source!r}: {len(bad)} of {total} images cannot be read"]
    lines += [f"  {printable(name)}: {printable(reason)}" for name, reason in bad[:LISTED]]
    if len(bad) > LISTED:
        lines.append(f"  ... and {len(bad) - LISTED} more; orthogan data inspect --json lists all")
    if len(bad) < total:
        lines.append("Mend or remove them, or pass --data.skip-bad to train without them.")
    raise UserError("\n".join(lines))


def _check_space(shape: tuple[int, ...], folder: Path) -> None:
    need, free = math.prod(shape), shutil.disk_usage(folder).free
    if need > free:
        raise UserError(
            f"the packed images need {need / 2**20:,.1f} MiB in {folder}, where {free / 2**20:,.1f} MiB are free; "
            "set ORTHOGAN_CACHE to a folder with more room, or run: orthogan data clear"
        )


def _publish(partial: Path, home: Path) -> ImageCache:
    """Give the finished folder its name. Another process may have been first; then its pack, if whole, is used."""
    for path in (*partial.iterdir(), partial):
        flush(path)
    for _ in range(10):
        with contextlib.suppress(OSError):  # the name is taken
            rename(partial, home)
            flush(home.parent)
        cache = open_if_whole(home)
        if cache is not None:
            return cache
        _take_away(home)
    raise UserError(f"{home} cannot be written or keeps changing; set ORTHOGAN_CACHE to a folder of your own")


def _take_away(torn: Path) -> None:
    """Remove a torn pack, by renaming it first: what is being removed is never found under its name."""
    with partial_folder(torn) as grave, contextlib.suppress(OSError):
        torn.rename(grave / "torn")
