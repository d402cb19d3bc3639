"""What a source holds and which traps it has, found before training instead of after."""

import contextlib
import dataclasses
import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthogan.data.arrays import ArraySource
from orthogan.data.decode import to_rgb
from orthogan.data.files import FolderSource, images_in
from orthogan.data.parallel import Progress, for_each_image
from orthogan.data.source import Source, reason_of
from orthogan.errors import some
from orthogan.files import SAMPLE

FEW_IMAGES = 25
"""A class with fewer is worth a warning."""
UNBALANCED = 20
"""So is a largest class this many times the smallest."""
_NEARLY_SQUARE = 1.05
_SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation", "dev"}


@dataclass(frozen=True)
class DataReport:
    """Everything `orthogan data inspect` knows. Names are those of the source."""

    source: str
    images: int
    classes: dict[str, int]
    """Images in each class; empty without classes."""
    sizes: dict[str, int]
    """Images of each upright size such as 640x480, most frequent first."""
    modes: dict[str, int]
    """Images of each Pillow mode such as RGB or I;16, most frequent first."""
    duplicates: list[list[str]]
    """Groups of images with the same pixels once upright and RGB over white."""
    unreadable: list[tuple[str, str]]
    """(name, reason)."""
    ignored: dict[str, int]
    """Files left aside, by suffix."""
    warnings: list[str]
    refusal: str
    """Why training would refuse the source with its classes; empty where it would not."""

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class _Facts:
    """What one image is: upright size in pixels, Pillow mode, digest of its pixels; or why it cannot be read."""

    width: int = 0
    height: int = 0
    mode: str = ""
    digest: str = ""
    error: str = ""


def inspect_source(
    source: Source,
    resolution: int | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
    refusal: str = "",
) -> DataReport:
    """Decode every image of a source and report. With a training `resolution`, smaller images are warned of.

    `refusal` says why the source could only be opened without its classes.
    """
    facts = for_each_image(source, _look, progress, workers)
    readable = [fact for fact in facts if not fact.error]
    unreadable = [(name, fact.error) for name, fact in zip(source.names, facts, strict=True) if fact.error]
    groups = _duplicates(facts)
    return DataReport(
        source=source.spec,
        images=len(source),
        classes=_class_counts(source),
        sizes=dict(Counter(f"{fact.width}x{fact.height}" for fact in readable).most_common()),
        modes=dict(Counter(fact.mode for fact in readable).most_common()),
        duplicates=[[source.names[i] for i in group] for group in groups],
        unreadable=unreadable,
        ignored=_by_suffix(source),
        warnings=[
            *(
                [f"{len(unreadable)} images cannot be read; training refuses them without --data.skip-bad"]
                if unreadable
                else []
            ),
            *layout_warnings(source),
            *_size_warnings(readable, resolution),
            *_duplicate_warnings(source, groups),
        ],
        refusal=refusal,
    )


def layout_warnings(source: Source) -> list[str]:
    """The traps that names, labels and a few values of arrays show: cheap enough before every training."""
    return [*_level_warnings(source), *_class_warnings(source), *_ignored_warnings(source), *_value_warnings(source)]


def _look(source: Source, index: int) -> _Facts:
    try:
        with source.read(index) as image:
            mode = image.mode
            rgb = to_rgb(image, (255, 255, 255))
    except Exception as error:  # damaged files raise whatever the decoder stumbled over
        return _Facts(error=reason_of(error))
    digest = hashlib.blake2b(f"{rgb.size}".encode() + rgb.tobytes(), digest_size=12).hexdigest()
    return _Facts(rgb.width, rgb.height, mode, digest)


def _class_counts(source: Source) -> dict[str, int]:
    counts = Counter(source.labels or ())
    return {name: counts[i] for i, name in enumerate(source.class_names)}


def _by_suffix(source: Source) -> dict[str, int]:
    suffixes = (os.path.splitext(name)[1].lower() or os.path.basename(name) for name in source.ignored)
    return dict(Counter(suffixes).most_common())


def _duplicates(facts: list[_Facts]) -> list[list[int]]:
    """Groups of indices of two or more images with the same pixels."""
    groups: dict[str, list[int]] = {}
    for i, fact in enumerate(facts):
        if not fact.error:
            groups.setdefault(fact.digest, []).append(i)
    return [group for group in groups.values() if len(group) > 1]


