"""What every source of images offers, and what their labels have in common."""

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from orthogan.errors import UserError, one_line
from orthogan.settings import digest_of_text


class Source(ABC):
    """Images with names and perhaps labels, in a fixed order. Picklable: decoding processes each open their own."""

    kind: str
    """What the user would call it, in messages."""
    spec: str
    """What the user typed."""
    names: list[str]
    """One name an image, unique."""
    labels: list[int] | None
    """Index into `class_names` for each image, or None without classes."""
    class_names: list[str]
    """Names of the classes in label order; empty without classes."""
    ignored: Sequence[str] = ()
    """Files that lie among the images and are not of a known image type."""
    needs_decoding: bool = True
    """False where reading is a copy, which is not worth a second process."""

    @abstractmethod
    def read(self, index: int) -> Image.Image:
        """Open one picture. Its pixels may be decoded only on load, where a damaged file raises."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Changes when the images change; cheap, so it trusts sizes and times of modification."""

    def __len__(self) -> int:
        return len(self.names)

    def forget_labels(self) -> None:
        self.labels, self.class_names = None, []


@contextlib.contextmanager
def failures_told(spec: str, what: str) -> Iterator[None]:
    """Whatever the readers of outside files stumble over becomes one line that names the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # damaged files raise anything
        raise UserError(f"data.source={spec!r}: not a readable {what} ({reason_of(error)})") from None


def reason_of(error: Exception) -> str:
    """One short line that says why something cannot be read."""
    text = shorten(one_line(error)) or "unreadable"
    return text if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {text}"


def shorten(text: str, length: int = 300) -> str:
    return text if len(text) <= length else f"{text[:length]}..."


def digest_of(*parts: Any) -> str:
    """A short hexadecimal digest of plain values, the same in every process."""
    return digest_of_text(json.dumps(parts, sort_keys=True))


def stat_digest(paths: Iterable[Path]) -> str:
    """Digest of what files the paths are: place, size, time of modification."""
    facts = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return digest_of(facts)


def sort_classes(names: Iterable[str]) -> list[str]:
    """Class order: by number when every name is a whole number, else by code point, as torchvision's ImageFolder."""
    names = set(names)
    if all(name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def number_classes(values: Sequence[Any] | np.ndarray, where: str) -> tuple[list[int], list[str]]:
    """Labels and class names from one raw label an image: whole numbers keep their value, words are sorted.

    One-hot rows count as their index. Raises UserError for anything else, naming `where` the labels are.
    """
    try:
        array = np.asarray(values)
    except ValueError:
        raise UserError(f"{where}: labels are of several shapes; give one whole number an image") from None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2:
        array = _from_one_hot(array, where)
    if array.ndim != 1:
        raise UserError(f"{where}: labels have shape {array.shape}; give one number or one-hot row an image")
    if array.dtype.kind in "US":
        words = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
        class_names = sort_classes(words.tolist())
        index = {name: i for i, name in enumerate(class_names)}
        return [index[word] for word in words.tolist()], class_names
    numbers = _whole_numbers(array, where)
    return numbers.tolist(), [str(i) for i in range(int(numbers.max()) + 1)]


def _from_one_hot(rows: np.ndarray, where: str) -> np.ndarray:
    if rows.dtype.kind not in "buif" or not np.isfinite(rows).all() or not ((rows != 0).sum(1) == 1).all():
        raise UserError(f"{where}: label rows are not one-hot; orthogan takes exactly one class an image")
    return (rows != 0).argmax(1)


def _whole_numbers(array: np.ndarray, where: str) -> np.ndarray:
    if array.dtype.kind not in "buif" or not np.isfinite(array).all() or (array != np.floor(array)).any():
        raise UserError(f"{where}: labels must be whole numbers or words, one an image; got type {array.dtype}")
    lowest, highest, distinct = int(array.min()), int(array.max()), len(np.unique(array))
    if lowest < 0:
        raise UserError(f"{where}: label {lowest} is negative; number the classes from 0")
    if is_sparse(highest + 1, distinct):
        raise UserError(f"{where}: labels reach {highest} but only {distinct} values occur; number the classes from 0")
    return array.astype(np.int64)


def is_sparse(n_classes: int, distinct: int) -> bool:
    """Whether so few classes occur that most rows of the networks' embeddings would never be used."""
    return n_classes > max(1000, 10 * distinct)
