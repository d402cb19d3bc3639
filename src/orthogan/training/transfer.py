"""A network that begins from the tensors of another run: all that fit, and those over classes made anew for its own.

Which tensors have an axis over classes is found, not listed: in networks that differ in the number of classes alone,
they are those that differ in shape.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from orthogan.errors import UserError, unknown
from orthogan.networks.base import Generator, Network
from orthogan.nn.spectral import normalized_layers

ClassesFrom = Literal["mean", "name", "fresh"]
"""Where vectors of classes come from: all from the mean of the old ones, by the name of the class, or drawn anew."""

ITERATIONS = 20
"""Of the power iteration, in layers whose weight was made anew."""


@dataclass(frozen=True)
class Transfer:
    """What became of the tensors of a network, by name."""

    taken: list[str]
    remade: list[str]
    """Of the network's own: made for its classes, or fresh."""
    left: list[str]
    """Of the checkpoint: with no place in this network."""


def class_axes(build: Callable[[int], nn.Module], n_classes: int) -> dict[str, int]:
    """The axis over classes of every tensor that has one, in the network that `build` makes for a number of classes."""
    if not n_classes:
        return {}
    with torch.device("meta"):
        some, more = (build(count).state_dict() for count in (n_classes, n_classes + 1))
    return {
        name: next(axis for axis, (a, b) in enumerate(zip(tensor.shape, more[name].shape, strict=True)) if a != b)
        for name, tensor in some.items()
        if tensor.shape != more[name].shape
    }


def class_mixture(
    how: ClassesFrom, names: Sequence[str], old_names: Sequence[str], n_classes: int, old: int
) -> Tensor | None:
    """The vectors of classes as means of the old ones, (n_classes, old); None to draw them anew.

    By name, a class without a namesake is the mean of all. Raises `UserError` where no class has one.
    """
    if how == "fresh" or not n_classes or not old:
        return None
    mixture = torch.full((n_classes, old), 1 / old)
    if how == "mean":
        return mixture
    pairs = namesakes(names, old_names)
    if not pairs:
        raise UserError(
            "init.classes='name': " + (str(unknown("class", names[0], old_names)) if old_names else _nameless(names))
        )
    for new, found in pairs.items():
        mixture[new] = torch.eye(old)[found]
    return mixture


def _nameless(names: Sequence[str]) -> str:
    return f"the checkpoint does not name its classes, so {names[0]!r} is not found there; take mean or fresh"


def namesakes(names: Sequence[str], old_names: Sequence[str]) -> dict[int, int]:
    """Class -> the one class of the old ones that has its name."""
    return {i: old_names.index(name) for i, name in enumerate(names) if old_names.count(name) == 1}


@torch.no_grad()
def transfer(
    network: Network, stored: Mapping[str, Tensor], axes: Mapping[str, int], mixture: Tensor | None
) -> Transfer:
    """Give a network the tensors of another one of the same settings, perhaps with other classes.

    `axes` are those over classes, `mixture` makes parameters over classes of the old ones. What has no counterpart of
    its shape stays as it is; of a generator, layers that take class and z keep the columns of z.
    """
    parameters = {name for name, _ in network.named_parameters()}
    made = Transfer([], [], sorted(stored.keys() - network.state_dict().keys()))
    for name, own in network.state_dict().items():
        found = stored.get(name)
        if name in axes:
            if found is not None and mixture is not None and name in parameters:
                own.copy_(_mixed(found, mixture, axes[name]))
            made.remade.append(name)
        elif found is not None and found.shape == own.shape:
            own.copy_(found)
            made.taken.append(name)
        else:
            if found is not None and isinstance(network, Generator) and _differ_in_columns(own, found):
                _take_columns_of_z(own, found, network.class_columns)
            made.remade.append(name)
    changed = {name.rpartition(".")[0] for name in made.remade}
    for path, layer in normalized_layers(network):
        if path in changed:
            layer.power_iteration(ITERATIONS)
    return made


def _mixed(old: Tensor, mixture: Tensor, axis: int) -> Tensor:
    """Sums over the axis of the old classes, weighted by (new, old)."""
    return torch.tensordot(mixture.to(old.dtype), old, ([1], [axis])).movedim(0, axis)


def _differ_in_columns(own: Tensor, found: Tensor) -> bool:
    return own.ndim == found.ndim == 2 and len(own) == len(found)


def _take_columns_of_z(own: Tensor, found: Tensor, of_class: Literal["first", "last"]) -> None:
    """The columns of z are those that both have: the fewer of the two."""
    n = min(own.shape[1], found.shape[1])
    if of_class == "first":
        own[:, -n:].copy_(found[:, -n:])
    else:
        own[:, :n].copy_(found[:, :n])
