"""Tensors from the numbers of a stream, without trust in what the stream says of their shapes."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from orthogan.errors import UserError

MOST_DIMENSIONS = 8
TYPES: dict[str, torch.dtype] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


class Refused(UserError):
    """What a stream asks for is not what tensors need; the message says what."""


@dataclass
class Budget:
    """Bytes that may still be made of a stream. A stream that repeats itself by reference runs out of them."""

    left: int

    def spend(self, count: int) -> None:
        if count > self.left:
            raise Refused("it asks for more memory than a file of its size can fill")
        self.left -= count


@dataclass(frozen=True)
class Storage:
    """A row of numbers."""

    numbers: Tensor

    @classmethod
    def read(cls, data: bytes, kind: str, count: Any, budget: Budget) -> "Storage":
        """So many little-endian numbers, which must be all of `data`."""
        if kind not in TYPES:
            raise Refused(f"it has numbers of the type {kind[:60]}")
        dtype = TYPES[kind]
        if not isinstance(count, int) or count < 0 or count * dtype.itemsize != len(data):
            raise Refused("it states another number of elements than there are")
        budget.spend(len(data))
        return cls(torch.frombuffer(bytearray(data), dtype=dtype) if count else torch.empty(0, dtype=dtype))


def rebuild(storage: Any, offset: Any, size: Any, stride: Any, budget: Budget) -> Tensor:
    """A tensor of its own. Raises `Refused` for a shape that does not lie inside the storage."""
    if not isinstance(storage, Storage):
        raise Refused("a tensor of it has no numbers")
    if not isinstance(size, tuple) or not isinstance(stride, tuple) or len(size) != len(stride):
        raise Refused("the shape of a tensor of it is broken")
    if len(size) > MOST_DIMENSIONS or any(type(n) is not int or n < 0 for n in (offset, *size, *stride)):
        raise Refused("the shape of a tensor of it is broken")
    count, there = math.prod(size), len(storage.numbers)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count > there or (count and last >= there):
        raise Refused("a tensor of it reaches beyond its numbers")
    if not count:
        return torch.empty(size, dtype=storage.numbers.dtype)
    budget.spend(count * storage.numbers.dtype.itemsize)
    return storage.numbers.as_strided(size, stride, offset).clone(memory_format=torch.contiguous_format)
