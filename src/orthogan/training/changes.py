"""What rollbacks have changed in a run: facts of its checkpoints, beside its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from orthogan.config import RunConfig, WatchConfig
from orthogan.game.regularizers.r1 import R1
from orthogan.training.checkpoint import Header

if TYPE_CHECKING:
    from orthogan.training.trainer import Trainer


@dataclass(frozen=True)
class Changes:
    """Nothing, at first."""

    rate_factor: float = 1.0
    """Of both learning rates."""
    r1_gamma: float | None = None
    """R1 in place of the configuration's own."""

    def after(self, watch: WatchConfig) -> Changes:
        """Those of one more rollback."""
        if watch.change == "lower-rates":
            return replace(self, rate_factor=self.rate_factor * watch.rate_factor)
        if watch.change == "r1":
            return replace(self, r1_gamma=watch.r1_gamma if self.r1_gamma is None else 2 * self.r1_gamma)
        return self

    def facts(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> Changes:
        """What `facts` wrote."""
        return cls(**facts)


def change(run: Trainer, changes: Changes) -> None:
    """Train on with what rollbacks have changed: rates from the next step on, and the rules of D."""
    run.changes, d = changes, run.game.d
    d.rules = run.own_rules
    if changes.r1_gamma is not None:
        rule = R1(replace(run.config.regularizers.d_r1, strength=changes.r1_gamma))
        rule.begin(d.network, d.trained)
        d.rules = {**run.own_rules, "d_r1": rule}


def inherited(config: RunConfig, header: Header) -> Changes:
    """What rollbacks had changed in a branch's parent, but for what the branch sets itself."""
    changes, theirs = Changes.of_facts(header.extra.get("changes", {})), header.config
    if (config.optimizer.g_lr, config.optimizer.d_lr) != (theirs.optimizer.g_lr, theirs.optimizer.d_lr):
        changes = replace(changes, rate_factor=1.0)
    if config.regularizers.d_r1 != theirs.regularizers.d_r1:
        changes = replace(changes, r1_gamma=None)
    return changes
