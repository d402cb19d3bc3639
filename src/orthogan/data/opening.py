"""Opening pictures and archive members from outside: what they may be, and how large.

Every source reads through these functions, so that nothing hangs on a pipe or takes all the memory.
"""

import functools
import io
import stat
import warnings
import zipfile
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from orthogan import optional

MAX_PIXELS = 2**26
"""Of one picture: 8192 x 8192. Decoding takes up to 16 bytes a pixel, so that a decoding process stays near 1 GiB."""
MAX_MEMBER_BYTES = 8 * MAX_PIXELS
"""Of one picture in an archive: as many as MAX_PIXELS take with 16 bits in four channels."""
MAX_LABEL_FILE_BYTES = 2**27
"""Of dataset.json: ImageNet's has 50 MB. Parsed it takes up to twenty times as much memory."""
MAX_IMAGES = 2**24
"""Of one source: ImageNet-22k has 14.2 million. Their names alone take gigabytes."""
MAX_CLASSES = 100_000
"""ImageNet-22k has 21,841. Each is a row in tables of both networks."""

FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Pillow tells formats by contents, whatever the name says, and knows some that run other programs, such as EPS."""
_ARCHIVED = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


def open_picture(what: Path | bytes) -> Image.Image:
    """Open one picture: a file, or the bytes of one. Its pixels are decoded on load.

    Raises OSError or ValueError for what is no picture, empty, not a regular file, or larger than MAX_PIXELS.
    """
    if not (regular_size(what) if isinstance(what, Path) else len(what)):
        raise ValueError("the file is empty")
    image = _identify(what)
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise ValueError(
            f"{image.width}x{image.height} are {image.width * image.height / 1e6:.0f} megapixels, more than the "
            f"{MAX_PIXELS / 1e6:.0f} that are decoded; make the picture smaller"
        )
    return image


def regular_size(path: Path) -> int:
    """Bytes of a regular file. Reading from a pipe would hang, from a device never end: both are ValueErrors."""
    facts = path.stat()
    if not stat.S_ISREG(facts.st_mode):
        raise ValueError("not a regular file")
    return facts.st_size


def read_file(path: Path, limit: int) -> bytes:
    """A whole file of at most `limit` bytes."""
    refuse_larger(regular_size(path), limit, path.name)
    return path.read_bytes()


def read_member(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """A whole member of at most `limit` bytes, whatever its compressed data say."""
    info = check_member(archive.getinfo(name))
    refuse_larger(info.file_size, limit, name)
    with archive.open(info) as stream:
        return stream.read(info.file_size)


def check_member(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """Refuse what cannot be unpacked in a bounded amount of memory: Python does bzip2 and LZMA in one piece."""
    if info.flag_bits & 1:
        raise ValueError(f"{info.filename} is encrypted")
    if info.compress_type not in _ARCHIVED:
        raise ValueError(
            f"{info.filename} is compressed by method {info.compress_type}; zip it {' or '.join(_ARCHIVED.values())}"
        )
    return info


def refuse_larger(n_bytes: int, limit: int, name: str) -> None:
    if n_bytes > limit:
        raise ValueError(f"{name} holds {n_bytes / 2**20:,.0f} MiB, more than the {limit / 2**20:,.0f} that are read")


def _identify(what: Path | bytes) -> Image.Image:
    if isinstance(what, Path):
        with what.open("rb") as file:
            start = file.read(64)
    else:
        start = what[:64]
    if _is_heic(start):
        _register_heic()
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is lower and no mere warning
            return Image.open(what if isinstance(what, Path) else io.BytesIO(what), formats=formats)
    except Image.DecompressionBombError:
        raise ValueError(f"more than the {MAX_PIXELS / 1e6:.0f} megapixels that are decoded") from None
    except UnidentifiedImageError:
        raise ValueError("cannot identify the type of the picture") from None  # Pillow's text holds an address


def _is_heic(start: bytes) -> bool:
    return start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS and b"avif" not in start


@functools.cache
def _register_heic() -> None:
    optional.need("pillow_heif", "heic", "a HEIC picture").register_heif_opener()
