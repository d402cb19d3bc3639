"""Pickles of networks, read without importing or calling anything that they name.

StyleGAN2-ADA and Projected GAN save whole objects, whose stock loader executes the source text in the file. Here every
name in a pickle becomes an inert `Named`: a few of them are understood as tensors and dictionaries by functions of this
module, those of known code bases collect their state as data, and all others end the reading.
"""

import io
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from orthogan.errors import one_line
from orthogan.interop.tensors import TYPES, Budget, Refused, Storage, rebuild

DATA_ROOTS = ("torch", "torch_utils", "dnnlib", "pg_modules", "training", "timm", "numpy", "collections")
"""First words of modules whose classes may stand in such files. None of them is imported for it."""
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
"""What streams of torch.save began with before they became zip files."""
KEYS = (str, int, float, bool, type(None))
"""What may be a key. Others may have a hash that takes forever, or a stack without end."""
LONGEST_KEY = 1000
"""Letters: names of tensors are put together from them."""
MOST_ENTRIES = 2_000_000

OPCODES = (
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "MEMOIZE"),
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "SHORT_BINUNICODE"),
    *("BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_SET"),
    *("ADDITEMS", "GLOBAL", "STACK_GLOBAL", "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD", "BINPERSID"),
)
"""All that the protocols 2 to 4 write, without extension codes and the opcodes that call by other ways."""


@dataclass(frozen=True)
class Named:
    """A name in a pickle. It stands for nothing and can be called by nobody."""

    module: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass
class Stub:
    """An object of a class that is not imported: its name, what it was made from, and its state."""

    of: Named
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


Builder = Callable[["Reader", tuple[Any, ...]], Any]


def _ordered(reader: "Reader", arguments: tuple[Any, ...]) -> Any:
    if arguments not in ((), ([],)):
        raise Refused("it fills a dictionary in an unusual way")
    return {}


def _tensor(reader: "Reader", arguments: tuple[Any, ...]) -> Any:
    if len(arguments) < 4:
        raise Refused("the shape of a tensor of it is broken")
    storage, offset, size, stride = arguments[:4]
    return rebuild(storage, offset, size, stride, reader.budget)


def _parameter(reader: "Reader", arguments: tuple[Any, ...]) -> Any:
    return arguments[0] if arguments else None


def _bytes(reader: "Reader", arguments: tuple[Any, ...]) -> Any:
    if len(arguments) != 1 or not isinstance(arguments[0], bytes):
        raise Refused("its storages are not bytes")
    return legacy_storage(arguments[0], reader.budget)


def _persistent(reader: "Reader", arguments: tuple[Any, ...]) -> Any:
    """An object with the source of its class beside it; the source is data, and stays it."""
    meta = arguments[0] if len(arguments) == 1 else None
    if not isinstance(meta, dict) or not isinstance(meta.get("class_name"), str):
        raise Refused("an object of it has no class")
    return Stub(Named("persistent", meta["class_name"]), state=meta.get("state"))


BUILDERS: dict[str, Builder] = {
    "collections.OrderedDict": _ordered,
    "dnnlib.util.EasyDict": _ordered,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.storage._load_from_bytes": _bytes,
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
}


