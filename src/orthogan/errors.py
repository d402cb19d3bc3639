"""The one exception that is meant for people: a setting, its value, and a way out; and words for such messages."""

import difflib
from collections.abc import Iterable, Sequence


class UserError(ValueError):
    """Something the user can mend. The command line prints its text alone, without a traceback, and exits with 2."""


NAMED = 12
"""Names of a table that an error tells at most."""


def unknown(what: str, value: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in a table; it offers the nearest that is, and of a long table near ones."""
    known = sorted(known)
    near = difflib.get_close_matches(value, known, n=NAMED, cutoff=0.4)
    is_near = bool(near) and difflib.SequenceMatcher(None, near[0], value).ratio() >= 0.5
    hint = f"did you mean {near[0]!r}? " if is_near else ""
    told = known if len(known) <= NAMED else sorted(near) or known[:NAMED]
    more = len(known) - len(told)
    return UserError(
        f"unknown {what} {value!r}; {hint}known: {', '.join(told)}" + (f" and {more} more" if more else "")
    )


_NO_MEMORY = ("out of memory", "allocate memory", "size calculation overflow")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch (on a processor or a GPU) or NumPy could not get memory; told without importing either."""
    told = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in told for word in _NO_MEMORY)
    )


def one_line(told: object, length: int | None = None) -> str:
    """What an error says, without its line ends, and at most so many characters of it."""
    return " ".join(str(told).split())[:length]


def some(names: Sequence[str], most: int, between: str = ", ") -> str:
    """'a, b and 7 more': the first of many, and how many others there are."""
    more = len(names) - most
    return between.join(names[:most]) + (f"{between.rstrip(', ')} and {more} more" if more > 0 else "")


def printable(text: str) -> str:
    """Names of files may hold bytes that are no text, line ends, and codes that would steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
