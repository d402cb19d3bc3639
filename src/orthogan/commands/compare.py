"""`orthogan compare`: rank scores of one protocol."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from orthogan.commands.parsing import REQUIRED, option, parse
from orthogan.errors import UserError
from orthogan.judging import comparison
from orthogan.judging.comparison import Comparison, Difference
from orthogan.metrics.titles import TITLES, better, short, title
from orthogan.reports import console, table


@dataclass(frozen=True, kw_only=True)
class Options:
    """Rank results of `orthogan evaluate`, and say which differences their seeds or their intervals support.

    Runs that differ in nothing but their seed are one entry. Results of different protocols are refused.
    """

    results: Annotated[
        tuple[Path, ...], tyro.conf.Positional, option(metavar="RESULT ...", help_behavior_hint=REQUIRED)
    ]
    """Files of scores, runs, or folders of them, in which files named scores*.json are looked for."""
    by: Annotated[str, tyro.conf.arg(metavar="SCORE")] = "frechet_distance"
    """The score to rank by, as its key in the files: kernel_distance, precision, intra_frechet_distance, ..."""


def main(argv: list[str]) -> int:
    """Run `orthogan compare ARGV`. Raises UserError for what the user can mend."""
    options: Options = parse(Options, argv, "compare")
    if not options.results:
        raise UserError("nothing to compare; give files of scores, runs, or folders of them")
    show(comparison.compare(options.results, options.by))
    return 0


def show(found: Comparison) -> None:
    """Print the ranking and what it rests on."""
    rows = []
    for place, entry in enumerate(found.ranking):
        holds = [str(d.worse + 1) for d in found.differences if d.better == place and d.holds]
        margin = entry.margin(found.score)
        told = f"{entry.mean(found.score):.5g}" + (f" ± {margin:.2g}" if margin is not None else "")
        rows.append([place + 1, entry.name, len(entry.runs), told, ", ".join(holds) or "-"])
    heading = f"{title(found.score, found.network)}, {better(found.score)} is better"
    table(heading, ["rank", "scored", "runs", "mean ± 95 %", "supported: better than rank"], rows)
    for line in remarks(found):
        console.print(line)
    shared = [
        name
        for name in TITLES
        if name != found.score and all(name in r.scores for entry in found.ranking for run in entry.runs for r in run)
    ]
    others = [
        [short(name, found.network), better(name), *(f"{entry.mean(name):.4g}" for entry in found.ranking)]
        for name in shared
    ]
    if others:
        table("", ["not ranked by", "better", *(f"rank {k + 1}" for k in range(len(found.ranking)))], others)


def remarks(found: Comparison) -> list[str]:
    """How it was tested, and what that does not tell."""
    tests = {d.test for d in found.differences if d.p is not None}
    lines = [f"±: {' and '.join(of_what)}"] if (of_what := margins(found)) else []
    lines += [f"tested by {' and '.join(sorted(tests))}, 5 % over all pairs (Holm)"] if tests else []
    closest = [told(found, d) for d in found.differences if d.p is not None and not d.holds]
    if closest:
        lines.append(f"not supported: {'; '.join(closest)}")
    if any(d.p is None for d in found.differences):
        lines.append(
            "some results have no interval of this score and are not tested; score them again with --resamples 1000 "
            "(a density of 0 has none)"
        )
    if comparison.INTERVALS in tests:
        lines.append(
            "intervals tell the luck of drawing images, not of training: train two or more seeds of each to tell "
            "whether a setting is better"
        )
    return lines


def margins(found: Comparison) -> list[str]:
    """What the 95 % of the ranking are of."""
    known = {len(entry.runs) > 1 for entry in found.ranking if entry.margin(found.score) is not None}
    kinds = {True: "of several runs Student's t-interval over the runs", False: "of one run its images resampled"}
    return [told for several, told in kinds.items() if several in known]


def told(found: Comparison, difference: Difference) -> str:
    return f"{difference.better + 1} before {difference.worse + 1} (p = {difference.p:.2g})"
