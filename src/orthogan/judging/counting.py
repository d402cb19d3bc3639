"""How long work tells what it has done: a context for each thing that is counted."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Count = Callable[[int, int], None]
"""Called with (done, total)."""
Counting = Callable[[str], AbstractContextManager[Count]]
"""Given what is counted, a context whose value is called as the work goes on."""


@contextmanager
def silently(what: str) -> Iterator[Count]:
    """Counts nothing."""
    yield lambda done, total: None
