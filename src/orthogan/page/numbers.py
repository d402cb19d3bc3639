"""Numbers as files have them and as people read them."""

import math
from typing import TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is one that can be drawn: JSON has integers beyond all floats, and Python's has NaN."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def number(value: float) -> str:
    """With four digits, or all before the point."""
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def share(value: float) -> str:
    """As percents, none of which is rounded to nothing or to all."""
    if 0 < value < 0.01:
        return "less than 1%"
    return "more than 99%" if 0.99 < value < 1 else f"{value:.0%}"
