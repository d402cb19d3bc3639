"""Runs of a study at the same time, each in its own process, and how they are stopped."""

import multiprocessing
import os
import queue
import signal
import sys
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

from orthogan import runtime
from orthogan.stop import Stop
from orthogan.studies import work
from orthogan.studies.work import Place

# Not a fork server: a signal to the whole group, as schedulers send, would end it before the runs have saved.
SPAWN = multiprocessing.get_context("spawn")
POLL_SECONDS = 0.2
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Read by PyTorch, NumPy and SciPy when a process imports them."""


def places(device: str | None, jobs: int | None, runs: int) -> list[Place]:
    """Where runs go at the same time: each GPU, or each core that this program may use, not more than runs.

    On processors the threads of a run, on which its last bits depend, do not follow from how many run beside it.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    picked = runtime.pick_device(device)
    if picked.type == "cpu":
        given = os.environ.get(THREADS[0], "")
        threads = max(1, int(given)) if given.isdecimal() else 1
        return [Place("cpu", threads)] * min(jobs or max(1, cores // threads), runs)
    all_gpus = picked.type == "cuda" and device in (None, "cuda")
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if all_gpus else [str(picked)]
    jobs = min(jobs or len(names), runs)
    return [Place(names[i % len(names)], max(1, cores // jobs)) for i in range(jobs)]


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Processes that are started inside compute with so many threads."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def measuring(where: list[Place]) -> Iterator[ProcessPoolExecutor]:
    """Processes in the places of those that will train, as many at the same time."""
    devices = SPAWN.Queue()
    for place in where:
        devices.put(place.device)
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with limited(where[0].threads), ProcessPoolExecutor(len(where), SPAWN, work.take_place, (devices,)) as pool:
            try:
                yield pool
            finally:
                pool.shutdown(cancel_futures=True)
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass
class Pool:
    """Runs waiting and running. `told` hears (name, images) while they go on, `ended` the name and exit status."""

    places: list[Place]
    told: Callable[[str, int], None]
    ended: Callable[[str, int], None]
    stop: Stop = field(default_factory=Stop)
    _running: dict[BaseProcess, tuple[Path, Place]] = field(default_factory=dict)

    def run(self, folders: list[Path]) -> None:
        """All of them, in this order; returns early, with every run saved, when a signal came."""
        news = SPAWN.Queue()
        waiting, free = deque(folders), list(self.places)
        # Every run finishes its step and saves; another Ctrl-C kills them.
        with self.stop.on_signals(self._stop, self._kill):
            try:
                while self._running or (waiting and not self.stop.by):
                    while waiting and free and not self.stop.by:
                        self._start(news, waiting.popleft(), free.pop())
                    wait([process.sentinel for process in self._running], POLL_SECONDS)
                    self._hear(news)
                    free += self._bury()
            finally:
                self._stop()
                for process in self._running:
                    process.join()

    def _start(self, news: Any, folder: Path, place: Place) -> None:
        process = SPAWN.Process(target=work.main, args=(folder, place.device, news), name=folder.name)
        with limited(place.threads):
            process.start()
        self._running[process] = (folder, place)
        if self.stop.by:  # the signal came while it was being started
            self._stop()

    def _stop(self) -> None:
        for process in self._running:
            process.terminate()

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

    def _kill(self) -> None:
        for process in self._running:
            process.kill()
