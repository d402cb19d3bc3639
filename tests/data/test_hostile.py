"""Files made to break a reader: each ends in one line that names it, in a moment, and in little memory."""

import json
import os
import struct
import zipfile
import zlib

import numpy as np
import pytest
from pictures import noise, png
from PIL import Image
from process import orthogan

from orthogan.data import inspect_source, open_source, opening
from orthogan.errors import UserError

RGB = np.stack([noise(i, (6, 5)) for i in range(3)])


def refused(path) -> str:
    """The line that the command ends with."""
    error = orthogan("data", "inspect", path, timeout=20).error
    assert "\n" not in error
    assert path.name in error
    return error


def unreadable(path) -> str:
    """Why the one bad picture of a source cannot be read, as the command tells it."""
    done = orthogan("data", "inspect", path, "--json", timeout=20)
    assert done.status == 1, done.err
    assert "Traceback" not in done.err
    ((_, reason),) = json.loads(done.out)["unreadable"]
    return reason


def bomb(member: bytes, n_bytes: int) -> bytes:
    """A zip of one member that holds `n_bytes` zeros, written without deflating them all."""
    block = 2**20
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    one = deflate.compress(bytes(block)) + deflate.flush(zlib.Z_FULL_FLUSH)
    data = one * (n_bytes // block) + deflate.flush()
    # Zip64 sizes in extra fields: signature, version, flags, method, time, date, CRC, sizes, lengths.
    sizes = struct.pack("<HHQQ", 1, 16, n_bytes, len(data))
    common = struct.pack("<HHHHHIIIHH", 45, 0, 8, 0, 33, 0, 2**32 - 1, 2**32 - 1, len(member), len(sizes))
    local = b"PK\x03\x04" + common + member + sizes
    entry = b"PK\x01\x02" + struct.pack("<H", 45) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + member + sizes
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(local) + len(data), 0)
    return local + data + entry + b"PK\x05\x06" + end


