"""Images as files: a folder, or a zip of one, with classes from sub-folders or from StyleGAN's dataset.json."""

import json
import os
import posixpath
import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from orthogan.data.opening import MAX_LABEL_FILE_BYTES, MAX_MEMBER_BYTES, open_picture, read_file, read_member
from orthogan.data.source import Source, digest_of, number_classes, sort_classes
from orthogan.errors import UserError

IMAGE_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("avif", "bmp", "gif", "heic", "heif", "hif", "jfif", "jp2", "jpe", "jpeg", "jpg", "pbm"),
        *("pgm", "png", "pnm", "ppm", "tga", "tif", "tiff", "webp"),
    )
)
LABEL_FILE = "dataset.json"


class FolderSource(Source):
    """A folder. Images directly in it have no class; images in sub-folders have that of the first level."""

    kind = "folder"

    def __init__(self, spec: str, unconditional: bool = False) -> None:
        self.spec, self.root = spec, Path(spec).expanduser()
        found = sorted(_walk(self.root))
        label_file = self.root / LABEL_FILE
        layout = arrange(spec, [name for name, _, _ in found], _bytes_of(label_file), unconditional)
        self.names, self.ignored = layout.names, layout.ignored
        self.labels, self.class_names = layout.labels, layout.class_names
        kept = {*self.names, LABEL_FILE}
        self._facts = digest_of(str(self.root.resolve()), [fact for fact in found if fact[0] in kept])

    def read(self, index: int) -> Image.Image:
        return open_picture(self.root / self.names[index])

    def fingerprint(self) -> str:
        return self._facts


class ZipSource(Source):
    """A zip of such a folder. Folders that hold everything else in the zip are passed over."""

    kind = "zip"

    def __init__(self, spec: str, unconditional: bool = False) -> None:
        self.spec, self.path = spec, Path(spec).expanduser()
        self._zip: zipfile.ZipFile | None = None
        # Some programs of Windows write the names with backslashes.
        members = {m.filename.replace("\\", "/"): m for m in self._open().NameToInfo.values()}
        members = {name: m for name, m in members.items() if not name.endswith("/") and not _is_hidden(name)}
        prefix = _common_folder(list(members))
        self._members = {name.removeprefix(prefix): m.filename for name, m in members.items()}
        facts = sorted((name.removeprefix(prefix), m.CRC, m.file_size) for name, m in members.items())
        files = [name for name, _, _ in facts]
        label_bytes = self._bytes_of(LABEL_FILE, MAX_LABEL_FILE_BYTES) if LABEL_FILE in files else None
        layout = arrange(spec, files, label_bytes, unconditional)
        self.names, self.ignored = layout.names, layout.ignored
        self.labels, self.class_names = layout.labels, layout.class_names
        self._facts = digest_of(facts)

    def read(self, index: int) -> Image.Image:
        return open_picture(self._bytes_of(self.names[index], MAX_MEMBER_BYTES))

    def fingerprint(self) -> str:
        return self._facts

    def _bytes_of(self, name: str, limit: int) -> bytes:
        return read_member(self._open(), self._members[name], limit)

    def _open(self) -> zipfile.ZipFile:
        if self._zip is None:
            self._zip = zipfile.ZipFile(self.path)
        return self._zip

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_zip": None}  # an open file does not travel to another process


@dataclass(frozen=True)
class Layout:
    """Which of the files are images, and what their classes are."""

    names: list[str]
    labels: list[int] | None
    class_names: list[str]
    ignored: list[str]


