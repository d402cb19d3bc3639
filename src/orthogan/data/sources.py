"""From what the user typed after --data to a source of images."""

from collections.abc import Callable
from pathlib import Path

from orthogan.data.arrays import ArraySource, DigitsSource
from orthogan.data.files import FolderSource, ZipSource, has_images
from orthogan.data.source import Source
from orthogan.data.tables import DatasetFolderSource, ParquetSource
from orthogan.errors import UserError, unknown

Opener = Callable[[str, bool], Source]

NAMED: dict[str, Opener] = {"digits": DigitsSource}
BY_SUFFIX: dict[str, Opener] = {".zip": ZipSource, ".npz": ArraySource, ".npy": ArraySource, ".parquet": ParquetSource}
KINDS = "a folder, .zip, .npz, .npy, .parquet, a Hugging Face datasets folder, or one of: " + ", ".join(NAMED)


def open_source(spec: str, unconditional: bool = False) -> Source:
    """Open `digits` or a path, told apart by its suffix or, for a folder, by what lies in it.

    A folder of your own called digits is `./digits`.

    Raises UserError when there is nothing at the path, or nothing to train on in it.
    """
    if not spec:
        raise UserError(f"data.source='': nothing to train on; give --data {KINDS}")
    if spec in NAMED:
        return NAMED[spec](spec, unconditional)
    path = Path(spec).expanduser()
    if path.is_dir():
        return _kind_of_folder(path)(spec, unconditional)
    if path.is_file():
        if path.suffix.lower() not in BY_SUFFIX:
            raise UserError(f"data.source={spec!r}: cannot read {path.suffix or 'such'} files; give {KINDS}")
        return BY_SUFFIX[path.suffix.lower()](spec, unconditional)
    if "/" not in spec and not path.suffix:
        raise unknown("data.source (no such folder)", spec, NAMED)
    raise UserError(f"data.source={spec!r}: no such file or folder; give {KINDS}")


def _kind_of_folder(path: Path) -> Opener:
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return DatasetFolderSource
    if not has_images(path) and next(path.rglob("*.parquet"), None) is not None:
        return ParquetSource
    return FolderSource
