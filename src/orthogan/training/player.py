"""A network that plays: what of it is trained, by which optimiser, under which rules."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from orthogan.game.regularizers.base import Regularizer
from orthogan.networks.base import Network
from orthogan.nn.frozen import trainable


class NonFiniteError(RuntimeError):
    """A loss or a gradient is not a number; the message names the layer. No weight has been touched by it."""


@dataclass
class Player:
    """A network as Fabric wraps it, the network itself, its optimiser, and its rules by name."""

    wrapped: Any  # Fabric's wrapper: autocast, and gradients averaged over processes
    network: Network
    optimizer: torch.optim.Optimizer
    rules: Mapping[str, Regularizer] = field(default_factory=dict)
    trained: list[nn.Parameter] = field(init=False)
    """The parameters that updates change: all but frozen ones. Fixed here, before any of them is closed."""
    rate: float = field(init=False)
    """The learning rate that the optimiser was made with."""
    rerun: Callable[[], object] = lambda: None
    """Repeats the last forward of this network's update, to find what was not finite in it."""

    def __post_init__(self) -> None:
        self.trained = trainable(self.network)
        self.rate = self.optimizer.param_groups[0]["lr"]

    def set_rate(self, share: float) -> None:
        """Learn at a share of the learning rate."""
        self.optimizer.param_groups[0]["lr"] = self.rate * share

    def open(self, is_open: bool = True) -> None:
        """Let the trained parameters have gradients, or not: the backward pass of a closed network costs half."""
        for parameter in self.trained:
            parameter.requires_grad_(is_open)

    def begin_update(self) -> None:
        """Open the network, let it do what it does before an update, and forget the gradients of the last one."""
        self.open()
        self.network.before_update()
        self.optimizer.zero_grad(set_to_none=True)

    def finish_update(self, loss: Tensor) -> Tensor:
        """Rules on gradients, the optimiser's step, rules on weights; returns the norm of the gradient.

        Nothing here waits for the device: a step whose loss or gradient is not finite is skipped by the fused
        optimiser itself. The norm, or the loss, then says so to whoever reads it.
        """
        for rule in self.rules.values():
            rule.on_grads(self.network, self.trained)
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.trained if p.grad is not None])
        self.step(~torch.isfinite(loss + norm))
        for rule in self.rules.values():
            rule.on_weights(self.network, self.trained)
        self.network.after_update()
        return norm

    def step(self, strange: Tensor) -> None:
        """The optimiser's step, which it skips where the scalar `strange` is true."""
        # What gradient scalers set; Fabric's wrapper hands the step on to the optimiser inside.
        inner: Any = getattr(self.optimizer, "optimizer", self.optimizer)
        inner.found_inf = strange.float()
        self.optimizer.step()

    def culprit(self) -> str | None:
        """Which layer first produced a value that is not finite: its weight, its output, or its gradient."""
        name = type(self.network).__name__
        if strange := self.strange_parameter():
            return strange
        if outputs := self._strange_outputs():
            return f"the output of layer {outputs[0]} of {name} is not finite"
        named = [(path, p.grad) for path, p in self.network.named_parameters() if p.grad is not None]
        grads = [path for path, grad in named if not torch.isfinite(grad).all()]
        # The backward pass comes from the end: the last such parameter is the first that it reached.
        return f"the gradient of {grads[-1]} of {name} is not finite" if grads else None

    def strange_parameter(self) -> str | None:
        """The first parameter that is not finite."""
        for path, parameter in self.network.named_parameters():
            if not torch.isfinite(parameter).all():
                return f"the parameter {path} of {type(self.network).__name__} is not finite"
        return None

    def _strange_outputs(self) -> list[str]:
        """Layers whose output is not finite, in the order in which they run."""
        found: list[str] = []

        def watch(path: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: object, output: object) -> None:
                if isinstance(output, Tensor) and not torch.isfinite(output).all():
                    found.append(path)

            return hook

        handles = [m.register_forward_hook(watch(path)) for path, m in self.network.named_modules() if path]
        try:
            with torch.no_grad():
                self.rerun()
        finally:
            for handle in handles:
                handle.remove()
        return found


def refuse_non_finite(g: Player, d: Player, scalars: Mapping[str, float]) -> None:
    """Raises `NonFiniteError`, which names the layer, if a loss or gradient of these steps was not finite."""
    strange = [name for name, value in scalars.items() if not math.isfinite(value)]
    if strange:
        player = d if strange[0].startswith("d_") else g
        # A bad weight of G shows first in the loss of D.
        why = g.strange_parameter() or player.culprit() or f"{strange[0]} was not finite"
        raise NonFiniteError(why)
