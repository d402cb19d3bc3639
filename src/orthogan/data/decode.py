"""From any picture to one square of RGB bytes: modes, transparency, rotation, crop and resize.

Free of PyTorch, so that a decoding process starts in a fraction of a second.
"""

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor, ImageOps
from scipy import sparse

from orthogan.data.config import Crop, DataConfig, Resize
from orthogan.errors import UserError

Colour = tuple[int, int, int]

_FILTERS: dict[Resize, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_STRIP_VALUES = 250_000
"""Pixel values averaged at a time: few enough to stay in the processor's cache."""


@dataclass(frozen=True)
class Policy:
    """How a picture becomes a square of `resolution` pixels. Everything that decides a packed pixel, and no more."""

    resolution: int
    crop: Crop = "center"
    resize: Resize = "area"
    background: Colour = (255, 255, 255)

    @classmethod
    def of(cls, config: DataConfig, resolution: int) -> "Policy":
        if resolution < 1:
            raise UserError(f"resolution={resolution}: must be a positive number of pixels")
        return cls(resolution, config.crop, config.resize, parse_colour(config.background))


def parse_colour(name: str) -> Colour:
    """Red, green, blue in 0..255 of a colour name or #rrggbb."""
    try:
        red, green, blue = ImageColor.getrgb(name)[:3]
    except ValueError:
        raise UserError(f"data.background={name!r}: not a colour; use a name such as white or a code #rrggbb") from None
    return red, green, blue


def square(image: Image.Image, policy: Policy) -> np.ndarray:
    """The picture as training sees it: uint8, (resolution, resolution, 3), RGB."""
    return np.asarray(_fit(to_rgb(image, policy.background), policy))


def to_rgb(image: Image.Image, background: Colour) -> Image.Image:
    """An upright RGB picture, from any mode: EXIF rotation applied, transparency laid over the background.

    Raises ValueError for numbers that have no agreed range: integers beyond 16 bits, floats outside [0, 1].
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = _from_16_bits(image)
    elif image.mode == "F":
        image = _from_floats(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    paper = Image.new("RGBA", image.size, (*background, 255))
    return Image.alpha_composite(paper, image.convert("RGBA")).convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Pillow's own conversion clips at 255; this one scales 0..65535 to 0..255, rounding."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"integer pixels in {values.min()}..{values.max()}, expected 16 bits (0..65535)")
    return Image.fromarray(((values.astype(np.int32) + 128) // 257).astype(np.uint8))


def _from_floats(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if not (values.min() >= 0 and values.max() <= 1):  # written so that NaN is refused too
        raise ValueError(f"float pixels in {values.min():g}..{values.max():g}, expected [0, 1]")
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))


def _fit(image: Image.Image, policy: Policy) -> Image.Image:
    if policy.crop == "pad":
        return _pad(image, policy)
    if policy.crop != "stretch":
        image = _cut(image, at_top=policy.crop == "top")
    return resized(image, (policy.resolution, policy.resolution), policy.resize)


def _cut(image: Image.Image, at_top: bool) -> Image.Image:
    """The largest square, from the middle of the width, and from the middle or the top of the height."""
    side = min(image.size)
    left = (image.width - side) // 2
    top = 0 if at_top else (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _pad(image: Image.Image, policy: Policy) -> Image.Image:
    """The whole picture, as large as fits, in the middle of a square of the background."""
    side = policy.resolution
    width, height = (max(1, round(side * length / max(image.size))) for length in image.size)
    framed = Image.new("RGB", (side, side), policy.background)
    corner = round((side - width) / 2), round((side - height) / 2)
    framed.paste(resized(image, (width, height), policy.resize), corner)
    return framed


def resized(image: Image.Image, size: tuple[int, int], resize: Resize) -> Image.Image:
    """An RGB picture at (width, height). Area is bicubic where it enlarges: it would repeat pixels as blocks."""
    if resize != "area":
        return image.resize(size, _FILTERS[resize])
    if image.width < size[0] or image.height < size[1]:
        return image.resize(size, Image.Resampling.BICUBIC)
    return image if image.size == size else Image.fromarray(_area_average(image, size))


def _area_average(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """uint8 (height, width, 3): the mean colour over the area of each new pixel, halves rounded up.

    Pillow's BOX takes whole pixels by their centres instead, which is the same only where the ratio is whole. All sums
    are of whole numbers that floats hold exactly, so every machine gets the same bytes.
    """
    (width, height), (new_width, new_height) = image.size, size
    across = _overlaps(width, new_width, 0, new_width, np.float64)
    averaged = np.empty((new_height, new_width, 3), np.uint8)
    step = max(1, _STRIP_VALUES * new_height // (height * width * 3))
    for top in range(0, new_height, step):
        bottom = min(top + step, new_height)
        down = _overlaps(height, new_height, top, bottom, np.float32)
        first = top * height // new_height
        strip = np.asarray(image.crop((0, first, width, first + down.shape[1])), np.float32)
        rows = (down @ strip.reshape(len(strip), -1)).reshape(bottom - top, width, 3)
        columns = across @ rows.swapaxes(0, 1).astype(np.float64, order="C").reshape(width, -1)
        columns += width * height / 2
        columns /= width * height
        averaged[top:bottom] = columns.reshape(new_width, bottom - top, 3).swapaxes(0, 1)
    return averaged


@functools.lru_cache(maxsize=256)
def _overlaps(old: int, new: int, top: int, bottom: int, dtype: type) -> sparse.csr_array:
    """How much of each of the new pixels top ... bottom - 1 lies on each old pixel that they touch.

    In units of 1 / new of an old pixel, so that a row sums to `old`. Shape (bottom - top, old pixels touched).
    """
    edges = np.arange(top, bottom + 1)[:, None] * old
    first, last = edges[:-1] // new, -(-edges[-1, 0] // new)
    at = np.minimum(first + np.arange(-(-old // new) + 1), last - 1)
    overlap = np.minimum((at + 1) * new, edges[1:]) - np.maximum(at * new, edges[:-1])
    overlap[:, 1:][at[:, 1:] == at[:, :-1]] = 0  # the last pixel, met again
    starts = np.arange(0, overlap.size + 1, overlap.shape[1])
    shape = (bottom - top, int(last - first[0, 0]))
    weights = np.maximum(overlap, 0).astype(dtype)
    return sparse.csr_array((weights.ravel(), (at - first[0]).ravel(), starts), shape=shape)
