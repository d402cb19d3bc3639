"""The tensors of a foreign network, of which each is taken once, and what was made of them."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from orthogan.errors import UserError, one_line
from orthogan.networks import build_discriminator, build_generator
from orthogan.networks.base import GeneratorConfig

MOST_SIDE = 4096
"""No known network makes larger images; a file that says so is damaged or hostile."""
MOST_BLOCKS = 64


class NotImportable(UserError):
    """A file of which it is known why it cannot be imported."""


@dataclass(frozen=True)
class Hints:
    """What is known of a network beside its tensors."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Plain settings that the file or its neighbour states, by their names there."""
    bn_eps: float | None = None
    """Eps of batch norms, which no state dictionary holds; none: the project's default."""
    resolution: int | None = None
    """Side of the images, as the network that it came with has it."""


class Foreign:
    """A state dictionary under the names of its project. What is not taken by the end is an error."""

    def __init__(self, tensors: Mapping[str, Tensor], where: str):
        self.tensors, self.where = dict(tensors), where
        self._taken: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def has(self, module: str) -> bool:
        """Whether there is a tensor below this module."""
        return any(name.startswith(f"{module}.") for name in self.tensors)

    def refuse(self, why: str) -> NotImportable:
        return NotImportable(f"{self.where}: {why}; nothing was written")

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """The shape of a tensor that is there, with so many dimensions, none of which is empty."""
        if name not in self.tensors:
            raise self.refuse(f"{name} is missing")
        shape = tuple(self.tensors[name].shape)
        if len(shape) != dimensions or 0 in shape:
            raise self.refuse(f"{name} is of shape {shape}, which is not {dimensions} dimensions that have a size")
        return shape

    def take(self, name: str) -> Tensor:
        """A tensor as float32 of its own, finite."""
        if name not in self.tensors:
            raise self.refuse(f"{name} is missing")
        tensor = self.tensors[name]
        if not tensor.is_floating_point():
            raise self.refuse(f"{name} is of {tensor.dtype}, not of floating point numbers")
        if not bool(torch.isfinite(tensor).all()):
            raise self.refuse(f"{name} has numbers that are not finite")
        self._taken.add(name)
        return tensor.detach().to(torch.float32).clone().contiguous()

    def drop(self, *names: str) -> None:
        """Leave out tensors that the network does not compute with, as far as they are there."""
        self._taken.update(names)

    def count(self, pattern: str) -> int:
        """How many modules there are whose names count up in this pattern from 0: `blocks.{}`."""
        found = 0
        while found < MOST_BLOCKS and self.has(pattern.format(found)):
            found += 1
        return found

    def left(self) -> list[str]:
        return sorted(self.tensors.keys() - self._taken)


Layer = dict[str, Tensor]
"""The tensors of one of our layers, by their names in it."""


def stem_of(foreign: Foreign, name: str) -> str:
    """The name of a layer's weight, with spectral norm of PyTorch's or without."""
    hooked = f"{name}.weight_orig"
    return hooked if hooked in foreign else f"{name}.weight"


def layer(foreign: Foreign, name: str) -> Layer:
    """Weight, bias if there is one, and the singular vectors of a layer with spectral norm, by whichever code."""
    found = {"weight": foreign.take(stem_of(foreign, name))}
    if f"{name}.bias" in foreign:
        found["bias"] = foreign.take(f"{name}.bias")
    if f"{name}.weight_orig" in foreign:
        found |= {"u": foreign.take(f"{name}.weight_u"), "v": foreign.take(f"{name}.weight_v")}
    for u, log in (("u0", "sv0"), ("sn_u", "sn_sigma")):
        if f"{name}.{u}" in foreign:
            found |= iterated(found["weight"], foreign.take(f"{name}.{u}"), foreign, name)
            foreign.drop(f"{name}.{log}")
    # Of further singular values BigGAN-PyTorch keeps a log alone.
    foreign.drop(*(f"{name}.{kind}{i}" for kind in ("u", "sv") for i in range(1, 16)))
    return found


def iterated(weight: Tensor, u: Tensor, foreign: Foreign, name: str) -> Layer:
    """The pair that code without a stored v divides by: it goes on by one power iteration in evaluation, too."""
    matrix = weight.flatten(1)
    if u.numel() != len(matrix):
        raise foreign.refuse(f"{name} has {len(matrix)} rows and a singular vector of {u.numel()}")
    v = F.normalize(matrix.t() @ u.flatten(), dim=0, eps=1e-12)
    return {"u": F.normalize(matrix @ v, dim=0, eps=1e-12), "v": v}


def reordered_rows(found: Layer, index: Tensor) -> Layer:
    """A layer whose outputs come in another order."""
    rows = {name: found[name][index] for name in ("weight", "bias", "u") if name in found}
    return found | rows


def reordered_columns(found: Layer, index: Tensor) -> Layer:
    """A linear layer whose inputs come in another order."""
    return found | {"weight": found["weight"][:, index]} | ({"v": found["v"][index]} if "v" in found else {})


def below(prefix: str, found: Mapping[str, Tensor]) -> Layer:
    return {f"{prefix}.{name}": tensor for name, tensor in found.items()}