class Reader(pickle._Unpickler):
    """The machine of Python's own unpickler, in Python, with a short list of opcodes.

    The one in C would follow a stream into an array as long as the stream says.
    """

    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, data: bytes, budget: Budget):
        self._stream = io.BytesIO(data)
        super().__init__(self._stream, encoding="latin1")
        self.budget = budget

    def read_all(self) -> tuple[Any, int]:
        """What is in the stream, and the place where it ends. Raises `Refused`."""
        try:
            return self.load(), self._stream.tell()
        except Refused:
            raise
        except (
            pickle.UnpicklingError,
            EOFError,
            ValueError,
            TypeError,
            KeyError,
            IndexError,
            AttributeError,
            AssertionError,
            OverflowError,
            RuntimeError,
            UnicodeError,
            struct.error,
        ) as error:
            raise Refused(f"its pickle is broken ({one_line(error, 100)})") from error

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("it refers to objects outside of itself")

    def find_class(self, module: str, name: str) -> Named:
        named = Named(str(module), str(name))
        if named.path not in BUILDERS and str(module).split(".")[0] not in DATA_ROOTS:
            raise Refused(f"it names {named.path[:80]}, which is no part of a network")
        return named

    def made(self, named: Any, arguments: Any, keywords: Any = None) -> Any:
        """What stands for a call: of a known function our own, of a class an inert object."""
        if not isinstance(named, Named) or not isinstance(arguments, tuple) or keywords:
            raise Refused("it calls what is not a class")
        builder = BUILDERS.get(named.path)
        return Stub(named, arguments) if builder is None else builder(self, arguments)

    def filled(self, holder: Any, entries: list[Any]) -> None:
        """Keys and values in turn, into a dictionary or into an inert object that is one."""
        target = holder.items if isinstance(holder, Stub) else holder
        if type(target) is not dict or len(entries) % 2:
            raise Refused("it sets items of what is not a dictionary")
        for key, value in zip(entries[::2], entries[1::2], strict=True):
            if not isinstance(key, KEYS):
                raise Refused("a key of it is neither a word nor a number")
            if isinstance(key, str) and len(key) > LONGEST_KEY:
                raise Refused(f"a key of it is longer than {LONGEST_KEY:,} letters")
            target[key] = value
        if len(target) > MOST_ENTRIES:
            raise Refused("a dictionary of it is too long")

    def appended(self, holder: Any, entries: list[Any]) -> None:
        if isinstance(holder, Stub):
            return
        if type(holder) is not list:
            raise Refused("it appends to what is not a list")
        holder.extend(entries)

    # What the opcodes do, as pickle._Unpickler has them, with no call of anything that the stream chooses.

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.made(self.stack[-1], arguments)

    def _new(self) -> None:
        arguments = self.stack.pop()
        self.append(self.made(self.stack.pop(), arguments))

    def _new_with_keywords(self) -> None:
        keywords = self.stack.pop()
        arguments = self.stack.pop()
        self.append(self.made(self.stack.pop(), arguments, keywords))

    def _build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Stub):
            self.stack[-1].state = state

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.filled(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        entries = self.pop_mark()
        self.filled(self.stack[-1], entries)

    def _append(self) -> None:
        value = self.stack.pop()
        self.appended(self.stack[-1], [value])

    def _append_all(self) -> None:
        entries = self.pop_mark()
        self.appended(self.stack[-1], entries)

    def _empty_set(self) -> None:
        self.append(Stub(Named("builtins", "set")))

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]] for name in OPCODES
    }
    for _code, _does in (
        (pickle.REDUCE, _reduce),
        (pickle.NEWOBJ, _new),
        (pickle.NEWOBJ_EX, _new_with_keywords),
        (pickle.BUILD, _build),
        (pickle.SETITEM, _set_item),
        (pickle.SETITEMS, _set_items),
        (pickle.APPEND, _append),
        (pickle.APPENDS, _append_all),
        (pickle.ADDITEMS, _append_all),
        (pickle.EMPTY_SET, _empty_set),
    ):
        dispatch[_code[0]] = _does
    del _code, _does


class StorageReader(Reader):
    """Of one stream inside another, which holds nothing but a storage."""

    def find_class(self, module: str, name: str) -> Named:
        if module != "torch" or name not in TYPES:
            raise Refused(f"it names {str(module)[:40]}.{str(name)[:40]}, which is no storage")
        return Named(module, name)

    def persistent_load(self, pid: Any) -> Any:
        return pid


def legacy_storage(data: bytes, budget: Budget) -> Storage:
    """The storage of a stream of torch.save before its zip files: five pickles, a count and numbers."""
    at, found = 0, []
    for _ in range(5):
        value, length = StorageReader(data[at:], budget).read_all()
        found.append(value)
        at += length
    magic, protocol, system, pid, keys = found
    little = isinstance(system, dict) and system.get("little_endian") is True
    if (magic, protocol) != (LEGACY_MAGIC, LEGACY_PROTOCOL) or not little:
        raise Refused("a storage of it is not one of torch.save")
    is_storage = isinstance(pid, tuple) and len(pid) in (5, 6) and isinstance(pid[1], Named) and type(pid[4]) is int
    if not is_storage or not isinstance(keys, list) or len(keys) != 1 or pid[5:] not in ((), (None,)):
        raise Refused("a storage of it is not one of torch.save")
    if len(data) < at + 8 or struct.unpack("<q", data[at : at + 8])[0] != pid[4]:
        raise Refused("it states another number of elements than there are")
    return Storage.read(data[at + 8 :], pid[1].name, pid[4], budget)
