"""Scoring by all the processes that torchrun or srun has started."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from orthogan import ranks, runtime
from orthogan.errors import UserError
from orthogan.ranks import Result


@dataclass(frozen=True)
class Here:
    """This one of the processes that have joined."""

    device: str | None
    """What it computes on."""
    is_first: bool

    def of_first(self, work: Callable[[], Result]) -> Result:
        """`ranks.of_first`, for commands that import PyTorch only once their words are checked."""
        return ranks.of_first(work)


@contextmanager
def all_processes(device: str | None) -> Iterator[Here]:
    """Within, all processes share the features of `judging.score`; one alone has nothing to share."""
    if ranks.processes()[1] == 1:
        yield Here(device, True)
        return
    launch = importlib.import_module("orthogan.training.launch")  # which takes its time
    fabric = launch.make_fabric("float32", runtime.pick_device(device))
    try:
        yield Here(str(fabric.device), ranks.is_first())
    except RuntimeError as error:
        if not launch.is_lost_process(error):
            raise
        raise UserError("another of these processes has ended, so this one stops; start all of them again") from error
    launch.leave_together()
