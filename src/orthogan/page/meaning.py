"""The pieces of plain speech that a page is made of: sentences, and shares with a bar."""

from dataclasses import dataclass
from typing import Literal

from orthogan.page.numbers import share

Kind = Literal["good", "fair", "warning", "fact"]


@dataclass(frozen=True)
class Sentence:
    kind: Kind
    text: str


@dataclass(frozen=True)
class Measure:
    """A share from 0 to 1, what it is of, and what it means."""

    label: str
    value: float
    interval: tuple[float, float] | None = None
    kind: Kind = "fact"
    meaning: str = ""

    @property
    def told(self) -> str:
        return share(self.value)

    @property
    def ends(self) -> str:
        return f"{share(self.interval[0])} to {share(self.interval[1])}" if self.interval else ""

    @property
    def percent(self) -> float:
        """Length of the bar."""
        return round(100 * min(1.0, max(0.0, self.value)), 2)
