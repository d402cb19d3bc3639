"""What a run says of itself to whoever looks at its folder: one small file, there whole at any time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orthogan.files import write_whole
from orthogan.stability.history import STATUS
from orthogan.training.watch import watch_of

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
