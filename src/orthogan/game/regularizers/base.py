"""What a regulariser may do. It says what it touches by the methods it overrides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

from torch import Tensor, nn

from orthogan.game.moment import Moment
from orthogan.settings import require


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the settings of every rule have. Rules derive their own from it, in their own file."""

    example: ClassVar[str] = "1"
    """A strength that one may begin with."""

    strength: float = 0.0
    """Weight of the rule; 0 leaves it out."""

    def check(self, where: str) -> None:
        """Raises `UserError`, naming the settings by where they stand in a run's configuration."""
        require(self.strength >= 0, f"{where}.strength", self.strength, "must not be negative")

    def check_read(self, where: str) -> None:
        """Raises `UserError` for whatever else is set where the rule is left out."""
        rule = f"has no effect while {where}.strength is 0; set a strength such as {self.example} or leave it out"
        for f in fields(self):
            value = getattr(self, f.name)
            is_set = f.name != "strength" and value != f.default
            require(self.strength > 0 or not is_set, f"{where}.{f.name}", value, rule)

    def check_present(self) -> None:
        """Raise `UserError` where a package or file that the rule needs is missing. Reads no file."""


class Regularizer:
    """Base: touches nothing and remembers nothing."""

    differentiates_twice: bool = False
    """Whether the backward pass goes through a gradient of D by its images."""
    in_float32: bool = True
    """Whether `on_loss` runs without autocast, as terms must whose gradients are differentiated again."""
    interval: int = 1
    """`on_loss` is asked once in so many updates of its player (lazy regularisation)."""

    def begin(self, network: nn.Module, trained: Sequence[nn.Parameter]) -> None:
        """Once, before the first update or the state of a checkpoint, which must have the shapes of the own one."""

    def on_loss(self, moment: Moment) -> Tensor | float:
        """Terms to be averaged and added to the loss of the network that is being updated."""
        return 0.0

    def on_grads(self, network: nn.Module, trained: Sequence[nn.Parameter]) -> None:
        """Change the gradients of the trained parameters once an update, after all micro-batches and processes."""

    def on_weights(self, network: nn.Module, trained: Sequence[nn.Parameter]) -> None:
        """Change the trained parameters after the optimiser's step."""

    def state_dict(self) -> dict[str, Tensor]:
        """What the next update depends on and a checkpoint must hold."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the state of a checkpoint."""