def patched(path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


# Zips


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("one.png", png(noise(1)))
    return path


def test_an_encrypted_member(archive):
    patched(archive, b"\x14\x00\x00\x00\x08\x00", b"\x14\x00\x01\x00\x08\x00")
    assert "encrypted" in unreadable(archive)


@pytest.mark.parametrize("method", [12, 14, 99])
def test_methods_that_are_unknown_or_unpack_without_bound(archive, method):
    patched(archive, b"\x14\x00\x00\x00\x08\x00", struct.pack("<HHH", 20, 0, method))
    assert f"method {method}" in unreadable(archive)


def test_bad_deflate_data(archive):
    data = bytearray(archive.read_bytes())
    data[40:60] = b"\xff" * 20
    archive.write_bytes(data)
    assert unreadable(archive)


def test_a_cut_member(archive):
    with zipfile.ZipFile(archive) as opened:
        info = opened.getinfo("one.png")
    whole = struct.pack("<II", info.compress_size, info.file_size)
    patched(archive, whole, struct.pack("<II", info.compress_size // 2, info.file_size))
    assert unreadable(archive)


def test_a_cut_zip_is_refused(archive):
    archive.write_bytes(archive.read_bytes()[:-30])
    assert "not a readable zip" in refused(archive)


def test_a_member_of_3_gigabytes_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.zip"
    path.write_bytes(bomb(b"one.png", 3 * 2**30))
    assert "one.png holds 3,072 MiB, more than the 512" in unreadable(path)


def test_a_label_file_that_is_a_bomb(tmp_path):
    path = tmp_path / "bomb.zip"
    path.write_bytes(bomb(b"dataset.json", 3 * 2**30))
    assert "dataset.json holds 3,072 MiB, more than the 128" in refused(path)


# dataset.json


@pytest.mark.parametrize(
    "text", ["[" * 1000, '{"labels":' + "[" * 100_000 + "]" * 100_000 + "}", "7", '{"labels": [3]}']
)
def test_label_files_of_other_forms(tmp_path, picture, text):
    picture(tmp_path / "in" / "0" / "a.png")
    (tmp_path / "in" / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=r"dataset\.json is not of the form") as caught:
        open_source(str(tmp_path / "in"))
    assert "\n" not in str(caught.value)


# Pictures


def test_pictures_have_a_largest_size(tmp_path, picture):
    picture(tmp_path / "in" / "a.png")
    Image.new("1", (13_000, 13_000)).save(tmp_path / "in" / "large.png")
    assert "13000x13000 are 169 megapixels, more than the 67" in unreadable(tmp_path / "in")


def test_what_pillow_itself_calls_a_bomb_is_told_alike(tmp_path, picture):
    picture(tmp_path / "in" / "a.png")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "in" / "huge.png")
    assert "more than the 67 megapixels" in unreadable(tmp_path / "in")


def test_other_programs_are_not_run_for_a_picture(tmp_path, picture):
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    assert "cannot identify" in unreadable(tmp_path / "in")


def test_an_empty_file_is_called_empty(tmp_path, picture):
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").touch()
    assert unreadable(tmp_path / "in") == "the file is empty"


def test_heic_says_what_to_install(tmp_path, picture, monkeypatch):
    def missing(name: str):
        raise ModuleNotFoundError(f"No module named {name!r}")

    picture(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    monkeypatch.setattr("orthogan.optional.importlib.import_module", missing)
    report = inspect_source(open_source(str(tmp_path / "in")))
    ((name, reason),) = report.unreadable
    assert name == "IMG_1.HEIC"
    assert "pip install 'orthogan[heic]'" in reason


# Pipes, devices, links


def test_a_pipe_among_pictures(tmp_path, picture):
    picture(tmp_path / "in" / "a.png")
    os.mkfifo(tmp_path / "in" / "pipe.png")
    assert unreadable(tmp_path / "in") == "not a regular file"


@pytest.mark.parametrize("name", ["pipe.png", "pipe.zip", "pipe"])
def test_a_pipe_as_the_data(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert "a pipe or a device" in refused(tmp_path / name)


def test_a_pipe_as_label_file(tmp_path, picture):
    picture(tmp_path / "in" / "0" / "a.png")
    os.mkfifo(tmp_path / "in" / "dataset.json")
    with pytest.raises(UserError, match="not a regular file"):
        open_source(str(tmp_path / "in"))


def test_folders_linked_to_one_another_are_each_entered_once(tmp_path, picture):
    root = tmp_path / "in"
    names = [f"{i:02d}" for i in range(12)]
    for i, name in enumerate(names):
        picture(root / name / "a.png", seed=i)
        for other in names:
            (root / name / f"to-{other}").symlink_to(root / other)
        (root / name / "up").symlink_to(tmp_path)
    done = orthogan("data", "inspect", root, "--json", timeout=20)
    assert json.loads(done.out)["classes"] == dict.fromkeys(names, 1)


def test_a_folder_keeps_its_own_name_before_that_of_a_link(tmp_path, picture):
    picture(tmp_path / "in" / "z" / "a.png")
    (tmp_path / "in" / "a").symlink_to(tmp_path / "in" / "z")
    assert open_source(str(tmp_path / "in")).names == ["z/a.png"]


# Arrays


def header(shape: str, descr: str = "|u1") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        header("(3, -5, 6, 3)") + bytes(270),
        header("(-3, -5, 6, 3)") + bytes(270),
        header(f"({2**63}, 5, 6, 3)") + bytes(270),
        header(f"({2**62}, 4, 4, 3)") + bytes(270),
        header("(3, 5, 6, 3)", "|O") + b"cos\nsystem\n(S'false'\ntR.",
        header("(3, 5, 6, 3)", "|V0"),
        header("[]" * 40),
        header("(" * 60),
        header("(3, 5, 6, 3)")[:40],
        b"\x93NUMPY\x09\x00" + bytes(99),
        b"cos\nsystem\n(S'false'\ntR.",
        b"",
    ],
    ids=range(12),
)
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_headers_of_arrays(tmp_path, content, name):
    path = tmp_path / name
    if name == "a.npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as made:
            made.writestr("images.npy", content)
    with pytest.raises(UserError, match=r"a\.np") as caught:
        open_source(str(path))
    assert "\n" not in str(caught.value)


def test_an_array_of_12_gigabytes_in_a_small_file(tmp_path):
    path = tmp_path / "bomb.npz"
    path.write_bytes(bomb(b"images.npy", 12 * 2**30))
    assert "holds 12,288 MiB, more than the 4,096" in refused(path)


def test_a_large_array_that_is_not_compressed_is_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr("orthogan.data.arrays.MAX_UNPACKED_BYTES", 200)
    np.savez(tmp_path / "a.npz", images=RGB, labels=[0, 1, 1])
    source = open_source(str(tmp_path / "a.npz"))
    assert isinstance(source._images.base, np.memmap) or isinstance(source._images, np.memmap)
    with source.read(2) as image:
        assert np.array_equal(np.asarray(image), RGB[2])
    assert source.labels == [0, 1, 1]


def test_a_sparse_file_of_more_images_than_names_fit_in_memory(tmp_path):
    path = tmp_path / "a.npy"
    with path.open("wb") as file:
        file.write(header("(30000000, 5, 5)"))
        file.truncate(30_000_000 * 25 + 128)
    assert f"more than the {opening.MAX_IMAGES}" in refused(path)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (np.array(3), "single number as labels"),
        (np.array([b"\xff\xfe", b"a", b"b"]), "utf-8"),
        (np.array([1e300, 0, 1]), "labels reach"),
        (np.array([2**63, 0, 1], np.uint64), "labels reach"),
        (np.array([1j, 0, 1]), "whole numbers"),
        (np.array(["2020-01-01"] * 3, "M8[D]"), "whole numbers"),
        (np.zeros((3, 2, 2)), r"shape \(3, 2, 2\)"),
        (np.array([{}] * 3), "not a readable array file"),
    ],
)
def test_labels_of_arrays(tmp_path, labels, complaint):
    np.savez(tmp_path / "a.npz", images=RGB, labels=labels)
    with pytest.raises(UserError, match=complaint):
        open_source(str(tmp_path / "a.npz"))


def test_words_beyond_ascii_are_class_names(tmp_path):
    np.savez(tmp_path / "a.npz", images=RGB, labels=np.array(["é".encode(), b"a", b"a"]))
    assert open_source(str(tmp_path / "a.npz")).class_names == ["a", "é"]
