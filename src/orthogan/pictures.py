"""Many images as one picture, one film, or many files. Images are uint8 (N, H, W, 3) in reading order."""

import contextlib
import csv
import itertools
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from orthogan import optional
from orthogan.classes import label
from orthogan.errors import UserError
from orthogan.files import ASIDE, SAMPLE, CannotWrite, aside, check_new, writing
from orthogan.settings import require

LAYOUTS = {"images": "", "grid": "grid.png", "npz": "samples.npz"}
"""What samples are written as, and the name of the one file in a folder where it is one."""
KNOWN_SUFFIXES = {Path(name).suffix for name in LAYOUTS.values() if name}

CLASSES_FILE = "classes.csv"
"""Beside numbered PNG files: the class of each."""

FILM_SIDE = 256
"""A film is enlarged to at least so many pixels on its longer side, unless told otherwise."""

MP4 = ("video", "writing MP4", "write a .gif")
"""The extra that MP4 needs, what for, and what to do without it."""

GIF_FPS = 50
"""A GIF counts in hundredths of a second, and browsers slow down delays of one."""


def grid(images: Tensor, columns: int, scale: int = 1) -> Image.Image:
    """One picture of many, colours untouched, the rest of the last row white, every pixel scale x scale large."""
    n, h, w, _ = images.shape
    rows = -(-n // columns)
    canvas = torch.full((rows * columns, h, w, 3), 255, dtype=torch.uint8)
    canvas[:n] = images
    tiled = canvas.view(rows, columns, h, w, 3).permute(0, 2, 1, 3, 4).reshape(rows * h, columns * w, 3)
    picture = Image.fromarray(tiled.numpy())
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def full_columns(n: int) -> int:
    """Columns of the most nearly square grid that n images fill without a rest."""
    rows = next(r for r in range(int(n**0.5), 0, -1) if n % r == 0)
    return n // rows


def labelled(picture: Image.Image, labels: Sequence[str]) -> Image.Image:
    """The picture with a column of labels on its left, one for each of its rows of equal height."""
    if not labels:
        return picture
    height = picture.height // len(labels)
    size = max(10, min(24, height * 3 // 8))
    font, draws = font_of(size)
    texts = [shortened(draws(text), font, 14 * size) for text in labels]
    margin = size // 2
    left = round(max(font.getlength(text) for text in texts)) + 2 * margin
    whole = Image.new("RGB", (left + picture.width, picture.height), "white")
    whole.paste(picture, (left, 0))
    pen = ImageDraw.Draw(whole)
    for row, text in enumerate(texts):
        pen.text((left - margin, row * height + height / 2), text, "black", font, anchor="rm")
    return whole


def headed(picture: Image.Image, headings: Sequence[tuple[int, str]]) -> Image.Image:
    """The picture with a line of texts above it, each beginning so many pixels from the left."""
    size = 14
    font, draws = font_of(size)
    whole = Image.new("RGB", (picture.width, picture.height + 2 * size), "white")
    whole.paste(picture, (0, 2 * size))
    pen = ImageDraw.Draw(whole)
    for left, text in headings:
        pen.text((left, size), draws(text), "black", font, anchor="lm")
    return whole


def font_of(size: int) -> tuple[Any, Callable[[str], str]]:
    """A font, and what it makes of a text: DejaVu Sans, of the system or of matplotlib, draws most alphabets.

    Pillow's own has only ASCII: letters lose their accents, and what is left is a question mark.
    """
    places = [folder / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf" for folder in optional.folders("matplotlib")]
    for place in ("DejaVuSans.ttf", *places):
        with contextlib.suppress(OSError):
            return ImageFont.truetype(str(place), size), str
    return ImageFont.load_default(size), plainly


def plainly(text: str) -> str:
    """The text in ASCII."""
    apart = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    return "".join(c if c.isascii() else "?" for c in apart if not unicodedata.combining(c))


def shortened(text: str, font: Any, width: int) -> str:
    """The text, cut at the end so that it fits into `width` pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def layout_of(out: Path) -> str:
    """The layout that the ending of a path stands for: a .png is a grid, an .npz arrays, anything else a folder."""
    endings = {Path(name).suffix: layout for layout, name in LAYOUTS.items() if name}
    return "images" if out.is_dir() else endings.get(out.suffix, "images")


def place_of(out: Path, layout: str, replace: bool) -> Path:
    """The file or the folder that `save_images` writes.

    A path that ends in .png (layout grid) or .npz (layout npz) is that file itself, anything else a folder. Raises
    `UserError` for other files, for a file that is there and may not be replaced, and for a folder that holds anything
    but earlier samples that may be.
    """
    if layout not in LAYOUTS:
        raise UserError(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
    if not out.is_dir():
        is_picture = out.suffix.lower() in Image.registered_extensions()
        if out.suffix not in KNOWN_SUFFIXES and (is_picture if layout == "images" else out.suffix[1:].isalpha()):
            suffix = " or ".join(sorted(KNOWN_SUFFIXES)) if layout == "images" else Path(LAYOUTS[layout]).suffix
            require(False, "out", str(out), f"must end in {suffix}, or be a folder")
        for other, name in LAYOUTS.items():
            if out.suffix and out.suffix == Path(name).suffix:
                require(layout == other, "out", str(out), f"is no folder for layout {layout}; add --layout {other}")
                check_new(out, replace)
                return out
        require(not out.exists(), "out", str(out), "is a file; name a folder")
        return out / LAYOUTS[layout]
    held = samples_in(out)
    strangers = [path.name for path in held if not is_sample(path)]
    what = f"holds {strangers[0]}" if strangers else "holds other samples"
    way_out = "choose another folder" if strangers else "choose another folder, or add --replace to remove them"
    require(not held or (replace and not strangers), "out", str(out), f"{what}; {way_out}")
    return out / LAYOUTS[layout]


def samples_in(folder: Path) -> list[Path]:
    """All that is in a folder of samples, without what a killed process was writing."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(ASIDE)) if folder.is_dir() else []


def is_sample(path: Path) -> bool:
    """Whether a file is one that `save_images` writes into a folder."""
    written = {*LAYOUTS.values(), CLASSES_FILE}
    return path.is_file() and (path.name in written or bool(SAMPLE.fullmatch(path.name)))


def save_images(
    images: Iterator[Tensor],
    n: int,
    out: Path,
    layout: str,
    labels: Tensor | None = None,
    names: Sequence[str] = (),
    replace: bool = False,
) -> Path:
    """Write a stream of n images as numbered PNG files, as one grid, or as an npz; returns where.

    Numbered files have a table of their classes beside them, `classes.csv`, if `labels` (n,) are given. An npz holds
    the arrays `images` (n, H, W, 3), and then `labels` and `class_names`. Samples that are replaced stay until there
    are new ones. Raises `UserError` as `place_of` does, and `CannotWrite`.
    """
    place = place_of(out, layout, replace)
    earlier = samples_in(out)
    if layout == "images":
        first = list(itertools.islice(images, 1))
        unlink(earlier)
        save_numbered(itertools.chain(first, images), place, labels, names)
        return place
    every = torch.cat(list(images))
    if layout == "grid":
        save_picture(grid(every, max(1, round(n**0.5))), place)
    else:
        save_arrays(every, place, labels, names)
    unlink(path for path in earlier if path != place)
    return place


def unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        with writing(path):
            path.unlink(missing_ok=True)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture, whole or not at all. Raises `CannotWrite`."""
    with aside(path) as partial:
        picture.save(partial)


def save_numbered(images: Iterator[Tensor], folder: Path, labels: Tensor | None, names: Sequence[str]) -> None:
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for i, image in enumerate(image for chunk in images for image in chunk):
            Image.fromarray(image.numpy()).save(folder / f"{i:06d}.png")
        if labels is not None:
            save_classes(folder / CLASSES_FILE, labels, names)


def save_arrays(images: Tensor, path: Path, labels: Tensor | None, names: Sequence[str]) -> None:
    arrays = {"images": images.numpy()}
    if labels is not None:
        arrays |= {"labels": labels.numpy(), "class_names": np.array(list(names), dtype=np.str_)}
    with aside(path) as partial:
        np.savez(partial, **arrays)  # type: ignore[arg-type]


def save_classes(path: Path, labels: Tensor, names: Sequence[str]) -> None:
    # Names of class folders may hold bytes that are no text.
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "class"])
        writer.writerows([f"{i:06d}.png", int(c), label(int(c), names)] for i, c in enumerate(labels))


def check_film(path: Path, fps: int) -> None:
    """Refuse a film that cannot be written, before its images are made."""
    require(fps > 0, "fps", fps, "must be positive")
    if path.suffix == ".gif":
        require(fps <= GIF_FPS, "fps", fps, f"a GIF shows at most {GIF_FPS} images a second; write an .mp4")
    if path.suffix == ".mp4":
        mp4_writer()


def mp4_writer() -> Any:
    optional.need("imageio_ffmpeg", *MP4)
    return optional.need("imageio.v3", *MP4)


def save_film(images: Iterator[Tensor], steps: int, path: Path, fps: int, scale: int | None = None) -> None:
    """A GIF or an MP4 that shows every row of a walk at once, going there and back, for a second at least.

    It is written whole or not at all. Raises `CannotWrite`.
    """
    check_film(path, fps)
    rows = torch.cat(list(images)).unflatten(0, (-1, steps))
    columns = full_columns(len(rows))
    if scale is None:
        scale = max(1, -(-FILM_SIDE // (columns * rows.shape[3])))
    frames = [grid(rows[:, i], columns, scale) for i in to_and_fro(steps, fps)]
    with aside(path) as partial:
        if path.suffix == ".gif":
            frames[0].save(partial, save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0)
        elif not save_mp4(frames, partial, fps):
            raise CannotWrite(f"{path} cannot be written: ffmpeg did not finish it; is the disk full?")


def save_mp4(frames: Sequence[Image.Image], path: Path, fps: int) -> bool:
    """Whether the film is whole: ffmpeg may stop anywhere, and imageio does not ask how it ended."""
    write = mp4_writer().imwrite
    try:
        write(path, [np.asarray(frame) for frame in frames], fps=fps, macro_block_size=2)
        found, _ = optional.need("imageio_ffmpeg", *MP4).count_frames_and_secs(path)
    except (OSError, RuntimeError):
        return False
    return bool(found == len(frames))


def to_and_fro(steps: int, at_least: int) -> list[int]:
    """0 ... steps - 1 ... 1, its two ends held so long that there are `at_least` images."""
    missing = max(0, at_least - 2 * (steps - 1))
    there, back = list(range(steps)), list(range(steps - 2, 0, -1))
    return [*there, *[steps - 1] * (missing // 2), *back, *[0] * (missing - missing // 2)]
