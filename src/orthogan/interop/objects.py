"""Networks inside a pickle that was read as inert objects: their tensors and plain settings, by dotted names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from orthogan.interop.pickles import Stub
from orthogan.interop.tensors import Refused

MOST_MODULES, MOST_TENSORS, MOST_DEPTH, MOST_ATTRIBUTES = 20_000, 50_000, 64, 500_000
"""Of one network. The published ones have a few hundred, on eight levels."""


@dataclass(frozen=True)
class Network:
    """The class that an object was of, its tensors, and its numbers and words."""

    kind: str
    tensors: Mapping[str, Tensor]
    attributes: Mapping[str, Any]


def network(root: Stub) -> Network:
    """Parameters, buffers and plain attributes of an object and of all below it. Raises `Refused`."""
    tensors: dict[str, Tensor] = {}
    attributes: dict[str, Any] = {}
    waiting: list[tuple[str, Any, int]] = [("", root, 0)]
    seen = 0
    while waiting:
        prefix, module, depth = waiting.pop()
        seen += 1
        if seen > MOST_MODULES or len(tensors) > MOST_TENSORS or depth > MOST_DEPTH:
            raise Refused("it has more modules, or deeper ones, than any network")
        state = state_of(module)
        for group in ("_parameters", "_buffers"):
            for name, tensor in dictionary(state.get(group)).items():
                if isinstance(tensor, Tensor):
                    tensors[f"{prefix}{name}"] = tensor
        for name, child in dictionary(state.get("_modules")).items():
            if isinstance(child, Stub):
                waiting.append((f"{prefix}{name}.", child, depth + 1))
        if len(attributes) + len(state) > MOST_ATTRIBUTES:
            raise Refused("it has more attributes than any network")
        for name, value in state.items():
            if (found := plain(value)) is not None:
                attributes[f"{prefix}{name}"] = found
    return Network(root.of.name, tensors, attributes)


def state_of(module: Stub) -> Mapping[Any, Any]:
    """The attributes of an object: a dictionary, alone or before one of slots."""
    state = module.state
    return dictionary(state[0] if isinstance(state, tuple) and state else state)


def dictionary(value: Any) -> Mapping[Any, Any]:
    return value if type(value) is dict else {}


def plain(value: Any) -> int | float | str | None:
    """A number or a word, also where it is a number of numpy's."""
    if isinstance(value, Stub) and value.of.path.endswith("multiarray.scalar") and len(value.arguments) == 2:
        kind, data = value.arguments
        code = kind.arguments[0] if isinstance(kind, Stub) and kind.arguments else None
        if code in ("f4", "f8", "i4", "i8") and isinstance(data, bytes) and len(data) == int(code[1]):
            found: int | float = np.frombuffer(data, np.dtype(f"<{code}")).item()
            return found
    return value if isinstance(value, bool | int | float | str) else None
