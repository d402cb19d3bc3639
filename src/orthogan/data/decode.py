"""From any picture to one square of RGB bytes: modes, transparency, rotation, crop and resize.

Free of PyTorch, so that a decoding process starts in a fraction of a second.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageColor, ImageOps

from orthogan.config import Crop, DataConfig, Resize
from orthogan.errors import UserError

Colour = tuple[int, int, int]

_FILTERS: dict[Resize, Image.Resampling] = {
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


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


def reason_of(error: Exception) -> str:
    """One line that says why an image cannot be read."""
    text = " ".join(str(error).split()) or "unreadable"
    return text if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {text}"


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Pillow's own conversion clips at 255; this one scales 0..65535 to 0..255, rounding."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"integer pixels in {values.min()}..{values.max()}, expected 16 bits (0..65535)")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _from_floats(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if not (values.min() >= 0 and values.max() <= 1):  # written so that NaN is refused too
        raise ValueError(f"float pixels in {values.min():g}..{values.max():g}, expected [0, 1]")
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))


def _fit(image: Image.Image, policy: Policy) -> Image.Image:
    target = (policy.resolution, policy.resolution)
    if policy.crop == "pad":
        shrinks = max(image.size) >= policy.resolution
        return ImageOps.pad(image, target, _filter(policy.resize, shrinks), color=policy.background)
    if policy.crop != "stretch":
        image = _cut(image, at_top=policy.crop == "top")
    return image.resize(target, _filter(policy.resize, shrinks=min(image.size) >= policy.resolution))


def _cut(image: Image.Image, at_top: bool) -> Image.Image:
    """The largest square, from the middle of the width, and from the middle or the top of the height."""
    side = min(image.size)
    left = (image.width - side) // 2
    top = 0 if at_top else (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _filter(resize: Resize, shrinks: bool) -> Image.Resampling:
    """Area means nothing when pixels are added: it would repeat them as blocks."""
    if resize == "area" and not shrinks:
        return Image.Resampling.BICUBIC
    return _FILTERS[resize]