def _level_warnings(source: Source) -> list[str]:
    """A folder given one level too high or too low."""
    found = []
    if len(source.class_names) == 1:
        found.append(
            f"there is a single class, {source.class_names[0]!r}: the folder may be one level too high; "
            f"give {_below(source)} for what is in it, or pass --data.unconditional"
        )
    splits = [name for name in source.class_names if name.lower() in _SPLIT_NAMES]
    if splits and len(source.class_names) > 1:
        found.append(
            f"the classes {', '.join(source.class_names[:5])} look like splits of a data set: the folder may be one "
            f"level too high; give one of them, such as {source.spec.rstrip('/')}/{splits[0]}"
        )
    if isinstance(source, FolderSource) and source.labels is None and _has_siblings_with_images(source.root):
        found.append(
            f"there are no classes, and folders beside {source.spec} hold images too: the folder may be one level "
            "too low; give the folder above it to have a class for each"
        )
    return found


def _below(source: Source) -> str:
    return f"{source.spec.rstrip('/')}/{source.class_names[0]}" if isinstance(source, FolderSource) else "another one"


def _has_siblings_with_images(root: Path) -> bool:
    """Of the first 100 folders. What may not be read counts as without images: it is not what is trained on.

    So do samples, which `orthogan sample` writes into a folder beside the data as the README has it.
    """
    here = root.resolve()
    folders: list[Path] = []
    with contextlib.suppress(OSError), os.scandir(here.parent) as entries:
        folders += (Path(e.path) for e in entries if not e.name.startswith(".") and e.name != here.name and _is_dir(e))
    return any(_shows_images(folder) for folder in folders[:100])


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to where one may not look
        return False


def _shows_images(folder: Path) -> bool:
    try:
        return not all(SAMPLE.fullmatch(name) for name in images_in(folder))
    except OSError:
        return False


def _class_warnings(source: Source) -> list[str]:
    counts = _class_counts(source)
    if len(counts) < 2:
        return []
    found = []
    few = {name: n for name, n in counts.items() if n < FEW_IMAGES}
    if few:
        shown = some([f"{name} ({n})" for name, n in sorted(few.items(), key=lambda item: item[1])], 5)
        found.append(f"{len(few)} of {len(counts)} classes have fewer than {FEW_IMAGES} images: {shown}")
    largest, smallest = max(counts.values()), min(n for n in counts.values() if n)
    if largest >= UNBALANCED * smallest:
        found.append(f"the classes are very unbalanced: {largest} images in the largest, {smallest} in the smallest")
    return found


def _ignored_warnings(source: Source) -> list[str]:
    if not source.ignored:
        return []
    kinds = ", ".join(f"{n} {suffix}" for suffix, n in list(_by_suffix(source).items())[:6])
    return [f"{len(source.ignored)} files were left aside, being of no known image type or of another split: {kinds}"]


def _value_warnings(source: Source) -> list[str]:
    if not isinstance(source, ArraySource) or not source.looks_black():
        return []
    return [f"the images of {source.spec} have no value above 1 where 255 is white, so they are black: multiply by 255"]


def _size_warnings(facts: list[_Facts], resolution: int | None) -> list[str]:
    found = []
    small = sum(min(fact.width, fact.height) < resolution for fact in facts) if resolution else 0
    if small:
        found.append(f"{small} of {len(facts)} images are smaller than {resolution} pixels and will be enlarged")
    ratios = [max(fact.width, fact.height) / min(fact.width, fact.height) for fact in facts]
    oblong = [ratio for ratio in ratios if ratio > _NEARLY_SQUARE]
    if oblong:
        shapes = "of mixed shapes" if max(ratios) > _NEARLY_SQUARE * min(ratios) else "of one shape"
        found.append(
            f"{len(oblong)} of {len(facts)} images are not square ({shapes}, up to {max(oblong):.2f} to 1): "
            "training cuts their ends off; give it --data.crop pad, stretch or top for another choice"
        )
    return found


def _duplicate_warnings(source: Source, groups: list[list[int]]) -> list[str]:
    if not groups:
        return []
    extra = sum(len(group) - 1 for group in groups)
    found = [f"{extra} images repeat another one exactly, in {len(groups)} groups"]
    if source.labels is not None:
        labels = source.labels
        torn = sum(len({labels[i] for i in group}) > 1 for group in groups)
        if torn:
            found.append(f"{torn} of these groups have the same image in different classes")
    return found
