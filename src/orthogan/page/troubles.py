"""Alarms and rollbacks of a run, as rows of tables."""

from collections.abc import Mapping, Sequence
from typing import Any

HEADS = ["images", "since", "what", "answered"]
ROLLED_BACK = ["from images", "to images", "change", "learning rates times", "R1"]

Line = Mapping[str, Any]


def alarms(lines: Sequence[Line]) -> list[list[Any]]:
    """Of each line when, since when, what, and whether it was only told; other lines say all that they have."""
    return [[line.get("images", ""), line.get("since", ""), _what(line), _kind(line)] for line in lines]


def _what(line: Line) -> str:
    signs = line.get("signs")
    told = (
        [str(sign.get("what", sign)) for sign in signs if isinstance(sign, Mapping)] if isinstance(signs, list) else []
    )
    rest = [f"{name} {value}" for name, value in line.items() if name not in ("images", "since", "before")]
    return "; ".join(told or rest)


def _kind(line: Line) -> str:
    return "no: a notice" if line.get("notice") else "as --on-collapse says"


def rollbacks(status: Line) -> list[list[Any]]:
    """Of each rollback from where to where, and what it changed."""
    found = status.get("rollbacks")
    lines = [line for line in found if isinstance(line, Mapping)] if isinstance(found, list) else []
    return [[line.get(name, "") for name in ("from", "to", "change", "rate_factor", "r1_gamma")] for line in lines]
