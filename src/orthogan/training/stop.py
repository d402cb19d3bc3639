"""Signals that end a run after the step in which they come."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning_fabric import Fabric

from orthogan.training.observer import Observer


class Stop:
    """Whether a run was told to stop, and by what."""

    by: signal.Signals | None = None

    @contextmanager
    def on_signals(self, observer: Observer | None) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM lets the step finish; a second Ctrl-C interrupts at once."""

        def stop(number: int, frame: object) -> None:
            if self.by and number == signal.SIGINT:
                raise KeyboardInterrupt
            if self.by is None and observer is not None:
                observer.stopping()
            self.by = signal.Signals(number)

        before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def is_asked(self, fabric: Fabric) -> bool:
        """Whether any process was told: they must leave the loop after the same step."""
        if fabric.world_size == 1:
            return self.by is not None
        return bool(fabric.all_reduce(torch.tensor(float(self.by is not None)), reduce_op="sum"))
