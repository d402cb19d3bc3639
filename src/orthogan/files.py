"""Files that are there whole or not at all, and one line where one cannot be written."""

import itertools
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from orthogan.errors import UserError, one_line

SAMPLE = re.compile(r"\d{6,}\.png")
"""Names that generated images have in their folders."""

ASIDE = ".writing-"
"""Marks the folders in which files are written before they take their names."""
STALE_SECONDS = 3600
"""Where several programs may be writing, what was being written for so long has lost its writer."""


class CannotWrite(UserError):
    """The disk is full, read-only or broken: the message names the file and the reason."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Any failure to write inside becomes `CannotWrite` for this path."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or one_line(error)
        raise CannotWrite(f"{path} cannot be written: {reason}") from error


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A path to write to; what is there takes the name `path` when the block ends, and is then on disk.

    It lies in a folder of its own, because libraries put temporary files beside the one that they are told to write.
    Nothing is left of a block that fails; `remove_asides` clears what killed processes leave.
    """
    folder = path.parent / f"{ASIDE}{uuid.uuid4().hex[:12]}"
    with writing(path):
        folder.mkdir(parents=True)
        try:
            partial = folder / path.name
            yield partial
            flush(partial)
            os.replace(partial, path)
            flush(path.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def nearest_existing(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def check_writable(path: Path) -> None:
    """Raise `CannotWrite` for a file that could not be written, by making a folder where it or its folders would be."""
    with writing(path):
        trial = nearest_existing(path.parent) / f"{ASIDE}{uuid.uuid4().hex[:12]}"
        trial.mkdir()
        trial.rmdir()


def remove_asides(folder: Path, idle_seconds: float = 0.0) -> None:
    """Clear what killed writers left in a folder; where others may be writing, only what was idle for so long."""
    for left in folder.glob(f"{ASIDE}*"):
        try:
            newest = max(place.stat().st_mtime for place in (left, *left.iterdir()))
        except OSError:  # its writer has just finished
            continue
        if time.time() - newest >= idle_seconds:
            shutil.rmtree(left, ignore_errors=True)


def check_new(path: Path, replace: bool = False) -> None:
    """Refuse, before any work, to write over a file that is there, unless it may be replaced. Raises `UserError`."""
    if path.is_dir():
        raise UserError(f"out={str(path)!r}: is a folder; name a file")
    if path.exists() and not replace:
        raise UserError(f"out={str(path)!r}: is there already; choose another --out, or add --replace")


def remove(path: Path) -> str:
    """Remove a file or a folder with all that is in it. Gives the reason why it is still there, if it is."""
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)
    return ""


def flush(path: Path) -> None:
    """Have the disk hold what was written to a file, or a folder's names, so that a power cut cannot tear it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """Write a text file that readers find whole or not at all. Raises `CannotWrite`.

    Names of folders may hold bytes that are no text: they are written as escapes.
    """
    with aside(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def json_lines(path: Path) -> list[Any]:
    """The values of a file of JSON lines; none where there is no file."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []


def cache_folder() -> Path:
    """`$ORTHOGAN_CACHE`, else `orthogan` below `$XDG_CACHE_HOME`, else below `~/.cache`."""
    shared = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "orthogan"
    return Path(os.environ.get("ORTHOGAN_CACHE") or shared).expanduser()


def free_beside(folder: Path, kind: str) -> Path:
    """A place beside a folder, named after it and a kind, at which there is nothing: runs/a -> runs/a-branch-1."""
    whole = folder.resolve() if folder.name in ("", "..") else folder
    beside = (whole.with_name(f"{whole.name}-{kind}-{count}") for count in itertools.count(1))
    return next(place for place in beside if not place.exists())
