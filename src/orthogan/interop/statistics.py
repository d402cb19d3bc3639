"""Standing statistics that a file holds, an imported or an exported one, and the truncations that they are of.

The fact `standing` of its header says what they were collected with, where the averaged generator's own buffers are the
statistics (`Collected`), or the thresholds of rows of them in a part of their own.
"""

import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from orthogan.networks.base import Generator
from orthogan.nn.standing import standing_buffers
from orthogan.training.checkpoint import BadCheckpoint, Loaded

FACT = PART = "standing"
"""Of the header, and of the tensors: rows of statistics, one for each threshold, by the names of the buffers."""
FORM = "scaled"
"""How latents were truncated that rows of statistics are of: as in the released BigGANs."""
FROM_FILE = 0
"""Batches of statistics that another program collected."""


@dataclass(frozen=True)
class Collected:
    """What statistics were collected with."""

    truncation: float | None = None
    form: str = "redraw"
    batches: int = FROM_FILE
    noise: str | None = None
    """Mode of the noise inside; None in a generator without."""

    def facts(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def of_fact(cls, fact: Any) -> "Collected | None":
        """None for rows, and for what no version wrote: imports said once only that there are no thresholds, exports
        a list of the four."""
        if fact == {"thresholds": None}:
            return cls()
        values = dict(zip(cls.__annotations__, fact, strict=False)) if isinstance(fact, list) else fact
        whole = isinstance(values, dict) and values.keys() == cls.__annotations__.keys()
        return cls(**values) if whole else None

    def is_for(self, wanted: "Collected", truncated: str) -> bool:
        """Whether they are the wanted ones in a generator whose truncation is of this kind: only that of z matters."""
        untruncated = self.truncation is wanted.truncation is None
        same = truncated != "z" or untruncated or (self.truncation, self.form) == (wanted.truncation, wanted.form)
        return same and (self.batches == FROM_FILE or (self.batches, self.noise) == (wanted.batches, wanted.noise))


def of_rows(thresholds: tuple[float, ...]) -> dict[str, Any]:
    """The fact of a file that holds statistics for each of these truncations."""
    return {"thresholds": list(thresholds)}


class Held:
    """The statistics of a file. Those that it has none of are collected, as for any other."""

    def __init__(self, found: Loaded, generator: Generator):
        self._kind = generator.truncation
        self._own: dict[str, Tensor] = {}
        self._rows: Mapping[str, Tensor] = {}
        self._thresholds: list[float] = []
        fact, buffers = found.header.extra.get(FACT), standing_buffers(generator)
        self._collected = Collected.of_fact(fact)
        if self._collected is not None:
            self._own = {name: buffer.clone() for name, buffer in buffers.items()}
        elif isinstance(fact, dict):
            self._thresholds, self._rows = checked(found, fact.get("thresholds"), buffers), found.part(PART)

    def at(self, wanted: Collected) -> tuple[dict[str, Tensor], int] | None:
        """The statistics by the names of the buffers, and of how many batches they are; None where there are none."""
        own, known, truncation = self._collected, self._thresholds, wanted.truncation
        if own is not None:
            fits = own.is_for(wanted, self._kind) and all(bool(t.isfinite().all()) for t in self._own.values())
            return (self._own, own.batches) if fits else None
        if truncation is None or wanted.form != FORM or not known or not known[0] <= truncation <= known[-1]:
            return None
        i = min(bisect_right(known, truncation), len(known) - 1) - 1
        share = (truncation - known[i]) / (known[i + 1] - known[i])
        return {name: torch.lerp(rows[i], rows[i + 1], share) for name, rows in self._rows.items()}, FROM_FILE


def checked(found: Loaded, thresholds: Any, buffers: Mapping[str, Tensor]) -> list[float]:
    """Rising thresholds, and as many finite rows for every buffer. Raises `BadCheckpoint`."""
    rows = found.part(PART)
    numbers = isinstance(thresholds, list) and all(isinstance(t, int | float) and math.isfinite(t) for t in thresholds)
    fits = numbers and len(thresholds) > 1 and all(a < b for a, b in itertools.pairwise(thresholds))
    fits = fits and rows.keys() == buffers.keys()
    for name, tensor in rows.items() if fits else ():
        fits = fits and tensor.shape == (len(thresholds), *buffers[name].shape) and bool(torch.isfinite(tensor).all())
    if not fits:
        raise BadCheckpoint(f"{found.path} is damaged: its standing statistics do not fit its generator")
    return [float(t) for t in thresholds]
