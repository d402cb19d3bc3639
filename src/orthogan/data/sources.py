"""From what the user typed after --data to a source of images."""

import difflib
from pathlib import Path
from typing import Any

from orthogan.data.arrays import ArraySource, DigitsSource
from orthogan.data.files import FolderSource, ZipSource, has_images
from orthogan.data.opening import MAX_CLASSES
from orthogan.data.source import Source, failures_told
from orthogan.data.tables import DatasetFolderSource, ParquetSource
from orthogan.errors import UserError

Kind = Any  # a subclass of Source that is called with what the user typed and whether to forget its classes

NAMED: dict[str, Kind] = {"digits": DigitsSource}
BY_SUFFIX: dict[str, Kind] = {".zip": ZipSource, ".npz": ArraySource, ".npy": ArraySource, ".parquet": ParquetSource}
KINDS = "a folder, .zip, .npz, .npy, .parquet, a Hugging Face datasets folder, or one of: " + ", ".join(NAMED)


def refuse_inside_data(out: Path, source: str) -> None:
    """Refuse a place to write to that is the data or lies in it: what is written there would be trained on."""
    if source in NAMED or not source:
        return
    data, place = Path(source).expanduser().resolve(), out.resolve()
    if data.exists() and data in (place, *place.parents):
        raise UserError(f"out={str(out)!r} is in the data of the run, {source!r}: choose a place beside it by --out")


def open_source(spec: str, unconditional: bool = False) -> Source:
    """Open `digits` or a path, told apart by its suffix or, for a folder, by what lies in it.

    A folder of your own called digits is `./digits`.

    Raises UserError when there is nothing at the path, or nothing to train on in it.
    """
    if not spec:
        raise UserError(f"data.source='': nothing to train on; give --data {KINDS}")
    kind = NAMED.get(spec)
    if kind is None:
        with failures_told(spec, "place"):
            kind = _kind_of_path(spec)
    with failures_told(spec, kind.kind):
        source: Source = kind(spec, unconditional)
    if len(source.class_names) > MAX_CLASSES:
        raise UserError(
            f"data.source={spec!r}: {len(source.class_names)} classes, more than {MAX_CLASSES}; "
            "merge them, or pass --data.unconditional"
        )
    return source


def _kind_of_path(spec: str) -> Kind:
    path = Path(spec).expanduser()
    if path.is_dir():
        return _kind_of_folder(path)
    if path.is_file():
        if path.suffix.lower() not in BY_SUFFIX:
            raise UserError(f"data.source={spec!r}: cannot read {path.suffix or 'such'} files; give {KINDS}")
        return BY_SUFFIX[path.suffix.lower()]
    if path.exists():
        raise UserError(f"data.source={spec!r}: a pipe or a device, not a regular file; give {KINDS}")
    if "/" not in spec and not path.suffix:
        near = difflib.get_close_matches(spec, NAMED, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"data.source={spec!r}: no such file or folder; {hint}give {KINDS}")
    raise UserError(f"data.source={spec!r}: no such file or folder; give {KINDS}")


def _kind_of_folder(path: Path) -> Kind:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return DatasetFolderSource
    if not has_images(path) and next(path.rglob("*.parquet"), None) is not None:
        return ParquetSource
    return FolderSource
