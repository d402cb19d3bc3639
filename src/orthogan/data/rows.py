"""The array of a pack while it is written: an .npy file whose rows are put in place one by one.

Rows are written, not mapped: on a full disk a write is an error, while a mapped one ends the process with a signal.
"""

import errno
import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_CANNOT_RESERVE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


def create_rows(path: Path, shape: tuple[int, ...]) -> None:
    """Make the file of a uint8 array, with all its space. Raises OSError where there is less."""
    with path.open("xb") as file:
        start = _write_header(file, shape)
        _reserve(file, start + math.prod(shape))


def keep_rows(path: Path, good: list[int]) -> None:
    """Move the good rows, in order, to the front, and cut the rest off."""
    whole = np.load(path, mmap_mode="r")
    writer = RowWriter(path)
    for row, i in enumerate(good):
        if row != i:
            writer.write(row, whole[i])
    with path.open("r+b") as file:
        start = _write_header(file, (len(good), *whole.shape[1:]))
        # NumPy pads the header so that it keeps its length whatever the number of rows.
        assert start == whole.offset, "the header of the array has another length"
        file.truncate(start + len(good) * whole[0].nbytes)


class RowWriter:
    """Writes rows of such a file. Picklable: each process opens the file itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._start = self._row_bytes = 0

    def write(self, index: int, row: np.ndarray) -> None:
        """Put a row in its place. Raises OSError when the disk does not take it."""
        if self._file is None:
            whole = np.load(self.path, mmap_mode="r")
            self._start, self._row_bytes = whole.offset, whole[0].nbytes
            self._file = self.path.open("r+b", buffering=0)
        assert row.dtype == np.uint8, "rows are bytes"
        assert row.nbytes == self._row_bytes, "rows are of one size"
        self._file.seek(self._start + index * self._row_bytes)
        left = memoryview(row.tobytes())
        while left:
            left = left[self._file.write(left) :]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> int:
    """Bytes that the header takes."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.tell()


def _reserve(file: BinaryIO, n_bytes: int) -> None:
    """Take the space now. Where the system cannot, a full disk shows at the row that it has no room for."""
    file.flush()
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise
    file.truncate(n_bytes)
