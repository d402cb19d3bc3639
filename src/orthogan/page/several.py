"""Several runs on one page: which is better, scores of one protocol, samples of one seed, curves, what differs."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orthogan.errors import UserError
from orthogan.metrics.titles import short
from orthogan.page import alike, charts, render, repeat, verdict
from orthogan.page.numbers import number
from orthogan.page.read import Facts
from orthogan.page.tables import row_of, score_names, score_row
from orthogan.pair import remarks
from orthogan.settings import flatten

MOST_RUNS = 12


def of_runs(runs: Sequence[Facts], seed: int = 0, device: str | None = None) -> str:
    """Several runs side by side: what differs, curves over images and over time, scores, samples of one seed."""
    if len(runs) > MOST_RUNS:
        raise UserError(f"{len(runs)} runs are too many side by side: give at most {MOST_RUNS}")
    by_name = dict(zip(distinct([facts.folder for facts in runs]), runs, strict=True))
    pairs = [
        one
        for key, player in (("g_loss", "generator"), ("d_loss", "discriminator"))
        for clock in (False, True)
        if (one := charts.side_by_side(by_name, key, f"Loss of the {player}", clock))
    ]
    groups = {
        "scores": [*charts.scores(by_name), *charts.scores(by_name, clock=True)],
        "losses": pairs,
    }
    shared = alike.shared({name: facts.scores for name, facts in by_name.items()})
    in_files = bool(shared) and not any(score.on_the_way for score in shared[0].scores.values())
    folders = [str(facts.folder) for facts in runs]
    pictures = [(name, render.samples(facts, seed, device)) for name, facts in by_name.items()]
    again = {name: repeat.again_words(facts) for name, facts in by_name.items()}
    return render.fill(
        "runs.html.j2",
        groups,
        reload_seconds=0,
        runs=by_name,
        seed=seed,
        verdicts=[(name, verdict.of_run(facts)) for name, facts in by_name.items()],
        best=best_of(shared, len(runs)),
        remarks=[(name, text) for name, facts in by_name.items() for text in remarks(facts.config)],
        complaints=[(name, text) for name, facts in by_name.items() for text in facts.complaints],
        pictures=pictures,
        settings=_differing({name: flatten(facts.config) for name, facts in by_name.items()}),
        presets=[facts.preset for facts in runs],
        scored=[(group, _beside(group)) for group in shared],
        unscored=[name for name, facts in by_name.items() if not facts.scores],
        scoring=shlex.join(["orthogan", "evaluate", *folders]),
        comparing=shlex.join(["orthogan", "compare", *folders]) if in_files else "",
        commands=[(name, shlex.join(["orthogan", *words])) for name, words in again.items() if words],
        unrepeated=[name for name, words in again.items() if not words],
    )


def _beside(group: alike.Group) -> list[tuple[str, str, list[str]]]:
    """A row a score: its name, which way is better, and the value of each run."""
    scores = list(group.scores.values())
    return [
        (title, better, [score_row(score, name) for score in scores])
        for name in score_names(scores)
        for title, _, better, _ in [row_of(group.first, name)]
    ]


BY = ("frechet_distance", "kernel_distance", "clip_mmd")
"""What runs are ranked by: the first of these that all have."""


def best_of(shared: Sequence[alike.Group], count: int) -> str:
    """Which of `count` runs is best by the first group's scores, and how sure that is."""
    if not shared or len(shared[0].scores) < 2:
        return ""
    group = shared[0]
    by = next((name for name in BY if all(name in score.values for score in group.scores.values())), None)
    if by is None:
        return ""
    (first, one), (second, other), *_ = sorted(group.scores.items(), key=lambda item: item[1].values[by])
    among = "" if len(group.scores) == count else f"Of the {len(group.scores)} runs that were scored alike, "
    told = f"{first} is best by the {short(by, one.network)}: {number(one.values[by])}, then {second} with "
    told += f"{number(other.values[by])}. "
    if by in one.intervals and by in other.intervals:
        apart = one.intervals[by][1] < other.intervals[by][0]
        sure = "Their intervals do not overlap" if apart else "Their intervals overlap, so this may be luck"
    else:
        sure = "Without intervals nobody can say whether this is luck"
    return f"{among}{told}{sure}; another seed may turn it round."


def distinct(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or as many of their last parts as tell them apart. Raises `UserError` for one twice."""
    places = [folder.absolute() for folder in folders]
    if len({place.resolve() for place in places}) < len(places):
        raise UserError("a run is named twice; name each once")
    depth = next(n for n in range(1, 100) if len({place.parts[-n:] for place in places}) == len(places))
    return [str(Path(*place.parts[-depth:])) for place in places]


def _differing(tables: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """The settings that are not the same in all runs."""
    paths = sorted({path for table in tables.values() for path in table})
    rows = [(path, [table.get(path, "") for table in tables.values()]) for path in paths]
    return [(path, values) for path, values in rows if any(value != values[0] for value in values)]
