"""One run of a study in a process of its own: train or go on, score, take D's spectra, write `result.json`."""

import json
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import torch

from orthogan import runs
from orthogan.errors import UserError
from orthogan.files import write_whole
from orthogan.nn.layers import singular_values
from orthogan.training.logs import read_config
from orthogan.training.steps import NonFiniteError
from orthogan.training.trainer import Observer, Trainer

RESULT, TIMES, ERROR = "result.json", "times.jsonl", "error.txt"
STOPPED = 3
"""Exit status of a run that was told to stop and can go on."""
TOLD_SECONDS = 0.5


@dataclass(frozen=True)
class Place:
    """Where a process trains, and with how many threads."""

    device: str
    threads: int


def prepare(place: Place) -> torch.device:
    """Set up this process before its first tensor."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C reaches the parent alone, which decides and sends SIGTERM
    torch.set_num_threads(place.threads)
    return torch.device(place.device)


class Reporter(Observer):
    """Tells the parent how far the run is, and keeps the time that training took."""

    def __init__(self, folder: Path, told: "Queue[tuple[str, int]]", clock: Any):
        self.folder, self._told, self._clock = folder, told, clock
        self._last = 0.0
        self._first: tuple[int, float] | None = None
        self._now = (0, 0.0)

    def stepped(self, images: int, stats: dict[str, float]) -> None:
        self._now = (images, self._clock())
        # From the end of the first step, which is slower than the rest.
        self._first = self._first or self._now
        if time.monotonic() - self._last > TOLD_SECONDS:
            self._last = time.monotonic()
            self._told.put((self.folder.name, images))

    def keep_time(self) -> None:
        """Append how many images took how many seconds since the run was begun or taken up again."""
        if self._first is not None and self._now[0] > self._first[0]:
            line = {"images": self._now[0] - self._first[0], "seconds": self._now[1] - self._first[1]}
            with (self.folder / TIMES).open("a") as file:
                file.write(json.dumps(line) + "\n")


def main(folder: Path, place: Place, told: "Queue[tuple[str, int]]") -> None:
    """Body of the process. Ends with 0, with STOPPED, or with 1 and the reason in `error.txt`."""
    told.cancel_join_thread()  # never wait for a pipe whose other writers may have been killed
    signal.signal(signal.SIGTERM, lambda *_: os._exit(STOPPED))  # the trainer has its own while it runs
    (folder / ERROR).unlink(missing_ok=True)
    try:
        finished = work(folder, prepare(place), told)
    except UserError as error:
        write_whole(folder / ERROR, f"{error}\n")
        sys.exit(1)
    except Exception:
        write_whole(folder / ERROR, traceback.format_exc())
        sys.exit(1)
    sys.exit(0 if finished else STOPPED)


def work(folder: Path, device: torch.device, told: "Queue[tuple[str, int]]") -> bool:
    """Whether the run came to its end; a run that diverges has come to its end too."""
    # The time of this process alone where it computes on the processor, which other programs do not lengthen.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    reporter = Reporter(folder, told, clock)
    trainer = runs.resume(folder, read_config(folder), reporter, device, lambda done, total: None)
    found: dict[str, Any] = {"diverged": None}
    try:
        finished = trainer.run()
    except NonFiniteError as error:
        finished, found = True, {"diverged": f"at {trainer.images} images: {error}"}
    reporter.keep_time()
    if finished:
        write_whole(folder / RESULT, json.dumps(found | judge(trainer), indent=1) + "\n")
    return finished


def judge(trainer: Trainer) -> dict[str, Any]:
    """Scores of the end, D's singular values, and the time of training."""
    found: dict[str, Any] = {"images": trainer.images, "seconds_per_image": _seconds(trainer.folder)}
    d = trainer.game.d.network
    if all(torch.isfinite(p).all() for p in d.parameters()):
        found["singular_values"] = {name: values.tolist() for name, values in singular_values(d).items()}
    lines = trainer.folder / "scores.jsonl"
    scored = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    return found | next((line for line in reversed(scored) if line["images"] == trainer.images), {})


def _seconds(folder: Path) -> float | None:
    lines = folder / TIMES
    times = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    images = sum(line["images"] for line in times)
    return sum(line["seconds"] for line in times) / images if images else None
