"""The folder of a run: free, writable, outside the data, and held by one process."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout
from lightning_fabric import Fabric

from orthogan.data.sources import NAMED
from orthogan.errors import UserError
from orthogan.files import CannotWrite, check_writable, writing
from orthogan.ranks import together
from orthogan.settings import require
from orthogan.training import checkpoint

LOCK = "lock"
"""File in a run's folder that the process which trains it holds."""


def is_run(folder: Path) -> bool:
    """Whether a run was begun in the folder."""
    return (folder / "config.json").exists() or bool(checkpoint.numbered(folder / "checkpoints"))


def refuse_existing(folder: Path) -> None:
    """Raises `UserError` if a run was begun in the folder."""
    if is_run(folder):
        raise UserError(
            f"{folder} already holds a run: go on with it by `orthogan resume {folder}`, or choose another --out"
        )


def check_folder(folder: Path) -> None:
    """Refuse a place that cannot be written before hours of decoding, not after."""
    require(folder.is_dir() or not folder.exists(), "out", str(folder), "is a file; name a folder")
    try:
        check_writable(folder / LOCK)
    except CannotWrite as error:
        raise UserError(f"out={str(folder)!r}: {error}; choose another place") from error


def whole_path(source: str) -> str:
    """A source as a run written here can be resumed from elsewhere; names such as `digits` stay."""
    return source if source in NAMED or not source else str(Path(source).expanduser().absolute())


@contextmanager
def locked(fabric: Fabric, folder: Path) -> Iterator[BaseFileLock | None]:
    """Hold a run's folder for this run, whose trainer gives it back; a failure inside gives it back at once.

    The lock is the first process's; the others have None.
    """
    lock = together(lambda: _lock(folder), here=fabric.is_global_zero)
    try:
        yield lock
    except BaseException:
        if lock is not None:
            _unlock(lock, folder)
        raise


def _lock(folder: Path) -> BaseFileLock:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=0, thread_local=False)
    with writing(folder / LOCK):
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(
                f"another process trains or begins a run in {folder}; wait until it ends, or work in another folder"
            ) from error
    return lock


def _unlock(lock: BaseFileLock, folder: Path) -> None:
    """Give a lock back, and leave no folder that holds nothing else."""
    if [path.name for path in folder.iterdir()] == [LOCK]:
        (folder / LOCK).unlink()
        lock.release()
        with suppress(OSError):
            folder.rmdir()
    else:
        lock.release()
