"""What people usually change after a collapse, as settings of the run at hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from orthogan.config import RunConfig
from orthogan.errors import UserError
from orthogan.settings import override

Changes = dict[str, Any]


@dataclass(frozen=True)
class Advice:
    """A change in words, and the settings that make it in a run; none where it has none that fit."""

    text: str
    changes: Callable[[RunConfig], Changes]


def _rates(*names: str) -> Callable[[RunConfig], Changes]:
    return lambda run: {f"optimizer.{name}": getattr(run.optimizer, name) / 2 for name in names}


def _r1(run: RunConfig) -> Changes:
    return {"regularizers.d_r1.strength": max(1.0, 2 * run.regularizers.d_r1.strength)}


def _ortho(run: RunConfig) -> Changes:
    return {"regularizers.g_ortho.strength": max(1e-4, 10 * run.regularizers.g_ortho.strength)}


def _batch(run: RunConfig) -> Changes:
    return {"batch": run.batch // 2} if run.batch > run.accumulate else {}


def _augment(run: RunConfig) -> Changes:
    return {"augment.kind": "diffaugment"} if run.augment.kind == "none" else {}


ADVICE = {
    "g-rate": Advice("a lower learning rate of G", _rates("g_lr")),
    "rates": Advice("lower learning rates", _rates("g_lr", "d_lr")),
    "r1": Advice("stronger R1, which costs quality (1 was the least that held BigGAN, at 20 % of its score)", _r1),
    "ortho": Advice("orthogonal regularisation of G", _ortho),
    "batch": Advice("a smaller batch", _batch),
    "augment": Advice("augmentation of D's images", _augment),
    "data": Advice("more data, or a look at its images and labels (`orthogan data inspect`)", lambda run: {}),
}
"""By name, as the rules of `orthogan.stability.watch` name them."""


def in_words(names: Sequence[str]) -> str:
    """What people usually change, the most usual first."""
    return "; ".join(ADVICE[name].text for name in names)


def settings(names: Sequence[str], run: RunConfig) -> Changes:
    """Of the first advice that the run can take."""
    for name in names:
        changes = ADVICE[name].changes(run)
        try:
            override(run, changes)
        except UserError:
            continue
        if changes:
            return changes
    return {}
