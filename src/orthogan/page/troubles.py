"""Alarms and rollbacks of a run: which of them still stands, and rows of tables."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orthogan.page.numbers import is_number
from orthogan.page.read import Facts
from orthogan.stability import history

HEADS = ["at (images)", "first sign", "what was seen", "what was done"]
ROLLED_BACK = ["from (images)", "to (images)", "what was changed", "learning rates times", "strength of R1"]
MOST_SIGNS = 3
"""Of one alarm, in words."""
ANSWERS = {
    "warn": "it was told, and the run went on",
    "stop": "the run was stopped",
    "rollback": "the run was stopped: it was not to go back again",
}
"""To an alarm after which there was no rollback, by `watch.on_collapse`."""
WORDS = {
    r"sigma_0 / sigma_1": "the ratio of the two largest singular values",
    r"sigma_0": "the largest singular value",
    r"\bD\b": "the discriminator",
    r"\bG\b": "the generator",
}
"""The short forms of the watch, and what they stand for."""

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Trouble:
    """The alarm that a run has not been brought back from."""

    images: int
    """When it was raised."""
    before: int | None
    """Images at the last look without any sign."""
    told: str
    advice: list[str]
    """Names of `orthogan.training.advice`, the most usual first."""


def of_run(facts: Facts) -> Trouble | None:
    """The newest alarm that is more than a notice and that no rollback has answered."""
    standing = [line for line in facts.alarms if _is_alarm(line) and _answer(facts, line) is None]
    if not standing:
        return None
    line = standing[-1]
    signs, before = _signs(line), line.get("before")
    names = [str(name) for sign in signs for name in _list(sign.get("advice"))]
    return Trouble(
        images=int(line["images"]),
        before=int(before) if is_number(before) else None,
        told=f"{what(line)} (seen at {int(line['images']):,} images)",
        advice=list(dict.fromkeys(names)),
    )


def _answer(facts: Facts, alarm: Line) -> Line | None:
    """The rollback of the attempt in which it was raised, from where it was raised."""
    after = history.attempt_of(alarm) + 1
    found = (line for line in facts.rollbacks if line["from"] == alarm.get("images"))
    return next((line for line in found if line.get("attempt", after) == after), None)


def _is_alarm(line: Line) -> bool:
    return bool(is_number(line.get("images")) and not line.get("notice") and _signs(line))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _signs(line: Line) -> list[Line]:
    return [sign for sign in _list(line.get("signs")) if isinstance(sign, Mapping)]


def alarms(facts: Facts) -> list[list[Any]]:
    """Of each line when, since when, what, and what was done; lines that are no alarms say all that they have."""

    def done(line: Line) -> str:
        if line.get("notice"):
            return "nothing: it is a notice, and a training may go on well with it"
        if (answer := _answer(facts, line)) is not None:
            return f"the run went back to {_shown(answer['to'])}"
        diverged = any(sign.get("signal") == "non-finite" for sign in _signs(line))
        return ANSWERS["stop" if diverged else facts.config.watch.on_collapse]

    return [[_shown(line.get("images")), _shown(line.get("since")), what(line), done(line)] for line in facts.alarms]


def what(line: Line) -> str:
    """What an alarm saw, the first sign first."""
    told = [in_full(str(sign.get("what", sign))) for sign in _signs(line)]
    if not told:
        return "; ".join(f"{name} {value}" for name, value in line.items() if name not in ("images", "since", "before"))
    rest = len(told) - MOST_SIGNS
    return "; ".join(told[:MOST_SIGNS]) + (f"; and {rest} more sign{'s' * (rest > 1)}" if rest > 0 else "")


def in_full(text: str) -> str:
    """Without the short forms of the watch."""
    for short, whole in WORDS.items():
        text = re.sub(short, whole, text)
    return text


def rollbacks(status: Line) -> list[list[Any]]:
    """Of each rollback from where to where, and what it changed."""
    names = ("from", "to", "change", "rate_factor", "r1_gamma")
    return [[_shown(line.get(name)) for name in names] for line in _rollbacks(status)]


def _rollbacks(status: Line) -> Sequence[Line]:
    return [line for line in _list(status.get("rollbacks")) if isinstance(line, Mapping)]


def _shown(value: object) -> Any:
    if isinstance(value, int) and is_number(value):
        return f"{value:,}"
    return "" if value is None else value
