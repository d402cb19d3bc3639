"""Which scores may be put beside one another: those of one protocol, with the same truncation."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from orthogan.metrics.protocol import comparable
from orthogan.page.read import Score

T = TypeVar("T")


def is_alike(a: Score, b: Score) -> bool:
    return a.truncation == b.truncation and not comparable(a.protocol, b.protocol)


def groups(scores: Iterable[tuple[T, Score]]) -> list[list[tuple[T, Score]]]:
    """Scores with whose they are, apart by protocol, in the order in which protocols first come."""
    found: list[list[tuple[T, Score]]] = []
    for whose, score in scores:
        own = next((group for group in found if is_alike(group[0][1], score)), None)
        if own is None:
            found.append([(whose, score)])
        else:
            own.append((whose, score))
    return found


@dataclass(frozen=True)
class Group:
    """The newest score of each of the runs that have one by the same protocol."""

    scores: Mapping[str, Score]
    differences: Sequence[str]
    """In what the protocol is another than that of the first group."""

    @property
    def first(self) -> Score:
        return next(iter(self.scores.values()))


def shared(runs: Mapping[str, Sequence[Score]]) -> list[Group]:
    """Every scored run in one group: the largest first, those that no other run shares a protocol with alone.

    Of protocols that as many runs share the one without truncation is taken, then that of most generated images.
    """
    left = {name: scores for name, scores in runs.items() if scores}
    found: list[Group] = []
    while left:
        candidates = groups((name, score) for name, scores in left.items() for score in scores)
        best = max(candidates, key=_rank)
        newest = {name: _newest(score for whose, score in best if whose == name) for name in left}
        taken = {name: score for name, score in newest.items() if score is not None}
        first = next(iter(taken.values()))
        found.append(Group(taken, difference(found[0].first, first) if found else []))
        left = {name: scores for name, scores in left.items() if name not in taken}
    return found


def _rank(group: Sequence[tuple[str, Score]]) -> tuple[int, bool, float]:
    first = group[0][1]
    return len({name for name, _ in group}), first.truncation is None, first.generated or 0


def _newest(scores: Iterable[Score]) -> Score | None:
    """Of the generator that has seen most images; of these the last."""
    return max(reversed(list(scores)), key=lambda score: score.images or 0, default=None)


def difference(a: Score, b: Score) -> list[str]:
    """In what two scores are not alike, a line each."""
    found = comparable(a.protocol, b.protocol)
    if a.truncation != b.truncation:
        found.append(f"generator.truncation: {a.truncation!r} and {b.truncation!r}")
    return found