def arrange(spec: str, files: list[str], label_bytes: bytes | None, unconditional: bool) -> Layout:
    """Read classes off the relative paths of a folder, or off the contents of its dataset.json."""
    names = [name for name in files if _is_image(name)]
    kept = {*names, LABEL_FILE}
    ignored = [name for name in files if name not in kept]
    if not names:
        raise UserError(
            f"data.source={spec!r}: no images among {len(files)} files; "
            f"known types: {', '.join(suffix[1:] for suffix in sorted(IMAGE_SUFFIXES))}"
        )
    if unconditional:
        return Layout(names, None, [], ignored)
    if label_bytes is not None:
        return Layout(names, *_labels_from_json(spec, names, label_bytes), ignored)
    return Layout(names, *_labels_from_folders(spec, names), ignored)


def has_images(root: Path) -> bool:
    """Whether a file anywhere below the folder is named like an image."""
    return any(_is_image(name) for name, _, _ in _walk(root))


def images_in(folder: Path) -> list[str]:
    """Names of images in the folder itself, without hidden ones. Raises `OSError`."""
    return [name for name in os.listdir(folder) if _is_image(name) and not _is_hidden(name)]


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _labels_from_folders(spec: str, names: list[str]) -> tuple[list[int] | None, list[str]]:
    loose = [name for name in names if "/" not in name]
    if len(loose) == len(names):
        return None, []
    if loose:
        raise UserError(
            f"data.source={spec!r}: {len(loose)} images lie beside the class folders (the first is {loose[0]!r}); "
            "move them into a class folder, or pass --data.unconditional to train on all images without classes"
        )
    folders = [name.split("/", 1)[0] for name in names]
    class_names = sort_classes(folders)
    index = {name: i for i, name in enumerate(class_names)}
    return [index[folder] for folder in folders], class_names


def _labels_from_json(spec: str, names: list[str], label_bytes: bytes) -> tuple[list[int] | None, list[str]]:
    where = f"data.source={spec!r}: {LABEL_FILE}"
    try:
        pairs = json.loads(label_bytes)["labels"]
        by_name = None if pairs is None else {name.replace("\\", "/"): label for name, label in pairs}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UserError(f'{where} is not of the form {{"labels": [["00000/img.png", 3], ...]}} or null') from None
    if by_name is None:
        return None, []
    missing = [name for name in names if name not in by_name]
    if missing:
        raise UserError(
            f"{where} has no label for {len(missing)} images (the first is {missing[0]!r}); "
            "add them, or pass --data.unconditional"
        )
    return number_classes([by_name[name] for name in names], where)


def _walk(root: Path) -> Iterator[tuple[str, int, int]]:
    """Every visible file as (relative path, size, time of modification).

    Links are followed, but each real folder is entered once, under its own name before that of a link, and none that
    holds `root`.
    """
    here = os.path.realpath(root)
    entered: set[str] = set()
    folders, links = deque([(str(root), "")]), deque[tuple[str, str]]()
    while folders or links:
        place, below = folders.popleft() if folders else links.popleft()
        real = os.path.realpath(place)
        if real in entered or (entered and here.startswith(os.path.join(real, ""))):
            continue
        entered.add(real)
        with os.scandir(place) as entries:
            visible = sorted((entry for entry in entries if not _is_hidden(entry.name)), key=lambda entry: entry.name)
        for entry in visible:
            if entry.is_dir():
                (links if entry.is_symlink() else folders).append((entry.path, f"{below}{entry.name}/"))
            else:
                yield (below + entry.name, *_size_and_time(entry))


def _size_and_time(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        facts = entry.stat()
    except OSError:  # a dangling link: kept, so that it is listed among the unreadable
        return -1, -1
    return facts.st_size, facts.st_mtime_ns


def _is_hidden(name: str) -> bool:
    """Hidden files, and the copies of them that macOS puts into archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _common_folder(files: list[str]) -> str:
    """The folder, with its slash, that holds every file, or nothing. A zip is often made of one folder."""
    shared = posixpath.commonpath([posixpath.dirname(name) for name in files]) if files else ""
    return f"{shared}/" if shared else ""


def _bytes_of(path: Path) -> bytes | None:
    return read_file(path, MAX_LABEL_FILE_BYTES) if path.exists() else None
