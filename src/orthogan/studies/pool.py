"""Runs of a study at the same time, each in its own process, and how they are stopped."""

import multiprocessing
import os
import queue
import signal
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from orthogan.studies import work
from orthogan.studies.work import Place

# Imported once by the server that all runs are forked from: a run then starts without importing PyTorch again.
PRELOADED = ["orthogan.studies.work", "timm", "torch_fidelity", "torch.utils.tensorboard"]
POLL_SECONDS = 0.2


def context() -> Any:
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    chosen = multiprocessing.get_context(method)
    if method == "forkserver":
        chosen.set_forkserver_preload(PRELOADED)
    return chosen


def places(device: torch.device, jobs: int | None) -> list[Place]:
    """Where runs go at the same time: each GPU, or each processor core that this program may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if device.type == "cuda" and device.index is None:
        names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    else:
        names = [str(device)]
    jobs = jobs or (cores if device.type == "cpu" else len(names))
    return [Place(names[i % len(names)], max(1, cores // jobs)) for i in range(jobs)]


@contextmanager
def measuring(where: list[Place]) -> Iterator[ProcessPoolExecutor]:
    """Processes like those that will train, as many at the same time."""
    with ProcessPoolExecutor(len(where), context(), initializer=work.prepare, initargs=(where[0],)) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


@dataclass
class Pool:
    """Runs waiting and running. `told` hears (name, images) while they go on, `ended` the name and exit status."""

    places: list[Place]
    told: Callable[[str, int], None]
    ended: Callable[[str, int], None]
    stopped_by: signal.Signals | None = None
    _running: dict[BaseProcess, tuple[Path, Place]] = field(default_factory=dict)

    def run(self, folders: list[Path]) -> None:
        """All of them, in this order; returns early, with every run saved, when a signal came."""
        chosen = context()
        news = chosen.Queue()
        waiting, free = deque(folders), list(self.places)
        with self._signals():
            while self._running or (waiting and not self.stopped_by):
                while waiting and free and not self.stopped_by:
                    self._start(chosen, news, waiting.popleft(), free.pop())
                wait([process.sentinel for process in self._running], POLL_SECONDS)
                self._hear(news)
                free += self._bury()

    def _start(self, chosen: Any, news: Any, folder: Path, place: Place) -> None:
        process = chosen.Process(target=work.main, args=(folder, place, news), name=folder.name)
        process.start()
        self._running[process] = (folder, place)

    def _hear(self, news: Any) -> None:
        try:
            while True:
                self.told(*news.get_nowait())
        except queue.Empty:
            pass

    def _bury(self) -> list[Place]:
        """The places of the processes that have ended."""
        freed = []
        for process in [p for p in self._running if not p.is_alive()]:
            folder, place = self._running.pop(process)
            process.join()
            self.ended(folder.name, process.exitcode or 0)
            freed.append(place)
        return freed

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM let every run finish its step and save; a second Ctrl-C kills them."""

        def stop(number: int, frame: object) -> None:
            for process in self._running:
                process.kill() if self.stopped_by else process.terminate()
            self.stopped_by = signal.Signals(number)

        before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
