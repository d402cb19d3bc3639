"""The two sides of a comparison, as the feature network sees them."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from orthogan.metrics.scores import Statistics, statistics


@dataclasses.dataclass(frozen=True)
class Measured:
    """Features (N, D), logits (N, K), K perhaps 0, and the height and width of the images."""

    features: Tensor
    logits: Tensor
    size: tuple[int, int]
    labels: Tensor | None = None
    """Class (N,) of each image among the real side's, -1 for none of them; None where classes are not compared."""


@dataclasses.dataclass(frozen=True)
class Real:
    """The real side, ready to be compared with many generated ones. `source` goes into the protocol."""

    features: Tensor
    size: tuple[int, int]
    source: Mapping[str, Any]
    labels: Tensor | None = None
    """Class (N,) of each image."""
    class_names: Sequence[str] = ()

    @functools.cached_property
    def statistics(self) -> Statistics:
        """Computed once. Raises `UserError` for features that are not finite."""
        return statistics(self.features)
