"""Which of several results is better, and which differences their seeds or their intervals support. Free of PyTorch.

Results of runs that differ in nothing but their seed are one entry; of runs that began from other networks, those that
began from the same. Two entries of two or more such runs each are compared by Welch's t-test over the runs; others by a
z-test over the intervals, which tell the luck of drawing images and not of training. Holm's method keeps the chance of
any false difference among all pairs at 5 %.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from scipy.stats import norm, t, ttest_ind_from_stats

from orthogan.errors import UserError, some, unknown
from orthogan.judging import results
from orthogan.metrics.protocol import comparable
from orthogan.metrics.titles import LOWER_IS_BETTER, TITLES

ALPHA = 0.05
SEEDS, INTERVALS = "Welch's t-test over seeds", "z-test over intervals"
LISTED = 4
"""Differences of protocols that an error names."""

_OF_RUNS = ("settings", "parent", "images_seen", "truncation", "truncation_form", "noise")
"""Entries of the protocol's `generator` that runs which differ in their seed alone share."""


@dataclass(frozen=True)
class Result:
    """A file of scores."""

    path: Path
    scores: dict[str, float]
    intervals: dict[str, Sequence[float]]
    protocol: dict[str, Any]

    @property
    def model(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.protocol.get("generator")
        return found


@dataclass(frozen=True)
class Entry:
    """What is ranked: one set of images, or a generator with the results of its runs."""

    name: str
    runs: Sequence[Sequence[Result]]
    """Of each run the results, which differ in the seed of their samples."""

    def values(self, score: str) -> list[float]:
        """One a run."""
        return [fmean(result.scores[score] for result in run) for run in self.runs]

    def mean(self, score: str) -> float:
        return fmean(self.values(score))

    def error(self, score: str) -> float | None:
        """Standard error by the intervals, None where a result has none of any width."""
        each = [_error_of(result, score) for run in self.runs for result in run]
        known = [error for error in each if error is not None]
        return math.hypot(*known) / len(known) if len(known) == len(each) else None

    def margin(self, score: str) -> float | None:
        """Half of the 95 % interval of the mean: Student's over two or more runs; of one run by its intervals."""
        values, error = self.values(score), self.error(score)
        if (n := len(values)) > 1:
            return float(t.ppf(1 - ALPHA / 2, n - 1)) * stdev(values) / math.sqrt(n)
        return None if error is None else float(norm.ppf(1 - ALPHA / 2)) * error


@dataclass(frozen=True)
class Difference:
    """Of the better and the worse of two entries, by their places in the ranking."""

    better: int
    worse: int
    p: float | None
    """None where neither seeds nor intervals allow a test."""
    test: str
    holds: bool


@dataclass(frozen=True)
class Comparison:
    score: str
    network: str
    ranking: list[Entry]
    differences: list[Difference]


def compare(given: Sequence[Path], score: str = "frechet_distance") -> Comparison:
    """Rank what the files, runs and folders hold. Raises `UserError` for one entry alone and for several protocols."""
    if score not in TITLES:
        raise unknown("score", score, TITLES)
    if score == "class_diversity":
        raise UserError("by='class_diversity': the best is near 1, and neither the lowest nor the highest")
    found = shared(given, score)
    check_protocols(found, score)
    for result in found:
        if not isinstance(result.scores.get(score), int | float):
            has = ", ".join(name for name in TITLES if name in result.scores)
            raise UserError(f"by={score!r}: {result.path} does not have it; it has {has}")
    sign = 1 if score in LOWER_IS_BETTER else -1
    ranking = sorted(entries(found), key=lambda entry: sign * entry.mean(score))
    if len(ranking) < 2:
        raise UserError(f"only {ranking[0].name} has scores here; give those of another to compare it with")
    return Comparison(score, found[0].protocol["features"]["network"], ranking, differences(ranking, score))


def shared(given: Sequence[Path], score: str) -> list[Result]:
    """What was given; of runs and folders that hold several protocols, what has the only one that all of them hold."""
    each = [load([place]) for place in given]
    groups: list[list[Result]] = []
    for result in itertools.chain(*each):
        group = next((group for group in groups if not differ(group[0], result, score)), None)
        groups.append([result]) if group is None else group.append(result)
    held = [group for group in groups if all(any(r in group for r in own) for own in each)]
    if len(each) > 1 and len(held) > 1:
        files = ", ".join(str(group[0].path) for group in held[:LISTED])
        raise UserError(f"these hold scores by {len(held)} protocols each; name files of one, such as {files}")
    return held[0] if len(each) > 1 and held else load(given)


def load(given: Sequence[Path]) -> list[Result]:
    """Every file once, and a result only once that lies in several files."""
    paths = dict.fromkeys(path.resolve() for place in given for path in results.find(place))
    found: dict[str, Result] = {}
    for path in paths:
        read = results.read(path)
        result = Result(path, read["scores"], read.get("intervals", {}), read["protocol"])
        found.setdefault(results.digest_of(result.protocol), result)
    return list(found.values())


def check_protocols(found: Sequence[Result], score: str) -> None:
    """Refuse to rank what was measured differently, naming what differs."""
    first = found[0]
    for result in found[1:]:
        if why := differ(first, result, score):
            raise UserError(
                f"{first.path} and {result.path} were scored by different protocols "
                f"({some(why, LISTED, '; ')}): "
                "score them alike, or compare fewer"
            )


def differ(a: Result, b: Result, score: str) -> list[str]:
    """Why a score of two results must not be compared; empty where it may be."""
    own = score in ("conditional_accuracy", "classification_accuracy_score")
    return comparable(a.protocol, b.protocol) + (_classifiers(a, b) if own else [])


def _classifiers(a: Result, b: Result) -> list[str]:
    """How the classifiers of the real images differ."""
    own = [result.protocol.get("accuracy", {}).get("of_real", {}).get("weights_sha256") for result in (a, b)]
    return [] if own[0] == own[1] else [f"accuracy.of_real.weights_sha256: {own[0]!r} and {own[1]!r}"]


def entries(found: Sequence[Result]) -> list[Entry]:
    """The results, those of one setting together."""
    groups: dict[Any, dict[Any, list[Result]]] = {}
    for result in found:
        model, generated = result.model, result.protocol["generated"]
        setting: tuple[str, ...]
        # A generator that does not say its settings, as older files, stands for itself.
        if model is None:
            setting, run = (str(generated.get("fingerprint") or result.path),), ""
        elif "settings" in model:
            setting, run = tuple(str(model.get(key)) for key in _OF_RUNS), str(model.get("run_seed"))
        else:
            setting, run = (str(result.path),), ""
        groups.setdefault(setting, {}).setdefault(run, []).append(result)
    together = [runs for group in groups.values() for runs in _of_one_kind(list(group.values()))]
    made = [(runs, _name(runs)) for runs in together]
    shared = {name for name, count in _counted(name for _, name in made) if count > 1}
    return [Entry(f"{name} ({_place(runs[0][0])})" if name in shared else name, runs) for runs, name in made]


def _place(result: Result) -> str:
    """A file and its folder: files of several runs may have one name."""
    return "/".join(result.path.parts[-2:])


def _of_one_kind(runs: list[list[Result]]) -> list[list[list[Result]]]:
    """Runs that differ in their seed alone; every network by itself where two of one seed and setting are not the same.

    Files that were exported do not say what they began from, and a run may have been begun again elsewhere.
    """
    by_weights: dict[Any, list[Result]] = {}
    for result in itertools.chain(*runs):
        by_weights.setdefault((result.model or {}).get("weights_crc32"), []).append(result)
    return [runs] if len(by_weights) <= len(runs) else [[network] for network in by_weights.values()]


def _counted(names: Any) -> list[tuple[str, int]]:
    listed = list(names)
    return [(name, listed.count(name)) for name in dict.fromkeys(listed)]


def _name(runs: Sequence[Sequence[Result]]) -> str:
    first = runs[0][0]
    name = str(first.protocol["generated"].get("source") or first.path.stem)
    if (truncation := (first.model or {}).get("truncation")) is not None:
        name += f", truncation {truncation:g}"
    return f"{name} and {len(runs) - 1} more seeds" if len(runs) > 1 else name


def _error_of(result: Result, score: str) -> float | None:
    low, high = result.intervals.get(score, (0.0, 0.0))
    if low == high:  # resampling that never saw the score change does not tell how far it may
        return None
    level = result.protocol["intervals"]["level"]
    return float((high - low) / (2 * norm.ppf((1 + level) / 2)))


def differences(ranking: Sequence[Entry], score: str) -> list[Difference]:
    """Of every pair, and whether it holds among all of them."""
    pairs = list(itertools.combinations(range(len(ranking)), 2))
    tested = [_test(ranking[a], ranking[b], score) for a, b in pairs]
    holding = holm([p for p, _ in tested])
    return [Difference(a, b, p, test, holds) for (a, b), (p, test), holds in zip(pairs, tested, holding, strict=True)]


def _test(a: Entry, b: Entry, score: str) -> tuple[float | None, str]:
    """Two-sided p, and by which test."""
    x, y = a.values(score), b.values(score)
    gap = abs(fmean(x) - fmean(y))
    if min(len(x), len(y)) > 1:
        if stdev(x) == stdev(y) == 0:
            return (0.0 if gap else 1.0), SEEDS
        found = ttest_ind_from_stats(fmean(x), stdev(x), len(x), fmean(y), stdev(y), len(y), equal_var=False)
        return float(found.pvalue), SEEDS
    errors = a.error(score), b.error(score)
    if errors[0] is None or errors[1] is None:
        return None, INTERVALS
    return float(2 * norm.sf(gap / math.hypot(errors[0], errors[1]))), INTERVALS


def holm(p_values: Sequence[float | None], alpha: float = ALPHA) -> list[bool]:
    """Which hypotheses of no difference Holm's step-down method (1979) rejects; None is none."""
    order = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    rejected = [False] * len(p_values)
    for step, (p, i) in enumerate(order):
        if p > alpha / (len(order) - step):
            break
        rejected[i] = True
    return rejected
