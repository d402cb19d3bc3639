"""`orthogan report RUN...`."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from orthogan.commands.parsing import REQUIRED, option, parse
from orthogan.errors import UserError
from orthogan.files import check_new, writing
from orthogan.page import embed, render, several
from orthogan.page.read import Facts, read
from orthogan.reports import command, console, quoted
from orthogan.settings import require

MEGABYTE = 1e6


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write one HTML page that opens anywhere, without a network, with all that there is to know of a run.

    Of several runs, a page that has them side by side.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help_behavior_hint=REQUIRED)]
    """Run folders."""
    out: Annotated[Path | None, option(metavar="FILE.html")] = None
    """The page; if left out report.html in the folder of the run; of several runs, report.html in the current one."""
    replace: bool = False
    """Write over a file that is there and is no such page; a page is always written anew."""
    watch: bool = False
    """Write it again while the run trains, until the run has ended; the page loads itself anew."""
    every: float = 30.0
    """Seconds between two writings with --watch."""
    seed: int = 0
    """Of the samples that several runs are compared by."""
    device: Annotated[str | None, option(metavar="NAME")] = None
    """cpu, cuda or cuda:1, for samples that must be drawn; if left out the GPU if there is one."""


def main(argv: list[str]) -> int:
    options: Options = parse(Options, argv, "report")
    require(len(options.runs) > 0, "runs", options.runs, "give at least one run folder")
    require(1 <= options.every < float("inf"), "every", options.every, "must be at least a second")
    require(not (options.watch and len(options.runs) > 1), "watch", True, "is for one run; leave it out for several")
    out = options.out or (options.runs[0] if len(options.runs) == 1 else Path()) / "report.html"
    require(out.suffix in (".html", ".htm"), "out", str(out), "must end in .html")
    check_new(out, options.replace or render.is_page(out))
    render.check_installed()
    facts = [read(run) for run in options.runs]
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    if options.watch:
        return watch(options, out, facts[0])
    one = len(facts) == 1
    page = render.of_run(facts[0], options.device) if one else several.of_runs(facts, options.seed, options.device)
    render.write(out, page)
    told(out, page)
    return 0


def watch(options: Options, out: Path, facts: Facts) -> int:
    """Write the page until nothing more comes. Raises `UserError` when the run is no longer there."""
    first, folder = True, options.runs[0]
    while True:
        page = render.of_run(facts, options.device, math.ceil(options.every))
        if not folder.is_dir():
            raise gone(folder)
        render.write(out, page)
        over = facts.ended or facts.silent
        if first or over:
            told(out, page)
        if over:
            console.print(why_over(facts))
            return 0
        if first:
            console.print(f"writing it again every {options.every:g} s; Ctrl-C ends this, and not the run")
        first = False
        time.sleep(options.every)
        if not folder.is_dir():
            raise gone(folder)
        facts = read(folder)


def gone(folder: Path) -> UserError:
    return UserError(f"{folder} is no longer there: it was moved or deleted, so there is nothing left to watch")


def why_over(facts: Facts) -> str:
    if facts.finished:
        return "the run has finished"
    state = facts.status.get("state") if facts.ended else "silent: it has written nothing for long, and may be killed"
    return f"the run is {state}; go on with it by `{command('resume', facts.folder)}`"


def told(out: Path, page: str) -> None:
    """Where it is, how large it is, and what takes the room."""
    parts = ", ".join(f"{what} {size / MEGABYTE:.1f}" for what, size in embed.sizes(page).items())
    size = out.stat().st_size / MEGABYTE
    console.print(f"the page is {quoted(out)} ({size:.1f} MB: {parts})")
