"""Tensors and what is to be known of them in one safetensors file, which shows when any bit of it has changed.

The facts are JSON in the file's header. Two checksums (CRC-32) stand beside them: of the facts, so that they can be
trusted without reading a tensor, and of the names, types, shapes and contents of all tensors.
"""

import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from orthogan.errors import UserError, one_line
from orthogan.files import aside

FACTS, FACTS_SUM, TENSORS_SUM = "orthogan", "facts_crc32", "tensors_crc32"


class Damaged(UserError):
    """A file that is torn or changed, or that is not of this kind; the message names it."""


@dataclass(frozen=True)
class TensorFile:
    """What a file holds."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor]
    checksum: str
    """Of the tensors, as the header states it; empty where none is stated."""


def write(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write a file that readers find whole or not at all, on disk before this returns. Raises `CannotWrite`."""
    tensors = {name: t.detach().contiguous().cpu() for name, t in tensors.items()}
    text = json.dumps(facts)
    metadata = {FACTS: text, FACTS_SUM: _hexadecimal(zlib.crc32(text.encode())), TENSORS_SUM: checksum(tensors)}
    with aside(path) as partial:
        save_file(tensors, partial, metadata=metadata)
        # The library writes for the owner alone; others may read it as they may read any file of the run.
        os.chmod(partial, 0o666 & ~_umask())


def read(path: Path, *, unsigned: bool = False, with_tensors: bool = True) -> TensorFile:
    """The facts, and unless told otherwise the tensors. Raises `Damaged`, or FileNotFoundError where there is no file.

    `unsigned` accepts a file without checksums, whose caller has its own way to verify it.
    """
    if path.exists() and not path.is_file():
        raise Damaged(f"{path} is not a file")
    try:
        # Opened once: a file that is removed meanwhile is still read whole.
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()} if with_tensors else {}  # noqa: SIM118
        facts = json.loads(metadata.get(FACTS, "{}"))
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise Damaged(f"{path} is torn or is not a safetensors file ({one_line(error)})") from error
    if not isinstance(facts, dict):
        raise Damaged(f"{path} is damaged: its header is not what orthogan writes")
    if not {FACTS_SUM, TENSORS_SUM} <= metadata.keys():
        if not unsigned:
            raise Damaged(f"{path} states no checksums: it was not written by orthogan, or is damaged")
        return TensorFile(facts, tensors, "")
    if metadata[FACTS_SUM] != _hexadecimal(zlib.crc32(metadata.get(FACTS, "").encode())):
        raise Damaged(f"{path} is damaged: its header does not match its checksum")
    if with_tensors and metadata[TENSORS_SUM] != checksum(tensors):
        raise Damaged(f"{path} is damaged: its tensors do not match their checksum")
    return TensorFile(facts, tensors, metadata[TENSORS_SUM])


def checksum(tensors: dict[str, Tensor]) -> str:
    """CRC-32 of names, types, shapes and contents of contiguous tensors on the CPU, in the order of the names."""
    crc = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        crc = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), crc)
        crc = zlib.crc32(contents(tensor), crc)
    return _hexadecimal(crc)


def contents(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor on the CPU."""
    return tensor.flatten().view(torch.uint8).numpy().data


def _hexadecimal(crc: int) -> str:
    return f"{crc:08x}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
