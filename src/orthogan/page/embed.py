"""Pictures inside the page: as data addresses, of a size for a screen, so many that the file stays small."""

import base64
import functools
import gzip
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

WIDEST = 1280
"""Pixels across, beyond which a picture is shrunk."""
BUDGET_BYTES = 6_000_000
"""Of all the sheets of a page; the plotting script takes another two million."""
MOST_SHEETS = 24
QUALITY = 86
"""Of WebP, which every browser shows."""


T = TypeVar("T")


@dataclass(frozen=True)
class Picture:
    """For an `img`: its address, its size, and what it is of, in words."""

    address: str
    width: int
    height: int
    alt: str
    caption: str = ""

    @property
    def small(self) -> bool:
        """Whether to show its pixels enlarged as they are."""
        return self.width <= WIDEST // 2


def picture(image: Image.Image, alt: str, caption: str = "", widest: int = WIDEST) -> Picture:
    """At most `widest` pixels across."""
    image = image.convert("RGB")
    if image.width > widest:
        image = image.resize((widest, max(1, round(image.height * widest / image.width))), Image.Resampling.LANCZOS)
    kept = io.BytesIO()
    image.save(kept, "webp", quality=QUALITY, method=4)
    address = f"data:image/webp;base64,{base64.b64encode(kept.getvalue()).decode()}"
    return Picture(address, image.width, image.height, alt, caption)


def of_file(path: Path, alt: str, caption: str = "", widest: int = WIDEST) -> Picture | None:
    """A picture file; None where it cannot be read."""
    try:
        with Image.open(path) as image:
            return picture(image, alt, caption, widest)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises on torn files
        return None


def thinned(items: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly spread, with the first and the last."""
    if len(items) <= most:
        return list(items)
    if most == 1:
        return [items[-1]]
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def sheets(
    numbered: Sequence[tuple[int, Path]], name: str, complaints: list[str] | None = None
) -> list[tuple[int, Picture]]:
    """The sheets of a run by images, from the first to the last, fewer and smaller where they would take too much room.

    Those that cannot be read are left out, and told among the complaints.
    """
    for most, widest in ((MOST_SHEETS, WIDEST), (MOST_SHEETS, WIDEST // 2), (MOST_SHEETS // 2, WIDEST // 2)):
        chosen = thinned(numbered, most)
        drawn = {images: _sheet(images, path, name, widest) for images, path in chosen}
        found = [(images, one) for images, one in drawn.items() if one]
        if sum(len(one.address) for _, one in found) <= BUDGET_BYTES:
            break
    torn = [path.name for images, path in chosen if drawn[images] is None]
    if torn and complaints is not None:
        complaints.append(f"sheets: {', '.join(torn[:3])}{' ...' * (len(torn) > 3)} cannot be read")
    return found


def _sheet(images: int, path: Path, name: str, widest: int) -> Picture | None:
    return of_file(path, f"samples of {name} after {images:,} images", f"{images:,} images", widest)


@functools.cache
def packed(script: str) -> str:
    """A script as a third of its bytes, which browsers unpack by themselves."""
    return base64.b64encode(gzip.compress(script.encode(), 9, mtime=0)).decode()


def sizes(page: str) -> dict[str, int]:
    """What the bytes of a page are."""
    script = re.search(r'<script type="text/plain" id="plotly">([^<]*)', page)
    found = {
        "pictures": sum(len(one[0]) for one in re.finditer(r"data:image/webp;base64,[\w+/=]+", page)),
        "plotting script": len(script[1]) if script else 0,
    }
    return found | {"the rest": len(page.encode()) - sum(found.values())}


def plain(text: object) -> str:
    """A name for Plotly, which reads some tags in the texts of a figure."""
    return html.escape(str(text), quote=False)