def scalar(tensor: Tensor, foreign: Foreign, name: str) -> Tensor:
    """A number as a tensor without dimensions, whichever way it is stored."""
    if tensor.numel() != 1:
        raise foreign.refuse(f"{name} has {tensor.numel()} numbers instead of one")
    return tensor.reshape(())


def moments(foreign: Foreign, name: str) -> Layer:
    """Stored mean and variance of a batch norm, under any of the names that projects give them."""
    nested = f"{name}.bn" if foreign.has(f"{name}.bn") else name
    style = "stored" if f"{nested}.stored_mean" in foreign else "running"
    mean, var = foreign.take(f"{nested}.{style}_mean"), foreign.take(f"{nested}.{style}_var")
    if f"{nested}.accumulation_counter" in foreign:
        # Standing statistics of BigGAN-PyTorch's own norm are sums over as many batches; its running averages have 0.
        times = scalar(foreign.take(f"{nested}.accumulation_counter"), foreign, f"{nested}.accumulation_counter")
        mean, var = (mean / times, var / times) if times > 0 else (mean, var)
    foreign.drop(f"{nested}.num_batches_tracked")
    if bool((var < 0).any()):
        raise foreign.refuse(f"{nested} has a negative variance")
    return {"mean": mean, "var": var}


def affine(foreign: Foreign, name: str, gain: str = "weight") -> Layer:
    """A batch norm with a gain and a bias a channel."""
    return {"weight": foreign.take(f"{name}.{gain}"), "bias": foreign.take(f"{name}.bias")} | moments(foreign, name)


@dataclass(frozen=True)
class Part:
    """A network of ours, made of a foreign one."""

    project: str
    config: Any
    resolution: int
    n_classes: int
    tensors: Mapping[str, Tensor]
    rows: Mapping[str, Tensor] = field(default_factory=dict)
    """Standing statistics by threshold, by the names of `nn.standing.standing_buffers`, a row a threshold."""
    thresholds: tuple[float, ...] = ()
    is_average: bool = False
    """Whether the project publishes averaged weights alone."""
    remarks: tuple[str, ...] = ()
    """What must be said of this import."""

    @property
    def is_generator(self) -> bool:
        return isinstance(self.config, GeneratorConfig)


def finished(foreign: Foreign, make: Callable[[], Part]) -> Part:
    """A part of which every tensor was taken, and which has exactly the tensors of our network. Else `UserError`."""
    try:
        part = make()
        with torch.device("meta"):
            build: Callable[..., torch.nn.Module] = build_generator if part.is_generator else build_discriminator
            wanted = build(part.config, part.resolution, part.n_classes).state_dict()
    except NotImportable:
        raise
    except (UserError, RuntimeError, TypeError, ValueError, IndexError, OverflowError, AssertionError) as error:
        why = one_line(error, 200)
        raise foreign.refuse(f"its tensors do not make a network that is known here ({why})") from error
    if left := foreign.left():
        raise foreign.refuse(f"{listed(left)} not known in {part.project}'s networks")
    if odd := sorted(part.tensors.keys() ^ wanted.keys()):
        kind = "missing" if odd[0] in wanted else "too many"
        raise foreign.refuse(f"tensors are {kind} for our {odd[0]}")
    for name, tensor in part.tensors.items():
        if tensor.shape != wanted[name].shape:
            raise foreign.refuse(f"{name} would be {tuple(tensor.shape)} instead of {tuple(wanted[name].shape)}")
    return part


def listed(names: Collection[str]) -> str:
    first = ", ".join(sorted(names)[:3])
    return f"{first} is" if len(names) == 1 else f"{first}{', ...' if len(names) > 3 else ''} ({len(names)} keys) are"


def multiples(channels: tuple[int, ...], known: Collection[tuple[int, ...]] = ()) -> tuple[int, tuple[int, ...]]:
    """Width and multiples: as published, if channels are those of some row times a number, else by their divisor."""
    for row in known:
        width = channels[0] // row[0]
        if width and tuple(m * width for m in row) == channels:
            return width, row
    width = math.gcd(*channels)
    return width, tuple(c // width for c in channels)


def square_root(foreign: Foreign, rows: int, channels: int, name: str) -> int:
    """Side of the first map, of a linear layer with so many rows."""
    side = math.isqrt(rows // channels)
    if not side or channels * side**2 != rows:
        raise foreign.refuse(f"{name} has {rows} rows, not a square map of {channels} channels")
    return side


def side_after(foreign: Foreign, base: int, doublings: int) -> int:
    """The side of the images, within reason."""
    if doublings > 16 or base << doublings > MOST_SIDE:
        raise foreign.refuse(f"images would be larger than {MOST_SIDE} pixels")
    return base << doublings


def numbered(names: Iterator[str] | Collection[str], before: str) -> list[int]:
    """The numbers that follow a word in some of the names, in order."""
    found = {name.removeprefix(before).split(".")[0] for name in names if name.startswith(before)}
    return sorted(int(word) for word in found if word.isdecimal() and len(word) < 6)
