"""Signals that end a program at the next good moment."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, the end that schedulers send, and a closed terminal, which Windows does not tell of."""


class Stop:
    """Whether a program was told to stop, and by what."""

    by: signal.Signals | None = None

    @contextmanager
    def on_signals(self, first: Callable[[], object], at_once: Callable[[], object]) -> Iterator[None]:
        """The first signal calls `first` and is remembered; Ctrl-C after it calls `at_once`, from its handler."""

        def told(number: int, frame: object) -> None:
            if self.by is None:
                self.by = signal.Signals(number)
                first()
            elif number == signal.SIGINT:
                at_once()

        # Whoever ignores a closed terminal, as nohup does, wants the program to outlive it.
        ignored = [s for s in SIGNALS if s.name == "SIGHUP" and signal.getsignal(s) == signal.SIG_IGN]
        before = {s: signal.signal(s, told) for s in SIGNALS if s not in ignored}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)  # None: one that is not Python's, and so is lost
