"""The state of a run: a list of parts, each of which gives tensors to a checkpoint and takes them back."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from orthogan.game.regularizers.base import Regularizer
from orthogan.nn.frozen import agree, identities
from orthogan.training.checkpoint import BadCheckpoint, Loaded


class Part(Protocol):
    """Something with state, under one name in the checkpoint."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Everything that the next step depends on."""

    def take(self, found: Loaded, name: str) -> None:
        """Take up the state of a checkpoint. Raises `BadCheckpoint` where it does not fit, changing nothing."""


@dataclass(frozen=True)
class NetworkPart:
    """The parameters and buffers of a network; of frozen parts with an identity only that."""

    network: nn.Module

    def tensors(self) -> Mapping[str, Tensor]:
        state: dict[str, Tensor] = self.network.state_dict()
        return state

    def take(self, found: Loaded, name: str) -> None:
        self.network.load_state_dict(self.require_fit(found, name))

    def require_fit(self, found: Loaded, name: str) -> dict[str, Tensor]:
        """The tensors of a checkpoint for this network, which may be on the meta device."""
        stated = found.header.extra.get("frozen", {}).get(name, {})
        if not agree(own := identities(self.network), stated):
            raise BadCheckpoint(f"{found.path} was trained beside other frozen weights: {name} has {stated}, not {own}")
        return found.require_fit(name, self.network)


@dataclass(frozen=True)
class OptimizerPart:
    """Adam's moments of every parameter, by its number."""

    optimizer: torch.optim.Optimizer
    frozen: bool = False
    """Whether it may have no moments after the first step, because its player was never updated."""

    def tensors(self) -> Mapping[str, Tensor]:
        state = self.optimizer.state_dict()["state"]
        return {f"{index}.{key}": value for index, entry in state.items() for key, value in entry.items()}

    def take(self, found: Loaded, name: str) -> None:
        """Raises `BadCheckpoint` where, after the first step, the moments of a parameter are missing."""
        stored = found.part(name)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        never_stepped = not found.header.steps or (self.frozen and not stored)
        if not never_stepped and len({key.partition(".")[0] for key in stored}) > len(parameters):
            raise BadCheckpoint(f"{found.path} has {name}'s state of more parameters than are trained here")
        state: dict[int, dict[str, Tensor]] = {}
        for index, parameter in enumerate([] if never_stepped else parameters):
            shapes = {"step": torch.Size(), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
            state[index] = {key: stored[f"{index}.{key}"] for key in shapes if f"{index}.{key}" in stored}
            if {key: value.shape for key, value in state[index].items()} != shapes:
                raise BadCheckpoint(
                    f"{found.path} lacks {name}'s state of parameter {index}: it can be sampled, but training cannot "
                    "go on from it"
                )
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})


@dataclass(frozen=True)
class RulePart:
    """What a rule remembers from update to update."""

    rule: Regularizer

    def tensors(self) -> Mapping[str, Tensor]:
        return self.rule.state_dict()

    def take(self, found: Loaded, name: str) -> None:
        stored, own = found.part(name), self.rule.state_dict()
        if {key: t.shape for key, t in stored.items()} != {key: t.shape for key, t in own.items()}:
            raise BadCheckpoint(f"{found.path} lacks the state of {name}: training cannot go on from it")
        self.rule.load_state_dict(stored)


def gather(parts: Mapping[str, Part]) -> dict[str, Tensor]:
    """The tensors of all parts under their names."""
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.tensors().items()}


def scatter(parts: Mapping[str, Part], found: Loaded) -> None:
    """Have all parts take up a checkpoint. Raises `BadCheckpoint` where one does not fit."""
    for name, part in parts.items():
        part.take(found, name)


def scatter_fitting(parts: Mapping[str, Part], found: Loaded, strict: Collection[str]) -> list[str]:
    """Have all parts take up what fits them of another run's checkpoint; returns the names of those that it does not.

    Raises `BadCheckpoint` where it does not fit one of the `strict` parts.
    """
    afresh = []
    for name, part in parts.items():
        try:
            part.take(found, name)
        except BadCheckpoint:
            if name in strict:
                raise
            afresh.append(name)
    return afresh
