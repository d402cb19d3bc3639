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
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import torch

from orthogan import runs
from orthogan.config import RunConfig
from orthogan.data import holding
from orthogan.errors import UserError
from orthogan.files import json_lines, write_whole
from orthogan.judging import verdicts
from orthogan.metrics.evaluate import choose
from orthogan.networks.base import Discriminator
from orthogan.stability.spectra import of_weights_in_use
from orthogan.studies.cells import Begin
from orthogan.training.checkpoint import config_from_json, config_to_json
from orthogan.training.duties import scored_images
from orthogan.training.logs import read_config
from orthogan.training.player import NonFiniteError
from orthogan.training.trainer import Observer, Trainer
from orthogan.training.watch import Collapsed

RESULT, TIMES, ERROR, BEGIN = "result.json", "times.jsonl", "error.txt", "begin.json"
ASKED = 1000
"""Training images, and held-out ones, that D is asked about at the end of a run, at most."""
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

    def __init__(
        self, folder: Path, images: int, news: "Queue[tuple[str, int]]", clock: Callable[[], float], start: int = 0
    ):
        """`images` is where the run ends, `start` where it began."""
        self.folder, self.images, self.start, self._news, self._clock = folder, images, start, news, clock
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
            self._news.put((self.folder.name, images - self.start))

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
    trainer, reporter = _begin(folder, device, news, clock)
    found: dict[str, Any] = {"diverged": None}
    try:
        finished = trainer.run()
    except (NonFiniteError, Collapsed) as error:
        finished, found = True, {"diverged": f"at {trainer.images} images: {error}"}
    reporter.keep_time()
    if finished:
        write_whole(folder / RESULT, json.dumps(found | judge(trainer), indent=1) + "\n")
    return finished


def _begin(
    folder: Path, device: torch.device, news: "Queue[tuple[str, int]]", clock: Callable[[], float]
) -> tuple[Trainer, Reporter]:
    """The run where it stands; at its first step, or at the checkpoint that it branches from."""
    begin = json.loads((folder / BEGIN).read_text()) if (folder / BEGIN).exists() else None
    is_new = begin is not None and not runs.is_run(folder)
    config = config_from_json(begin["config"]) if begin is not None and is_new else read_config(folder)
    reporter = Reporter(folder, config.images, news, clock, begin["images"] if begin else 0)
    if begin is not None and is_new:
        parent = Path(begin["checkpoint"]).parents[1]
        return runs.branch(parent, config, folder, reporter, device, _silent, begin["images"]), reporter
    return runs.resume(folder, config, reporter, device, _silent), reporter


def _silent(done: int, total: int) -> None:
    """Counts nothing."""


def write_begin(folder: Path, config: RunConfig, begin: Begin) -> None:
    """What `work` needs to begin a branch in a folder."""
    written = {"checkpoint": str(begin.path), "images": begin.images, "config": config_to_json(config)}
    write_whole(folder / BEGIN, json.dumps(written, indent=1) + "\n")


def judge(trainer: Trainer) -> dict[str, Any]:
    """Scores of the end and on the way, D's singular values, and the time of training."""
    found: dict[str, Any] = {"images": trainer.images, "seconds_per_image": _seconds(trainer.folder)}
    spectra = of_weights_in_use(trainer.game.d.network)
    if all(torch.isfinite(values).all() for values in spectra.values()):
        found["singular_values"] = {name: values.tolist() for name, values in spectra.items()}
    found["accuracy"] = accuracy(trainer)
    scored = json_lines(trainer.folder / "scores.jsonl")
    found["curve"] = [{"images": line["images"], **line["scores"]} for line in scored]
    return found | next((line for line in reversed(scored) if line["images"] == trainer.images), {})


def accuracy(trainer: Trainer) -> dict[str, float | None]:
    """Share of the training images, and of held-out ones if there are any, that D takes for real."""
    config, network = trainer.config, trainer.game.d.network
    assert isinstance(network, Discriminator)
    parts = {"training": scored_images(config, "", trainer.cache)}
    if config.data.hold_out:
        whole = replace(config.data, random_crop=1.0)
        parts["held_out"] = holding.load(config.data, config.resolution, part="held-out", read_as=whole)
    found = {}
    for name, cache in parts.items():
        rows = choose(len(cache), ASKED, "memorization")
        said = verdicts.mean_logits(network, config, cache.checked, cache.labels, rows)
        found[name] = verdicts.share_real(said, config)
    return found


def _seconds(folder: Path) -> float | None:
    times = json_lines(folder / TIMES)
    images = sum(line["images"] for line in times)
    return sum(line["seconds"] for line in times) / images if images else None
