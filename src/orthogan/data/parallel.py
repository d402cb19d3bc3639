"""One piece of work on each image of a source, by several processes when it pays."""

import contextlib
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

from orthogan.data.source import Source

Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""

POOL_FROM = 500
"""Fewer images are done sooner than processes start."""
_CHUNK = 64

_job: tuple[Source, Callable[[Source, int], Any], Event] | None = None


def for_each_image(
    source: Source,
    work: Callable[[Source, int], Result],
    progress: Progress | None = None,
    workers: int | None = None,
) -> list[Result]:
    """`work(source, i)` for every image, in order. `work` must be picklable and must not depend on other images.

    `workers` counts processes; None takes every available processor, and none beside this one for small sets.
    """
    progress = progress or (lambda done, total: None)
    workers = _worth(source) if workers is None else workers
    if workers <= 1:
        return _alone(source, work, progress)
    try:
        return _together(source, work, progress, workers)
    except BrokenProcessPool:
        # A script without the `if __name__ == "__main__"` guard cannot start processes, nor can an interactive one.
        warnings.warn("the decoding processes could not run; going on in one process", stacklevel=2)
        return _alone(source, work, progress)


def _worth(source: Source) -> int:
    if len(source) < POOL_FROM or not source.needs_decoding:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _alone(source: Source, work: Callable[[Source, int], Result], progress: Progress) -> list[Result]:
    results = []
    for i in range(len(source)):
        results.append(work(source, i))
        if (i + 1) % _CHUNK == 0 or i + 1 == len(source):
            progress(i + 1, len(source))
    return results


def _together(source: Source, work: Callable[[Source, int], Result], progress: Progress, workers: int) -> list[Result]:
    starts = range(0, len(source), _CHUNK)
    done, by_start = 0, {}
    # Spawned, not forked: the training process has threads whose locks a fork would copy in any state.
    context = get_context("spawn")
    given_up = context.Event()
    job = (source, work, given_up)
    pool = ProcessPoolExecutor(min(workers, len(starts)), context, _take_job, job)
    try:
        with _signals_held():
            futures: dict[Future[list[Result]], int] = {pool.submit(_do_chunk, start): start for start in starts}
        for future in as_completed(futures):
            by_start[futures[future]] = future.result()
            done += len(by_start[futures[future]])
            progress(done, len(source))
    except BaseException:
        given_up.set()  # after one more image each, not after the whole chunk
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return [result for start in starts for result in by_start[start]]


HELD = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the processes are started, which inherit that: the parent's end is theirs too."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        with _handlers_held():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _handlers_held() -> Iterator[None]:
    """The same for signals that another thread of this process takes: Python handles them in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {s: signal.signal(s, lambda number, frame: came.append(number)) for s in HELD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def _take_job(source: Source, work: Callable[[Source, int], Any], given_up: Event) -> None:
    global _job  # noqa: PLW0603  # the initialiser of a pool can leave its result nowhere else
    _job = source, work, given_up
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the pool
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent cannot end its pool, whose processes would wait for work for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _do_chunk(start: int) -> list[Any]:
    assert _job is not None
    source, work, given_up = _job
    stop = min(start + _CHUNK, len(source))
    return [work(source, i) for i in range(start, stop) if not given_up.is_set()]
