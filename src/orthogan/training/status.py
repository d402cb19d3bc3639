"""What a run says of itself to whoever looks at its folder: one small file, there whole at any time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from orthogan.files import CannotWrite, write_whole
from orthogan.stability.history import STATUS
from orthogan.training.player import NonFiniteError
from orthogan.training.watch import Collapsed, watch_of

if TYPE_CHECKING:
    from orthogan.training.trainer import Trainer


def write_status(run: Trainer, state: str) -> None:
    """`state` is training, finished, stopped (by a signal), collapsed or failed. Raises `CannotWrite`.

    A run that was killed says training; nobody then holds the folder's lock.
    """
    values = {
        "state": state,
        "images": run.images,
        "of_images": run.config.images,
        "attempt": run.feed.attempt,
        "alarms": watch_of(run).alarms,
        "rollbacks": run.rollbacks,
    }
    write_whole(run.folder / STATUS, json.dumps(values, indent=2) + "\n")


@contextmanager
def telling_the_end(run: Trainer) -> Iterator[None]:
    """Has the file say how the run ended, in whatever way it leaves the block."""
    end = "failed"
    try:
        yield
        end = "finished" if run.images >= run.config.images else "stopped"
    except (NonFiniteError, Collapsed):
        end = "collapsed"
        raise
    except KeyboardInterrupt:
        end = "stopped"
        raise
    finally:
        with suppress(CannotWrite):  # what ended the run is told in its place
            run.tell_status(end)
