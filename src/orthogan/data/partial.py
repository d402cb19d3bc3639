"""Folders that are being written, and which of them were left behind by a process that is gone.

The writer holds a lock on a file in its folder. A lock ends with its process, however that ends, so no number has to be
trusted that another process may have by now. Where several machines share the disk their locks may not see each other:
of a folder that another machine began only long silence tells.
"""

import contextlib
import platform
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from orthogan.data.source import digest_of

PARTIAL = ".partial-"
"""Marks the folder of a pack that is being written."""
OWNER = "owner"
"""The file in it that the writer holds a lock on."""
SILENT_SECONDS = 6 * 3600


@contextlib.contextmanager
def partial_folder(home: Path) -> Iterator[Path]:
    """A folder beside `home` that is gone afterwards, unless it was renamed."""
    partial = home.with_name(f"{home.name}{PARTIAL}{_this_machine()}-{uuid.uuid4().hex[:12]}")
    partial.mkdir()
    lock = FileLock(partial / OWNER)
    try:
        with contextlib.suppress(OSError, NotImplementedError):  # a file system without locks
            lock.acquire(blocking=False)
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        lock.release()


def rename(partial: Path, home: Path) -> None:
    """Give a finished folder its name. Raises OSError when the name is taken."""
    partial.rename(home)
    (home / OWNER).unlink(missing_ok=True)


def is_abandoned(partial: Path) -> bool:
    """Whether the process that wrote to an unfinished folder is gone."""
    held = _is_held(partial / OWNER)
    if held is False and f"{PARTIAL}{_this_machine()}-" in partial.name:
        return True
    return not held and _silence(partial) > SILENT_SECONDS


def sweep(folder: Path) -> None:
    """Remove what killed writers left in a folder."""
    for partial in folder.glob(f"*{PARTIAL}*"):
        with contextlib.suppress(OSError):
            if is_abandoned(partial):
                shutil.rmtree(partial, ignore_errors=True)


def _this_machine() -> str:
    return digest_of(platform.node())[:8]


def _is_held(owner: Path) -> bool | None:
    """Whether a process holds the lock; None where nobody can tell."""
    if not owner.is_file():
        return None
    lock = FileLock(owner)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return None
    lock.release()
    return False


def _silence(partial: Path) -> float:
    """Seconds since anything was written to a folder."""
    newest = max((path.stat().st_mtime for path in (partial, *partial.rglob("*"))), default=0)
    return time.time() - newest
