"""Standing statistics that an imported file has brought along, for the truncations that they were collected at."""

import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from orthogan.networks.base import Generator
from orthogan.nn.standing import standing_buffers
from orthogan.training.checkpoint import BadCheckpoint, Loaded

PART = "standing"
"""Of a checkpoint: rows of statistics, one for each threshold, by the names of the buffers."""
FACT = "standing"
"""Of its header: the thresholds, or null where the averaged generator's own buffers are the statistics."""
FORM = "scaled"
"""How latents were truncated that rows of statistics are of: as in the released BigGANs."""


class Brought:
    """The statistics of a file. Those that it has none of are collected, as for any other."""

    def __init__(self, found: Loaded, generator: Generator):
        self._kind = generator.truncation
        self._own: dict[str, Tensor] | None = None
        self._rows: Mapping[str, Tensor] = {}
        self._thresholds: list[float] = []
        fact = found.header.extra.get(FACT)
        if not isinstance(fact, dict):
            return
        buffers = standing_buffers(generator)
        thresholds = fact.get("thresholds")
        if thresholds is None:
            self._own = {name: buffer.clone() for name, buffer in buffers.items()}
            return
        self._thresholds, self._rows = checked(found, thresholds, buffers), found.part(PART)

    def at(self, truncation: float | None, form: str) -> dict[str, Tensor] | None:
        """The statistics for a truncation, or None where the file says nothing of it."""
        if self._own is not None:
            of_z = truncation is not None and self._kind == "z"
            return None if of_z else self._own
        known = self._thresholds
        if truncation is None or form != FORM or not known or not known[0] <= truncation <= known[-1]:
            return None
        i = min(bisect_right(known, truncation), len(known) - 1) - 1
        share = (truncation - known[i]) / (known[i + 1] - known[i])
        return {name: torch.lerp(rows[i], rows[i + 1], share) for name, rows in self._rows.items()}


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
