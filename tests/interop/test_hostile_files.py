"""Files that want something else than to be read: each is refused in one line, and none has an effect.

Programs of pickles are written out in opcodes; `MARKER` is the file that they would make.
"""

import io
import os
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_files import unpack
from process import orthogan

from orthogan.errors import UserError
from orthogan.interop import archives, objects
from orthogan.interop.pickles import Named, Reader, Stub
from orthogan.interop.tensors import Budget, Refused, Storage, rebuild
from orthogan.interop.writing import prepare

MARKER = "marker"
LARGE = 2**40


def dumped(value: object) -> bytes:
    """A value as opcodes that leave it on the stack."""
    return pickle.dumps(value, protocol=2)[2:-1]


def named(module: str, name: str) -> bytes:
    return b"c" + f"{module}\n{name}\n".encode()


def call(module: str, name: str, *arguments: object) -> bytes:
    """Opcodes of a call; arguments may be opcodes themselves."""
    parts = [a if isinstance(a, bytes) else dumped(a) for a in arguments]
    return named(module, name) + b"(" + b"".join(parts) + b"tR"


def snapshot(program: bytes) -> bytes:
    """A pickle of {"G_ema": what the program leaves}."""
    return b"\x80\x04" + b"}" + dumped("G_ema") + program + b"s."


def touch(folder: Path) -> str:
    return f"touch {folder / MARKER}"


def writes(folder: Path) -> str:
    return f"open({str(folder / MARKER)!r}, 'w').close()"


