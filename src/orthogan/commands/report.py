"""`orthogan report RUN...`."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from orthogan.commands.parsing import parse
from orthogan.page import render
from orthogan.page.read import read
from orthogan.reports import console, quoted
from orthogan.settings import require


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write one HTML page that opens anywhere, without a network, with all that there is to know of a run.

    Of several runs, a page that has them side by side.
    """

    runs: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN", help_behavior_hint="(required)")
    ]
    """Run folders."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.html")] = None
    """The page. Default: report.html in the folder of the run; of several runs, report.html in the current one."""
    watch: bool = False
    """Write it again while the run trains, until the run has ended; the page loads itself anew."""
    every: float = 30.0
    """Seconds between two writings with --watch."""
    seed: int = 0
    """Of the samples that several runs are compared by."""
    device: str | None = None
    """cpu, cuda or cuda:1, for samples that must be drawn; the GPU if there is one."""


def main(argv: list[str]) -> int:
    options: Options = parse(Options, argv, "report")
    require(len(options.runs) > 0, "runs", options.runs, "give at least one run folder")
    require(1 <= options.every < float("inf"), "every", options.every, "must be at least a second")
    require(not (options.watch and len(options.runs) > 1), "watch", True, "is for one run; leave it out for several")
    out = options.out or (options.runs[0] if len(options.runs) == 1 else Path()) / "report.html"
    require(out.suffix in (".html", ".htm"), "out", str(out), "must end in .html")
    render.check_installed()
    if options.watch:
        return watch(options, out)
    facts = [read(run) for run in options.runs]
    one = len(facts) == 1
    page = render.of_run(facts[0], options.device) if one else render.of_runs(facts, options.seed, options.device)
    render.write(out, page)
    told(out)
    return 0


def watch(options: Options, out: Path) -> int:
    """Write the page until the run has shown all its images."""
    first = True
    while True:
        facts = read(options.runs[0])
        render.write(out, render.of_run(facts, options.device, math.ceil(options.every)))
        if first or facts.ended:
            told(out)
        if facts.ended:
            return 0
        if first:
            console.print(
                f"writing it again every {options.every:g} s; Ctrl-C ends this, and not the run", markup=False
            )
        first = False
        time.sleep(options.every)


def told(out: Path) -> None:
    console.print(f"the page is {quoted(out)} ({out.stat().st_size / 1e6:.1f} MB)", markup=False)
