"""The one exception that is meant for people: a setting, its value, and a way out."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user can mend. The command line prints its text alone, without a traceback, and exits with 2."""


def unknown(what: str, value: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in a table; it offers the nearest name that is."""
    known = sorted(known)
    near = difflib.get_close_matches(value, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"unknown {what} {value!r}; {hint}known: {', '.join(known)}")


_NO_MEMORY = ("out of memory", "allocate memory", "size calculation overflow")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch (on a processor or a GPU) or NumPy could not get memory; told without importing either."""
    told = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in told for word in _NO_MEMORY)
    )
