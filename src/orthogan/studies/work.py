"""One run of a study in a process of its own: train or go on, score, take D's spectra, write `result.json`."""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import torch

from orthogan import runs
from orthogan.errors import UserError
from orthogan.files import write_whole
from orthogan.stability.spectra import of_weights_in_use
from orthogan.training.logs import read_config
from orthogan.training.player import NonFiniteError
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


class Here:
    """The device of this process, once it has a place."""

    device = torch.device("cpu")


def follow_parent() -> None:
    """End like the parent: not by its Ctrl-C, which it passes on as SIGTERM, but when it is gone."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def take_place(devices: "Queue[str]") -> None:
    """Begin a process that measures."""
    follow_parent()
    Here.device = torch.device(devices.get())


class Reporter(Observer):
    """Tells the parent how far the run is, and keeps the time that training took."""

    def __init__(self, folder: Path, images: int, news: "Queue[tuple[str, int]]", clock: Callable[[], float]):
        self.folder, self.images, self._news, self._clock = folder, images, news, clock
        self._last = 0.0
        self._first: int | None = None
        """Images after the first step, which is slower than the rest and not timed."""
        self._seen, self._seconds, self._since = 0, 0.0, 0.0

    def stepped(self, images: int, stats: dict[str, float]) -> None:
        now = self._clock()
        if self._first is None:
            self._first = images
        else:
            self._seconds += now - self._since
        self._seen, self._since = images, now
        if images >= self.images or time.monotonic() - self._last > TOLD_SECONDS:
            self._last = time.monotonic()
            self._news.put((self.folder.name, images))

    def told(self, message: str) -> None:
        self._since = self._clock()  # a score, a sheet or a checkpoint is done, whose time is not training's

    def keep_time(self) -> None:
        """Append how many images took how many seconds since the run was begun or taken up again."""
        if self._first is not None and self._seen > self._first:
            line = {"images": self._seen - self._first, "seconds": self._seconds}
            with (self.folder / TIMES).open("a") as file:
                file.write(json.dumps(line) + "\n")


def main(folder: Path, device: str, news: "Queue[tuple[str, int]]") -> None:
    """Body of the process. Ends with 0, with STOPPED, or with 1 and the reason in `error.txt`."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(STOPPED))  # the trainer has its own while it runs
    follow_parent()
    news.cancel_join_thread()  # never wait for a pipe whose other writers may have been killed
    (folder / ERROR).unlink(missing_ok=True)
    try:
        finished = work(folder, torch.device(device), news)
    except Exception as error:
        # Its first line is what the parent tells.
        what = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        write_whole(folder / ERROR, f"{what}\n\n{traceback.format_exc()}")
        sys.exit(1)
    sys.exit(0 if finished else STOPPED)


def work(folder: Path, device: torch.device, news: "Queue[tuple[str, int]]") -> bool:
    """Whether the run came to its end; a run that diverges has come to its end too."""
    # The time of this process alone where it computes on the processor, which other programs do not lengthen.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    config = read_config(folder)
    reporter = Reporter(folder, config.images, news, clock)
    trainer = runs.resume(folder, config, reporter, device, lambda done, total: None)
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
    """Scores of the end and on the way, D's singular values, and the time of training."""
    found: dict[str, Any] = {"images": trainer.images, "seconds_per_image": _seconds(trainer.folder)}
    spectra = of_weights_in_use(trainer.game.d.network)
    if all(torch.isfinite(values).all() for values in spectra.values()):
        found["singular_values"] = {name: values.tolist() for name, values in spectra.items()}
    lines = trainer.folder / "scores.jsonl"
    scored = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    found["curve"] = [{"images": line["images"], **line["scores"]} for line in scored]
    return found | next((line for line in reversed(scored) if line["images"] == trainer.images), {})


def _seconds(folder: Path) -> float | None:
    lines = folder / TIMES
    times = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    images = sum(line["images"] for line in times)
    return sum(line["seconds"] for line in times) / images if images else None