PROGRAMS: dict[str, Callable[[Path], bytes]] = {
    "os.system": lambda f: call("os", "system", touch(f)),
    "posix.system": lambda f: call("posix", "system", touch(f)),
    "subprocess": lambda f: call("subprocess", "check_output", ["touch", str(f / MARKER)]),
    "eval": lambda f: call("builtins", "eval", writes(f)),
    "exec": lambda f: call("builtins", "exec", writes(f)),
    "open": lambda f: call("builtins", "open", str(f / MARKER), "w"),
    "python 2's eval": lambda f: call("__builtin__", "eval", writes(f)),
    "getattr": lambda f: call("builtins", "getattr", call("builtins", "__import__", "os"), "system"),
    "operator": lambda f: call("operator", "methodcaller", "system", touch(f)),
    "partial": lambda f: call("functools", "partial", named("os", "system"), touch(f)),
    "reduce": lambda f: call("functools", "reduce", named("os", "system"), [touch(f)]),
    "codecs": lambda f: call("codecs", "open", str(f / MARKER), "w"),
    "_codecs": lambda f: call("_codecs", "encode", touch(f), "rot13"),
    "runpy": lambda f: call("runpy", "run_path", str(f / "program.py")),
    "pathlib": lambda f: call("pathlib", "Path", str(f / MARKER)),
    "dill": lambda f: call("dill._dill", "_create_function", b"N", b"}"),
    "copyreg": lambda f: call("copyreg", "_reconstructor", named("os", "system"), named("builtins", "object"), b"N"),
    "attribute of a class": lambda f: (
        b"\x80\x04" + dumped("torch") + dumped("os.system") + b"\x93(" + dumped("x") + b"tR"
    ),
    "a call of a call": lambda f: call("torch.nn", "Module") + b"(" + dumped(touch(f)) + b"tR",
    "object by instance": lambda f: b"(" + dumped(touch(f)) + b"ios\nsystem\n",
    "object by class": lambda f: b"(" + named("os", "system") + dumped(touch(f)) + b"o",
    "new object": lambda f: named("os", "system") + b"(" + dumped(touch(f)) + b"t\x81",
    "new object with keywords": lambda f: named("os", "system") + b"(" + dumped(touch(f)) + b"t}\x92",
    "extension code": lambda f: b"\x82\x01",
    "persistent object": lambda f: dumped(touch(f)) + b"Q",
    "torch.load": lambda f: call("torch", "load", str(f / "inner.pth")),
    "torch.hub": lambda f: call("torch.hub", "load", "owner/name", "model"),
    "numpy.load": lambda f: call("numpy", "load", str(f / "inner.npy")),
    "state of a name": lambda f: named("torch", "nn") + b"}" + dumped("__class__") + named("os", "system") + b"sb",
    "items of a name": lambda f: named("torch", "nn") + dumped("x") + dumped(1) + b"s",
    "appending to a name": lambda f: named("torch", "nn") + dumped("x") + b"a",
    "a key that is a tuple": lambda f: b"}" + dumped((1, 2)) + b"Ns",
    "a key that is deep": lambda f: b"}" + b")" + b"\x85" * 200_000 + b"Ns",
    "depth": lambda f: b"]" * 300_000 + b"a" * 299_999,
    "depth of tuples": lambda f: b")" + b"\x85" * 300_000,
    "nothing": lambda f: b"",
    "an object of nothing": lambda f: call("torch.nn", "Module"),
    "bytes without end": lambda f: b"\x8e" + struct.pack("<Q", LARGE) + b"x",
    "a frame without end": lambda f: b"\x95" + struct.pack("<Q", LARGE) + b"x",
    "a long word": lambda f: b"X" + struct.pack("<I", 2**32 - 1) + b"x",
    "a memo without end": lambda f: b"Nr" + struct.pack("<I", 2**32 - 1),
    "popped too often": lambda f: b"0" * 50,
    "no mark": lambda f: b"t",
    "words that are none": lambda f: b"X" + struct.pack("<I", 2) + b"\xff\xfe",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_program_in_a_pickle_runs(name: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(writes(tmp_path))
    path = tmp_path / "network-snapshot-1.pkl"
    path.write_bytes(snapshot(PROGRAMS[name](tmp_path)))
    modules = set(sys.modules)
    with pytest.raises(UserError, match=r"nothing was written|no known network|no networks"):
        prepare([path])
    assert not (tmp_path / MARKER).exists()
    assert {m for m in set(sys.modules) - modules if m.split(".")[0] in ("runpy", "dill", "codeop")} == set()


@pytest.mark.parametrize("name", ["os.system", "eval", "open"])
def test_the_programs_would_have_an_effect(name: str, tmp_path: Path) -> None:
    pickle.loads(b"\x80\x04" + PROGRAMS[name](tmp_path) + b".")
    assert (tmp_path / MARKER).exists()


@pytest.mark.parametrize("name", ["os.system", "eval", "open", "getattr", "partial", "_codecs", "torch.load", "depth"])
@pytest.mark.parametrize("zipped", [True, False])
def test_no_program_in_a_file_of_torch_runs(name: str, zipped: bool, tmp_path: Path) -> None:
    program = b"\x80\x02}" + dumped("w") + PROGRAMS[name](tmp_path) + b"s."
    path = tmp_path / "G_ema.pth"
    if zipped:
        told = io.BytesIO()
        torch.save({"w": torch.zeros(2)}, told)
        with zipfile.ZipFile(told) as old, zipfile.ZipFile(path, "w") as new:
            for entry in old.infolist():
                new.writestr(entry, program if entry.filename.endswith("data.pkl") else old.read(entry))
    else:
        told = io.BytesIO()
        torch.save({}, told, _use_new_zipfile_serialization=False)
        start = told.getvalue()
        at = start.index(pickle.dumps({}, protocol=2))
        path.write_bytes(start[:at] + program + start[at:])
    with pytest.raises(UserError, match="nothing was written"):
        prepare([path])
    assert not (tmp_path / MARKER).exists()


class Source:
    """An object with the source of its class beside it, as StyleGAN2-ADA saves networks."""

    def __init__(self, kind: str, state: dict[str, object], source: str):
        self.meta = {"type": "class", "version": 6, "module_src": source, "class_name": kind, "state": state}

    def __reduce__(self) -> tuple[object, ...]:
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (self.meta,)


@pytest.fixture
def persistence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module by whose name such objects are pickled."""
    package, module = types.ModuleType("torch_utils"), types.ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(meta: object) -> None:
        raise AssertionError("called")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_utils", package)
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", module)


@pytest.mark.usefixtures("persistence")
def test_source_in_a_file_stays_text(tmp_path: Path) -> None:
    root = Source("Generator", {"_parameters": OrderedDict(w=torch.ones(2)), "_modules": {}}, writes(tmp_path))
    path = tmp_path / "network-snapshot-1.pkl"
    path.write_bytes(pickle.dumps({"G_ema": root}, protocol=4))
    (found,) = archives.read(path)
    assert found.tensors["w"].equal(torch.ones(2))
    assert found.kind == "Generator"
    assert not (tmp_path / MARKER).exists()


def module(**state: object) -> Source:
    return Source("Layer", {"_parameters": {}, "_buffers": {}, "_modules": {}} | state, "")


@pytest.mark.usefixtures("persistence")
@pytest.mark.parametrize("shape", ["circle", "chain", "tree"])
def test_modules_without_end_are_refused(shape: str, tmp_path: Path) -> None:
    root = module()
    if shape == "circle":
        root.meta["state"]["_modules"]["again"] = root  # type: ignore[index]
        program = call(
            "torch_utils.persistence",
            "_reconstruct_persistent_obj",
            # The state is remembered, and refers to an object with itself as the state.
            b"}" + dumped("class_name") + dumped("a") + b"s" + dumped("state") + b"}q\x05" + dumped("_modules")
            + b"}" + dumped("again") + call("torch_utils.persistence", "_reconstruct_persistent_obj",
            b"}" + dumped("class_name") + dumped("a") + b"s" + dumped("state") + b"h\x05s") + b"sss",
        )  # fmt: skip
    else:
        levels = 100 if shape == "chain" else 20
        for _ in range(levels):
            children = {"a": root} if shape == "chain" else {"a": root, "b": root}
            root = module(_modules=children)
        program = dumped(root)
    path = tmp_path / "network-snapshot-1.pkl"
    path.write_bytes(snapshot(program))
    with pytest.raises(UserError, match="more modules, or deeper ones"):
        prepare([path])


def storage(numbers: int, stated: int | None = None, kind: str = "FloatStorage", **facts: object) -> bytes:
    """A stream of one storage as torch.save writes it."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}} | facts
    head = b"".join(pickle.dumps(v, protocol=2) for v in (archives.LEGACY_MAGIC, 1001, system))
    count = numbers if stated is None else stated
    identity = b"(" + dumped("storage") + named("torch", kind) + dumped("0") + dumped("cpu") + dumped(count) + b"NtQ"
    return head + b"\x80\x02" + identity + b"." + pickle.dumps(["0"], 2) + struct.pack("<q", count) + bytes(4 * numbers)


def tensor(data: bytes, offset: object, size: object, stride: object) -> bytes:
    inner = call("torch.storage", "_load_from_bytes", b"B" + struct.pack("<I", len(data)) + data)
    return call("torch._utils", "_rebuild_tensor_v2", inner, offset, size, stride, False, b"}")


def test_a_stream_of_ours_is_read_where_it_is_whole() -> None:
    data = tensor(storage(6), 1, (2, 2), (2, 1))
    read, _ = Reader(b"\x80\x04" + data + b".", Budget(10_000)).read_all()
    assert read.equal(torch.zeros(2, 2))
    for number in (torch.arange(6.0).view(2, 3).t(), torch.arange(4)[1:], torch.zeros(2, dtype=torch.bfloat16)):
        read, _ = Reader(pickle.dumps(number, protocol=4), Budget(10_000)).read_all()
        assert read.equal(number)


def dumped_bytes(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


TENSORS: dict[str, bytes] = {
    "beyond the end": tensor(storage(4), 0, (5,), (1,)),
    "by the offset": tensor(storage(4), 3, (2,), (1,)),
    "before the start": tensor(storage(4), -1, (2,), (1,)),
    "by the stride": tensor(storage(4), 0, (2, 2), (3, 1)),
    "backwards": tensor(storage(4), 3, (2,), (-1,)),
    "stretched": tensor(storage(4), 0, (LARGE,), (0,)),
    "stretched a little": tensor(storage(4), 0, (5,), (0,)),
    "of many dimensions": tensor(storage(4), 0, (1,) * 200, (1,) * 200),
    "of no shape": tensor(storage(4), 0, "ab", (1, 1)),
    "of floats": tensor(storage(4), 0, (2.0,), (1,)),
    "of truth": tensor(storage(4), 0, (True,), (1,)),
    "of fewer numbers than stated": tensor(storage(4, stated=LARGE), 0, (4,), (1,)),
    "of less than nothing": tensor(storage(4, stated=-1), 0, (4,), (1,)),
    "of another type": tensor(storage(4, kind="QInt8Storage"), 0, (4,), (1,)),
    "of the other end": tensor(storage(4, little_endian=False), 0, (4,), (1,)),
    "of a program": call("torch.storage", "_load_from_bytes", dumped_bytes(b"\x80\x04" + call("os", "abort") + b".")),
    "of no bytes": call("torch.storage", "_load_from_bytes", "abc"),
    "of no storage": call("torch._utils", "_rebuild_tensor_v2", "abc", 0, (1,), (1,), False, b"}"),
    "of too few words": call("torch._utils", "_rebuild_tensor_v2", "abc"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_broken_tensors_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "network-snapshot-1.pkl"
    path.write_bytes(snapshot(TENSORS[name]))
    with pytest.raises(UserError, match="is refused"):
        prepare([path])


def test_a_stream_that_repeats_itself_runs_out_of_its_budget(tmp_path: Path) -> None:
    data = dumped_bytes(storage(50_000))
    again = call("torch.storage", "_load_from_bytes", b"h\x01")
    path = tmp_path / "network-snapshot-1.pkl"
    path.write_bytes(snapshot(data + b"q\x010" + b"]" + (again + b"a") * 1000))
    with pytest.raises(UserError, match="more memory than a file of its size"):
        prepare([path])


def test_shapes_have_to_lie_inside() -> None:
    numbers = Storage(torch.arange(12.0))
    assert rebuild(numbers, 1, (2, 3), (4, 2), Budget(1000)).equal(torch.arange(12.0).as_strided((2, 3), (4, 2), 1))
    assert rebuild(numbers, 0, (3, 0), (1, 1), Budget(0)).shape == (3, 0)
    with pytest.raises(Refused, match="memory"):
        rebuild(numbers, 0, (12,), (1,), Budget(40))


def saved(path: Path, value: object, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


STATES: dict[str, tuple[object, str]] = {
    "a list": ([torch.zeros(2)], "holds a list"),
    "a number": ({"w": 3}, "no tensor"),
    "an array": ({"w": np.zeros(3)}, "more than tensors"),
    "a module": (torch.nn.Linear(2, 2), "more than tensors"),
    "a function": ({"w": print}, "more than tensors"),
    "a stretched tensor": ({"w": torch.zeros(1).expand(1000)}, "larger than the numbers"),
    "a sparse tensor": ({"w": torch.zeros(3, 3).to_sparse()}, "not an ordinary tensor"),
    "nothing": ({}, "no known network"),
    "another network": ({"fc.weight": torch.zeros(3)}, "no known network"),
}


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("zipped", [True, False])
def test_other_contents_are_refused(name: str, zipped: bool, tmp_path: Path) -> None:
    value, why = STATES[name]
    with pytest.raises(UserError, match=why):
        prepare([saved(tmp_path / "G_ema.pth", value, zipped)])


def test_a_zip_file_that_grows_is_refused(tmp_path: Path) -> None:
    plain, packed = saved(tmp_path / "plain.pth", {"w": torch.zeros(100_000)}), tmp_path / "G_ema.pth"
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
    assert packed.stat().st_size < 10_000
    with pytest.raises(UserError, match="compressed"):
        prepare([packed])


@pytest.mark.parametrize("cut", [1, 10, 100, 1000, 20_000, -1])
@pytest.mark.parametrize("case", ["brock32", "studio", "projected"])
def test_torn_files_are_refused(case: str, cut: int, tmp_path: Path) -> None:
    for path in unpack(case, tmp_path).iterdir():
        path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(UserError):
        prepare([tmp_path])


def test_one_changed_number_of_a_shape_is_refused(tmp_path: Path) -> None:
    """Missing, unknown, misshapen and unreal tensors of a whole file."""
    path = next(p for p in unpack("brock32", tmp_path).iterdir() if p.name == "G_ema.pth")
    state = torch.load(path, weights_only=True)
    name = "blocks.1.0.conv2.weight"
    changes = {
        "is missing": {k: v for k, v in state.items() if k != name},
        "extra.weight is not known": state | {"extra.weight": torch.zeros(1)},
        "instead of": state | {name: state[name][:, :4].clone()},
        "not finite": state | {name: state[name] * torch.inf},
        "not of floating point": state | {name: state[name].long()},
        "negative variance": state | {"blocks.0.0.bn1.bn.stored_var": -torch.ones(8)},
    }
    for why, changed in changes.items():
        with pytest.raises(UserError, match=why):
            prepare([saved(path, changed)])
    prepare([saved(path, {f"module.{k}": v for k, v in state.items()})])


def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "G_ema.pth"
    os.mkfifo(path)
    end = os.open(path, os.O_RDWR)  # so that opening it to read would not wait for ever
    os.write(end, b"x" * 32)
    try:
        with pytest.raises(UserError, match="is no ordinary file"):
            prepare([path])
    finally:
        os.close(end)


def test_the_command_line_refuses_in_one_line_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "G_ema.pth"
    path.write_bytes(snapshot(PROGRAMS["os.system"](tmp_path)))
    out = tmp_path / "out.safetensors"
    assert "os.system, which is no part of a network" in orthogan("import", path, "--out", out).error
    assert not out.exists()
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_number_of_bytes_to_be_made_is_refused(zipped: bool, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="bytearray"):
        archives.read(saved(tmp_path / "G.pth", {"w": Call(bytearray, 10**6)}, zipped))


def test_attributes_that_modules_share_are_refused_beyond_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "MOST_ATTRIBUTES", 100)
    state = {f"a{i}": i for i in range(30)}
    children = {str(i): Stub(Named("training", "Block"), state=state) for i in range(3)}
    assert len(objects.network(Stub(Named("training", "Net"), state={"_modules": children})).attributes) == 90
    children["3"] = Stub(Named("training", "Block"), state=state)
    with pytest.raises(Refused, match="attributes"):
        objects.network(Stub(Named("training", "Net"), state={"_modules": children}))


class Call:
    """Is pickled as a call."""

    def __init__(self, what: Callable[..., object], *arguments: object):
        self.call = what, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def test_a_zip_file_without_its_end_is_refused_before_torch_sees_it(tmp_path: Path) -> None:
    path = saved(tmp_path / "G_ema.pth", {"w": torch.zeros(3)})
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(Refused, match="no end"):
        archives.check_zip(path, 40)
