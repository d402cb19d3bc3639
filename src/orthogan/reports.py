"""What the command line shows: progress, tables, the last word. Only this and the commands print."""

import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from orthogan.errors import printable
from orthogan.training.observer import Observer

# Square brackets in names of files and classes are no markup.
console = Console(markup=False, highlight=False, soft_wrap=True)
errors = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)

QUIET_SECONDS = 15.0
"""Pause between lines of progress where there is no terminal."""


class Lines:
    """Progress where there is no terminal: a line now and then."""

    def __init__(self, on: Console | None = None) -> None:
        self.on, self.last = on or console, time.monotonic()

    def show(self, text: str) -> None:
        """Print it, unless there is a terminal, which has a bar, or a line has been printed just now."""
        now = time.monotonic()
        if not self.on.is_terminal and now - self.last > QUIET_SECONDS:
            self.last = now
            self.on.print(text)


LOSSES = {"G": "g_loss", "D": "d_loss"}

ROOMY, NARROW = 110, 90
"""Columns of a terminal below which the losses, and then the bar, are left out; the time left stays."""


class TrainingView(Observer):
    """A bar with images, speed, losses and the time left; or a line now and then where there is no terminal."""

    def __init__(self, total: int, step: int):
        """`total` images in all, `step` in one step."""
        self.total, self.step = total, step
        self.first: int | None = None
        self.began, self.lines = time.monotonic(), Lines()
        columns: list[ProgressColumn] = [
            TextColumn("training"),
            MofNCompleteColumn(),
            TextColumn("images  {task.fields[speed]}"),
            TextColumn("{task.fields[left]} left"),
        ]
        if console.width >= ROOMY:
            columns.insert(-1, TextColumn("{task.fields[losses]}"))
        if console.width >= NARROW:
            columns.insert(1, BarColumn(bar_width=24))
        self.bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self.task = self.bar.add_task("training", total=total, speed="", losses="", left="?")

    def __enter__(self) -> "TrainingView":
        self.began, self.lines = time.monotonic(), Lines()
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def stepped(self, images: int, stats: dict[str, float]) -> None:
        now = time.monotonic()
        if self.first is None:
            # The first step is slower than the rest: the speed is reckoned from its end as soon as there is another.
            speed = self.step / max(now - self.began, 1e-9)
            self.first, self.began = images, now
        else:
            speed = (images - self.first) / max(now - self.began, 1e-9)
        # A frozen player has none.
        losses = " ".join(f"{player} {stats[name]:.3f}" for player, name in LOSSES.items() if name in stats)
        told = f"{speed:.0f}/s" if speed >= 10 else f"{speed:.2g}/s"
        left = duration(max(0, self.total - images) / speed)
        self.bar.update(self.task, completed=images, speed=told, losses=losses, left=left)
        self.lines.show(f"{images}/{self.total} images  {told}  {losses}  {left} left")

    def told(self, text: str) -> None:
        console.print(text)

    def alarmed(self, text: str) -> None:
        warn(text)

    def stopping(self) -> None:
        # Past the console and its locks: the signal may have come in the middle of its printing.
        os.write(sys.stderr.fileno(), b"\nfinishing this step, then saving; Ctrl-C again leaves at once\n")


class StudyView:
    """One bar for a whole study, weighted by the cost of its runs, with a line of the runs that are going on."""

    def __init__(self, left: dict[str, tuple[int, float]], total_runs: int, jobs: int):
        """`left` maps the name of every run to do to its images and its share of the work."""
        self.left, self.total_runs = left, total_runs
        self.done_runs = total_runs - len(left)
        self.shown: dict[str, int] = {}
        self.finished = 0.0
        self.began, self.lines = time.monotonic(), Lines()
        self.work = sum(work for _, work in left.values())
        console.print(f"{len(left)} of {total_runs} runs to do, {jobs} at a time")
        self.bar = Progress(
            TextColumn("{task.fields[runs]} runs"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[left]} left"),
            TextColumn("{task.fields[now]}", style="dim", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task("study", total=self.work, runs=f"{self.done_runs}/{total_runs}", now="", left="?")

    def __enter__(self) -> "StudyView":
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def stepped(self, name: str, images: int) -> None:
        self.shown[name] = images
        self._show()

    def ended(self, name: str, done: bool) -> None:
        self.shown.pop(name, None)
        if done:
            self.done_runs += 1
            self.finished += self.left[name][1]
        self._show()

    def _show(self) -> None:
        shares = {name: shown / self.left[name][0] for name, shown in self.shown.items()}
        done = self.finished + sum(share * self.left[name][1] for name, share in shares.items())
        runs = f"{self.done_runs}/{self.total_runs}"
        now = ", ".join(f"{name} {share:.0%}" if share < 1 else f"{name} scoring" for name, share in shares.items())
        left = duration((time.monotonic() - self.began) * (self.work - done) / done) if done else "?"
        self.bar.update(self.task, completed=done, runs=runs, now=now, left=left)
        if done:
            self.lines.show(f"{runs} runs  {done / self.work:.0%}  {left} left  {now}")


@contextmanager
def counting(what: str, on: Console | None = None) -> Iterator[Any]:
    """A bar for (done, total) callbacks, shown from the first call on; or lines where there is no terminal.

    On `errors` where the output is for programs.
    """
    on = on or console
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=on,
        disable=not on.is_terminal,
    )
    task = None
    started = False
    began, lines = time.monotonic(), Lines(on)

    def update(done: int, total: int) -> None:
        nonlocal task, started
        if not started:
            bar.start()
            task, started = bar.add_task(what, total=total), True
        assert task is not None
        bar.update(task, completed=done, total=total)
        if done:
            left = duration((time.monotonic() - began) * (total - done) / done)
            lines.show(f"{what}  {done}/{total}  {left} left")

    try:
        yield update
    finally:
        if started:
            bar.stop()


def table(title: str, columns: list[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; numbers are aligned to the right, and names may hold any character."""
    shown = Table(title=title, title_justify="left", show_edge=False)
    for i, column in enumerate(columns):
        numeric = rows and all(isinstance(row[i], int | float) or row[i] == "" for row in rows)
        shown.add_column(column, justify="right" if numeric else "left")
    for row in rows:
        shown.add_row(*(Text(f"{v:,}" if isinstance(v, int) else printable(str(v)), overflow="fold") for v in row))
    console.print(shown)


def amount(value: float, unit: str) -> str:
    """1234567 -> '1.23 M...': a number with a decimal prefix."""
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.2f} {prefix}{unit}"
    return f"{value:.0f} {unit}"


def duration(seconds: float) -> str:
    """30 -> '30 s', 4000 -> '1 h 07 min', 300000 -> '3 days 11 h': two units at most."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{hours // 24} days {hours % 24} h"


def warn(text: str) -> None:
    """A line about something that will not stop the work."""
    console.print(f"warning: {text}", style="yellow")


def quoted(path: str | Path) -> str:
    """A path as a shell reads it back, whatever characters are in it."""
    return shlex.quote(str(path))


def command(*words: object) -> str:
    """`orthogan WORDS...` to be pasted into a shell."""
    return shlex.join(["orthogan", *map(str, words)])
