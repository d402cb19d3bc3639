"""Files of other projects, as state dictionaries. No code in a file is run: see `pickles` for the most dangerous kind.

What torch.save has written is read by torch.load with `weights_only`, which builds tensors and containers alone; saved
objects are read as inert ones.
"""

import hashlib
import json
import mmap
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from orthogan.errors import UserError, is_out_of_memory, one_line
from orthogan.interop import objects
from orthogan.interop.foreign import NotImportable
from orthogan.interop.pickles import LEGACY_MAGIC, Reader, Stub
from orthogan.interop.tensors import Budget, Refused
from orthogan.tensorfile import FACTS

MOST_BYTES = 16 * 2**30
"""The largest published file has half a gigabyte."""
MOST_TENSORS = 50_000
COPIES = 4
"""How many times the size of a file its tensors may take, while they are made."""
WRAPPERS = ("state_dict", "model_state_dict")
"""Keys under which files have their state dictionary beside other things."""
ROLES = {"G": "generator", "G_ema": "ema", "D": "discriminator"}
"""What the networks of one file are called there, and the parts of a checkpoint that they become."""
MAGIC = LEGACY_MAGIC.to_bytes(10, "little")
NUMPY = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype", "numpy.dtypes.Float64DType")


class Ignored:
    """Stands for numbers of numpy's beside the tensors of a file, such as a best score; their values are not used."""

    def __init__(self, *arguments: object):
        pass

    def __setstate__(self, state: object) -> None:
        pass


@dataclass(frozen=True)
class Found:
    """A network of a file: which part it is, if the file says so, its tensors and its plain settings."""

    path: Path
    part: str | None
    tensors: Mapping[str, Tensor]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    kind: str = ""

    @property
    def where(self) -> str:
        return f"{self.path}" + (f" ({self.part})" if self.part else "")


def read(path: Path) -> list[Found]:
    """The networks in a file. Raises `UserError` for whatever it is instead."""
    if not path.is_file():  # a pipe, say, which would be waited for
        raise NotImportable(f"{path} is no ordinary file; give one")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise NotImportable(f"{path} has {size / 2**30:.0f} GiB: no checkpoint of a known project is so large")
    with path.open("rb") as file:
        first = file.read(32)
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as opened:
                if FACTS in (opened.metadata() or {}):
                    raise NotImportable(f"{path} is a checkpoint of this program already")
            return [Found(path, None, checked(load_file(path), size))]
        if first.startswith(b"PK\x03\x04") or MAGIC in first:
            return [state_dictionary(path, size)]
        if first.startswith(b"\x80"):
            return list(saved_objects(path, size))
    except (Refused, SafetensorError) as error:
        raise NotImportable(f"{path} is refused: {error}; nothing was written") from error
    raise NotImportable(f"{path} is no checkpoint of a known project: no zip file, pickle or safetensors file")


def state_dictionary(path: Path, size: int) -> Found:
    """What torch.save has written of tensors."""
    check_zip(path, size)
    refuse_bytearray(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([(Ignored, name) for name in NUMPY]):
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise Refused("it asks for more memory than there is") from error
    except Exception as error:  # a hostile stream can make the loader fail in every way that Python knows
        why = one_line(error)
        if is_out_of_memory(error):
            why = "it asks for more memory than there is"
        elif "Unsupported" in why or "WeightsUnpickler" in why or "GLOBAL" in why:
            named = re.search(r"GLOBAL (\S+)", why)
            why = "it holds more than tensors" + (f": it names {named[1]}" if named else "")
        raise Refused(why[:200] or type(error).__name__) from error
    found = loaded
    for name in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict):
        raise Refused(f"it holds a {type(found).__name__}, not tensors by name")
    tensors = {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if len(tensors) < len(found):
        odd = next(name for name in found if name not in tensors)
        raise Refused(f"{str(odd)[:60]!r} in it is no tensor; known are state dictionaries")
    return Found(path, None, without_wrapper(checked(tensors, size)))


def check_zip(path: Path, size: int) -> None:
    """Refuse a zip file that would grow: torch.save does not compress."""
    if not zipfile.is_zipfile(path):
        with path.open("rb") as opened:
            if opened.read(4) == b"PK\x03\x04":  # by which torch.load would take it for one
                raise Refused("its zip file is broken (it has no end)")
        return
    try:
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise Refused(f"its zip file is broken ({error})") from error
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise Refused("its zip file is compressed, which torch.save does not do")
    if len(entries) > 2 * MOST_TENSORS or sum(entry.file_size for entry in entries) > size:
        raise Refused("its zip file holds more than it can")


def refuse_bytearray(path: Path) -> None:
    """Of what torch.load calls under `weights_only`, the only one that fills as much memory as a number asks for."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if content.find(b"\nbytearray\n") >= 0:
            raise Refused("it holds more than tensors (bytearray)")


def checked(tensors: dict[str, Tensor], size: int) -> dict[str, Tensor]:
    """Tensors that the file has room for: none that is stretched over few numbers, or reaches beyond them."""
    if len(tensors) > MOST_TENSORS:
        raise Refused(f"it has {len(tensors)} tensors")
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise Refused(f"{name[:60]} is not an ordinary tensor")
        if tensor.numel() * tensor.element_size() > min(tensor.untyped_storage().nbytes(), size):
            raise Refused(f"{name[:60]} is larger than the numbers that it has")
    if sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) > COPIES * size:
        raise Refused("its tensors take more memory than a file of its size can fill")
    return tensors


def without_wrapper(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the first word of all names that DataParallel gives them."""
    if tensors and all(name.startswith("module.") for name in tensors):
        return {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def saved_objects(path: Path, size: int) -> Iterator[Found]:
    """The networks of a pickle of objects, such as StyleGAN2-ADA's and Projected GAN's snapshots."""
    root, _ = Reader(path.read_bytes(), Budget(COPIES * size)).read_all()
    if isinstance(root, tuple) and len(root) == 3:
        raise Refused("it is StyleGAN2's of TensorFlow; convert it to PyTorch first by StyleGAN2-ADA's legacy.py")
    if not isinstance(root, dict) or not any(isinstance(root.get(name), Stub) for name in ROLES):
        raise Refused("it holds no networks by the names G, D or G_ema")
    for name, part in ROLES.items():
        if isinstance(root.get(name), Stub):
            found = objects.network(root[name])
            yield Found(path, part, found.tensors, found.attributes, found.kind)


def read_settings(path: Path) -> dict[str, Any]:
    """Numbers and words of a JSON file beside the weights; empty where there is none."""
    if not path.is_file() or path.stat().st_size > 2**20:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error})") from error
    return {k: v for k, v in values.items() if isinstance(v, int | float | str)} if isinstance(values, dict) else {}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
