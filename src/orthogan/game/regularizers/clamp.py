"""A bound of the largest singular values, which Brock et al. (2019, section 4.1) tried against collapse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from orthogan.errors import UserError
from orthogan.game.moment import Moment
from orthogan.game.regularizers.base import Regularizer, Settings
from orthogan.nn.singular import FIRST_ITERATIONS, Subspaces, in_shape_of_weight, layers, matrix
from orthogan.settings import require

WIDTH = 4
"""Vectors that are followed of each matrix; more than two, so that values may change places."""


@dataclass(frozen=True, kw_only=True)
class ClampSettings(Settings):
    strength: float = 0.0
    """Share of what is above the bound that each update cuts off (BigGAN: all, 1), or weight of the penalty."""
    form: Literal["weights", "penalty"] = "weights"
    """Cut the weights after each update, or add the squared excess of every layer to the loss."""
    to: Literal["ratio", "sigma"] = "ratio"
    """The bound of the largest singular value of a weight, before normalisation, is a multiple of the second, or one
    number for all layers."""
    bound: float = 1.0
    """That multiple, or that number."""
    layers: str = ""
    """Only layers whose name contains one of these words, divided by commas; all layers if it is empty."""

    def check(self, where: str) -> None:
        super().check(where)
        require(self.bound > 0, f"{where}.bound", self.bound, "must be positive")
        rule = "must be at least 1, for the bound is a multiple of the second; or set the number itself by to=sigma"
        require(self.to == "sigma" or self.bound >= 1, f"{where}.bound", self.bound, rule)
        rule = "is a share of the excess, and must be at most 1; form=penalty takes any weight"
        require(self.form == "penalty" or self.strength <= 1, f"{where}.strength", self.strength, rule)


class Clamp(Regularizer):
    """W <- W - strength * max(0, sigma_0 - bound) u v^T, or a penalty strength * sum over layers of max(0, ...)^2.

    sigma_0 = u^T W v is the largest singular value, followed from update to update; no gradient goes through u, v and
    the bound. What is bounded is the parameter, before normalisation.
    """

    def __init__(self, settings: ClampSettings):
        self.settings = settings
        self._layers: dict[str, nn.Module] = {}
        self._subspaces = Subspaces({})

    def begin(self, network: nn.Module, trained: Sequence[nn.Parameter]) -> None:
        self._layers = self._chosen(network)
        found = self._matrices()
        self._subspaces = Subspaces(found, WIDTH)
        self._subspaces.advance(found, FIRST_ITERATIONS)

    def on_loss(self, moment: Moment) -> Tensor | float:
        if self.settings.form == "weights":
            return 0.0
        return self.settings.strength * torch.stack([self._penalty(name) for name in self._layers]).sum()

    @torch.no_grad()
    def on_weights(self, network: nn.Module, trained: Sequence[nn.Parameter]) -> None:
        self._subspaces.advance(self._matrices())
        if self.settings.form == "weights":
            for name, layer in self._layers.items():
                u, v, values = self._subspaces.leading(name, matrix(layer))
                cut = self.settings.strength * (values[0] - self._bound(values)).clamp(min=0)
                weight = layer.get_parameter("weight")
                weight.sub_(in_shape_of_weight(layer, torch.outer(cut * u, v)))

    def state_dict(self) -> dict[str, Tensor]:
        return self._subspaces.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._subspaces.load_state_dict(state)

    def _chosen(self, network: nn.Module) -> dict[str, nn.Module]:
        """The layers that the words name. With one row or column they have no second value to be a multiple of."""
        found = layers(network)
        if self.settings.to == "ratio":
            found = {name: layer for name, layer in found.items() if min(matrix(layer).shape) > 1}
        words = [word.strip() for word in self.settings.layers.split(",") if word.strip()]
        chosen = {name: layer for name, layer in found.items() if not words or any(word in name for word in words)}
        if not chosen:
            raise UserError(
                f"clamp.layers={self.settings.layers!r}: no layer of {type(network).__name__} that can be clamped has "
                f"such a name; it has {', '.join(found)}"
            )
        return chosen

    def _matrices(self) -> dict[str, Tensor]:
        return {name: matrix(layer).detach() for name, layer in self._layers.items()}

    def _penalty(self, name: str) -> Tensor:
        rows = matrix(self._layers[name])
        u, v, values = self._subspaces.leading(name, rows)
        return (torch.dot(u, torch.mv(rows.float(), v)) - self._bound(values)).clamp(min=0).square()

    def _bound(self, values: Tensor) -> Tensor | float:
        return self.settings.bound * values[1] if self.settings.to == "ratio" else self.settings.bound
