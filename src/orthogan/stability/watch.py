"""When the signals of a run say that it collapses: rules over series, each against the run's own past.

A look is the numbers of a moment, by name: `d_loss`, `diversity`, `class_diversity/3`, `sigma/generator/linear`. A rule
says which numbers are a sign of collapse. One sign is a spike; the same sign at `LOOKS` looks in a row is an alarm. So
nothing here knows a network, a loss or a size.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Values = Mapping[str, float]

LOOKS = 3
"""Looks in a row with the same sign that make an alarm."""
LEAST = 6
"""Looks that a reference has at least; before there are so many trends are not judged."""
REFERENCE = 40
"""Looks that a reference has at most: the newest but the `LOOKS` last ones, which may be part of the trouble."""
SPREADS = 6.0
"""How many spreads of its reference a value must be away: about 6 standard deviations of a normal one."""
WARM_UP = 8
"""Looks before which no absolute rule holds: at the beginning G's images are alike, and D is always right."""

Side = Literal["above", "below"]
CALM, NOTICED, ALARMED = range(3)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A sign: a signal beyond a bound, away from its own past, or both where both are given."""

    signal: str
    """What stands before the slash in the names of numbers."""
    side: Side
    what: str
    """What it means, for people; `{of}` is the layer or the class."""
    factor: float | None = None
    """Least factor between the value and the median of its past."""
    by: float | None = None
    """The same for numbers that may be near 0 or negative: the least difference."""
    bound: float | None = None
    drift: float | None = None
    """Factor between the value and the best of the whole run, whatever lies between; see `Course`."""
    looks: int = LOOKS
    past: int = LEAST
    """Looks that its reference has at least."""
    alone: bool = True
    """Whether it makes an alarm by itself, and not only beside one of another signal."""
    notice: bool = False
    """Whether it is told by itself and no more: a training may go on well with it."""
    advice: tuple[str, ...] = ()
    """What people usually change, the most usual first: names of `orthogan.training.advice`."""

    def is_sign(self, past: Sequence[float], value: float, looks: int, best: float | None = None) -> bool:
        """Whether a value is a sign after this past of its signal, oldest first; `looks` were taken in all."""
        if self.drift is not None:
            return best is not None and value > self.drift * best
        if self.bound is not None and not self._is_beyond(value, self.bound):
            return False
        if self.factor is None and self.by is None:
            return looks > WARM_UP
        reference = past[-REFERENCE - self.looks : -self.looks]
        return len(reference) >= self.past and self._has_left(reference, value)

    def _is_beyond(self, value: float, bound: float) -> bool:
        return value > bound if self.side == "above" else value < bound

    def _has_left(self, reference: Sequence[float], value: float) -> bool:
        """By `SPREADS` robust standard deviations and by the least change; factors in logarithms."""
        if self.factor is not None:
            reference, value, least = [_log(v) for v in reference], _log(value), math.log(self.factor)
        else:
            least = self.by or 0.0
        median = statistics.median(reference)
        spread = 1.4826 * statistics.median(abs(v - median) for v in reference)
        change = value - median if self.side == "above" else median - value
        return change > max(least, SPREADS * spread)


def _log(value: float) -> float:
    return math.log(max(value, 1e-6))


RULES = (
    Rule(
        signal="diversity", side="below", bound=0.1,
        what="the images of G are all alike", advice=("rates", "r1", "data"),
    ),
    Rule(
        signal="sigma", side="above", factor=2.0,
        what="sigma_0 of {of} has exploded", advice=("rates", "r1", "ortho"),
    ),
    Rule(
        signal="ratio", side="above", factor=4.0,
        what="sigma_0 / sigma_1 of {of} has exploded", advice=("rates", "r1", "ortho"),
    ),
    Rule(
        signal="sigma", side="below", factor=2.0,
        what="sigma_0 of {of} has fallen", advice=("rates", "r1"),
    ),
    Rule(
        signal="diversity", side="below", factor=2.0,
        what="the images of G have lost diversity", advice=("g-rate", "r1", "augment"),
    ),
    Rule(
        signal="label_fit", side="below", by=0.5,
        what="the labels of the real images no longer fit them", advice=("data",),
    ),
    Rule(
        signal="d_loss_share", side="above", by=0.4,
        what="D's loss has leapt", advice=("rates", "r1", "data"),
    ),
    Rule(
        signal="d_loss_share", side="below", bound=0.1, looks=6, notice=True,
        what="D is right about every image: its loss is almost 0", advice=("r1", "augment", "data"),
    ),
    Rule(
        signal="gap", side="below", factor=4.0, alone=False,
        what="D no longer tells real from generated images", advice=("rates", "data"),
    ),
    Rule(
        signal="gap", side="above", factor=4.0,
        what="D's logits of real and generated images have moved far apart", advice=("r1", "augment", "rates"),
    ),
    Rule(
        signal="d_grad_norm", side="above", factor=10.0,
        what="the gradient of D has exploded", advice=("rates", "r1"),
    ),
    Rule(
        signal="g_grad_norm", side="above", factor=10.0,
        what="the gradient of G has exploded", advice=("g-rate", "r1"),
    ),
    Rule(
        signal="d_grad_norm", side="below", factor=50.0,
        what="the gradient of D has vanished", advice=("rates", "r1", "augment"),
    ),
    Rule(
        signal="g_grad_norm", side="below", factor=50.0,
        what="the gradient of G has vanished", advice=("rates", "r1", "augment"),
    ),
    Rule(
        signal="class_diversity", side="below", bound=0.1,
        what="the images of class {of} are all alike", advice=("data", "g-rate", "r1"),
    ),
    Rule(
        signal="class_diversity", side="below", factor=4.0,
        what="the images of class {of} have lost diversity", advice=("data", "g-rate", "r1"),
    ),
    Rule(
        signal="separation", side="below", factor=4.0,
        what="the classes of G no longer differ", advice=("data", "rates"),
    ),
    Rule(
        signal="distance", side="above", factor=1.5,
        what="the images of G move away from the real ones", advice=("g-rate", "r1"),
    ),
    Rule(
        signal="score", side="above", factor=1.5, looks=2, past=3,
        what="the score has become worse", advice=("g-rate", "r1", "augment"),
    ),
    Rule(
        signal="score", side="above", drift=2.0,
        what="the score has drifted to more than twice the best of the run", advice=("g-rate", "r1", "augment"),
    ),
)  # fmt: skip
"""Sorted by how plainly they say what happens: the first of those that begin together names the alarm."""


@dataclass(frozen=True)
class Streak:
    """A sign at look after look."""

    since: int
    """Images at the first of them."""
    before: int
    """Images at the look before that one."""
    looks: int


@dataclass(frozen=True)
class Course:
    """What is remembered of a signal that must not drift, over the whole run."""

    last: tuple[float, ...] = ()
    """The newest values, `LOOKS` of them at most."""
    best: float | None = None
    """The lowest median of `LOOKS` values in a row: of noise the lowest value alone would be too low."""

    def after(self, value: float) -> "Course":
        last = (*self.last, value)[-LOOKS:]
        if len(last) < LOOKS:
            return Course(last)
        middle = statistics.median(last)
        return Course(last, middle if self.best is None else min(self.best, middle))


@dataclass(frozen=True)
class Sign:
    """A sign that became part of an alarm."""

    signal: str
    of: str
    """The layer or the class; empty for what is of the whole run."""
    what: str
    since: int
    value: float
    usual: float | None
    """Median of its past, or the best of the run."""
    advice: tuple[str, ...]


@dataclass(frozen=True)
class Alarm:
    """Why a run is held to collapse."""

    images: int
    since: int
    """Images at the first look with a sign."""
    before: int
    """Images at the last look without any."""
    signs: tuple[Sign, ...]
    """The first one first."""
    notice: bool = False
    """Whether it is only to be told."""

    def facts(self) -> dict[str, Any]:
        """Plain JSON types."""
        facts = asdict(self)
        return {**facts, "signs": [{**sign, "advice": list(sign["advice"])} for sign in facts["signs"]]}


@dataclass(frozen=True)
class Judge:
    """What is remembered from look to look. A new one comes of every look; nothing is changed in place."""

    looks: tuple[tuple[int, Values], ...] = ()
    """Images and numbers of the last `KEPT` looks."""
    count: int = 0
    """Looks in all."""
    streaks: Mapping[str, Streak] = field(default_factory=dict)
    """Of signs that the last look had, by name of the number and number of the rule."""
    trouble: int = CALM
    """How bad the trouble is that the last alarm told and that still goes on."""
    courses: Mapping[str, Course] = field(default_factory=dict)
    """Of signals that must not drift, by name of the number."""

    def after(self, images: int, values: Values) -> tuple["Judge", Alarm | None]:
        """What one more look changes, and the alarm if it raises one."""
        found = self._signs(values)
        before = self.looks[-1][0] if self.looks else 0
        streaks = {
            key: Streak(s.since, s.before, s.looks + 1) if (s := self.streaks.get(key)) else Streak(images, before, 1)
            for key in found
        }
        # What this look did not measure goes on as it was.
        streaks |= {key: s for key, s in self.streaks.items() if key.partition(" ")[0] not in values}
        full = [key for key in found if streaks[key].looks >= found[key].looks]
        trouble = _trouble([found[key] for key in full])
        alarm = self._alarm(images, values, {key: (found[key], streaks[key]) for key in full}, streaks)
        looks = (*self.looks, (images, values))[-KEPT:]
        courses = dict(self.courses)
        for name in values.keys() & DRIFTS:
            courses[name] = courses.get(name, Course()).after(values[name])
        return Judge(looks, self.count + 1, streaks, trouble, courses), alarm if trouble > self.trouble else None

    @property
    def clean(self) -> set[int]:
        """Images of the last look without a sign, or of those before the signs that the last look had."""
        if self.streaks:
            return {streak.before for streak in self.streaks.values()}
        return {self.looks[-1][0] if self.looks else 0}

    def _signs(self, values: Values) -> dict[str, Rule]:
        found = {}
        for name, value in values.items():
            for number, rule in RULES_OF.get(name.partition("/")[0], ()):
                if rule.is_sign(self._past(name), value, self.count + 1, self._best(name)):
                    found[f"{name} {number}"] = rule
        return found

    def _past(self, name: str) -> list[float]:
        return [values[name] for _, values in self.looks if name in values]

    def _best(self, name: str) -> float | None:
        return self.courses.get(name, Course()).best

    def _alarm(
        self,
        images: int,
        values: Values,
        full: Mapping[str, tuple[Rule, Streak]],
        streaks: Mapping[str, Streak],
    ) -> Alarm | None:
        if not full:
            return None
        rank = {key: (streak.since, int(key.partition(" ")[2])) for key, (_, streak) in full.items()}
        order = sorted(full, key=lambda key: (*rank[key], -self._excess(key, values)))
        named: dict[str, Sign] = {}
        for key in order:
            name, (rule, streak) = key.partition(" ")[0], full[key]
            signal, _, of = name.partition("/")
            past = self._past(name)[: -rule.looks or None]
            usual = self._best(name) if rule.drift is not None else statistics.median(past) if past else None
            sign = Sign(signal, of, rule.what.format(of=of), streak.since, values[name], usual, rule.advice)
            named.setdefault(name, sign)
        first = min(streaks.values(), key=lambda streak: streak.since)
        notice = _trouble([rule for rule, _ in full.values()]) == NOTICED
        return Alarm(images, first.since, first.before, tuple(named.values()), notice)

    def _excess(self, key: str, values: Values) -> float:
        """How far a number is from its past, as a factor either way."""
        name = key.partition(" ")[0]
        past = self._past(name)
        return abs(_log(values[name]) - _log(statistics.median(past))) if past else 0.0

    def facts(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> "Judge":
        """What `facts` wrote, through JSON."""
        looks = tuple((images, values) for images, values in facts["looks"])
        streaks = {key: Streak(**streak) for key, streak in facts["streaks"].items()}
        # Checkpoints from before the rule of drift have none.
        courses = {name: Course(tuple(c["last"]), c["best"]) for name, c in facts.get("courses", {}).items()}
        return cls(looks, facts["count"], streaks, facts["trouble"], courses)


def _trouble(rules: Sequence[Rule]) -> int:
    """Of the rules whose signs have lasted: one that makes an alarm by itself, or two of different signals."""
    own = any(rule.alone and not rule.notice for rule in rules)
    if own or len({rule.signal for rule in rules}) > 1:
        return ALARMED
    return NOTICED if any(rule.notice for rule in rules) else CALM


KEPT = REFERENCE + LOOKS
"""Looks that are remembered."""
RULES_OF = {
    signal: [(number, rule) for number, rule in enumerate(RULES) if rule.signal == signal]
    for signal in {rule.signal for rule in RULES}
}
DRIFTS = {rule.signal for rule in RULES if rule.drift is not None}
