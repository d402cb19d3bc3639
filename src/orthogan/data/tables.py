"""Images as rows of tables: what `datasets.Dataset.save_to_disk` writes, and parquet files. Needs the extra `hf`."""

import bisect
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

from orthogan import optional
from orthogan.data.opening import MAX_IMAGES, MAX_LABEL_FILE_BYTES, open_picture, read_file, refuse_larger, regular_size
from orthogan.data.source import Source, failures_told, is_sparse, number_classes, stat_digest
from orthogan.errors import UserError

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target", "y")
MAX_GROUP_BYTES = 2**32
"""Of the images of one row group of a parquet file, which are read together."""
SPLITS = ("train", "training", "test", "validation", "valid", "val", "dev")


class DatasetFolderSource(Source):
    """A folder that Hugging Face `datasets` saved. Of several splits, `train` is taken."""

    kind = "Hugging Face folder"

    def __init__(self, spec: str, unconditional: bool = False) -> None:
        self.spec, self.root = spec, Path(spec).expanduser()
        self._rows: Any = None
        features = self._open().features
        kinds = {name: type(feature).__name__ for name, feature in features.items()}
        columns = choose_columns(
            spec,
            images=[name for name, kind in kinds.items() if kind == "Image"],
            classes={name: features[name].names for name, kind in kinds.items() if kind == "ClassLabel"},
            others=[name for name, kind in kinds.items() if kind == "Value"],
        )
        self.column = columns.image
        _check_count(spec, len(self._open()))
        self.names = [f"row-{i:06d}" for i in range(len(self._open()))]
        raw = None if columns.label is None else self._open().select_columns([columns.label])[:][columns.label]
        _set_labels(self, raw, columns.class_names, unconditional)

    def read(self, index: int) -> Image.Image:
        return _open_cell(self._open()[index][self.column], self.root)

    def fingerprint(self) -> str:
        return stat_digest(sorted(path for path in self.root.rglob("*") if path.is_file()))

    def _open(self) -> Any:
        if self._rows is None:
            datasets = optional.need("datasets", "hf", f"data.source={self.spec!r}")
            for state in sorted(self.root.rglob("state.json")):
                _check_state(state)
            loaded = datasets.load_from_disk(str(self.root))
            if isinstance(loaded, datasets.DatasetDict):
                loaded = loaded[_pick_split(self.spec, list(loaded))]
            for name, feature in loaded.features.items():
                if isinstance(feature, datasets.Image):
                    loaded = loaded.cast_column(name, datasets.Image(decode=False))
            # Offsets that point outside of their buffers would be followed.
            loaded.data.validate(full=True)
            self._rows = loaded
        return self._rows

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": None}


class ParquetSource(Source):
    """One parquet file, or every one below a folder. Of several splits, told by the file names, `train` is taken."""

    kind = "parquet"

    def __init__(self, spec: str, unconditional: bool = False) -> None:
        self.spec, self.root = spec, Path(spec).expanduser()
        found = sorted(p for p in self.root.rglob("*.parquet") if p.is_file()) if self.root.is_dir() else [self.root]
        self.files = _of_one_split(spec, self.root, found)
        self.ignored = [str(path.relative_to(self.root)) for path in found if path not in self.files]
        self._readers: list[Any] | None = None
        self._group: tuple[tuple[int, int], Any] | None = None
        columns = _columns_of(spec, self._open()[0].schema_arrow)
        self.column = columns.image
        counts = [reader.metadata.num_rows for reader in self._open()]
        _check_count(spec, sum(counts))
        self._starts = list(itertools.accumulate(counts, initial=0))
        self.names = [f"{path.name}[{i}]" for path, n in zip(self.files, counts, strict=True) for i in range(n)]
        _set_labels(self, self._column(columns.label), columns.class_names, unconditional)

    def read(self, index: int) -> Image.Image:
        file = bisect.bisect_right(self._starts, index) - 1
        row, metadata = index - self._starts[file], self._open()[file].metadata
        for group in range(metadata.num_row_groups):
            rows = metadata.row_group(group).num_rows
            if row < rows:
                return _open_cell(self._images_of(file, group)[row].as_py(), self.files[file].parent)
            row -= rows
        raise IndexError(index)

    def fingerprint(self) -> str:
        return stat_digest(self.files)

    def _column(self, name: str | None) -> list[Any] | None:
        if name is None:
            return None
        values = []
        for path, reader in zip(self.files, self._open(), strict=True):
            with failures_told(self.spec, f"parquet file {path}"):
                values += reader.read(columns=[name]).column(name).to_pylist()
        return values

    def _images_of(self, file: int, group: int) -> Any:
        """The image column of one row group; the last one is kept, since images are read in order."""
        if self._group is None or self._group[0] != (file, group):
            reader = self._open()[file]
            facts = reader.metadata.row_group(group)
            # Not `total_byte_size`: it counts other columns too.
            columns = [facts.column(i) for i in range(facts.num_columns)]
            size = sum(c.total_uncompressed_size for c in columns if c.path_in_schema.split(".")[0] == self.column)
            refuse_larger(size, MAX_GROUP_BYTES, f"row group {group}")
            column = reader.read_row_group(group, columns=[self.column]).column(self.column)
            self._group = ((file, group), column)
        return self._group[1]

    def _open(self) -> list[Any]:
        if self._readers is None:
            parquet = optional.need("pyarrow.parquet", "hf", f"data.source={self.spec!r}")
            readers = []
            for path in self.files:
                with failures_told(self.spec, f"parquet file {path}"):
                    regular_size(path)
                    readers.append(parquet.ParquetFile(path))
            self._readers = readers
        return self._readers

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_readers": None, "_group": None}


@dataclass(frozen=True)
class Columns:
    """Where the images and the labels of a table are."""

    image: str
    label: str | None
    class_names: list[str] | None
    """Names of the classes, where the table knows them."""


def choose_columns(spec: str, images: list[str], classes: Mapping[str, list[str]], others: list[str]) -> Columns:
    """The image column, and as label: a class column, `label` before others, else a column with a label's name."""
    image = next((name for name in IMAGE_COLUMNS if name in images), None)
    if image is None:
        if len(images) != 1:
            raise UserError(
                f"data.source={spec!r}: {len(images)} image columns ({', '.join(images) or 'none'}); "
                "name the one to train on 'image'"
            )
        image = images[0]
    label = next((n for n in LABEL_COLUMNS if n in classes), None) or next(iter(classes), None)
    if label is not None:
        return Columns(image, label, list(classes[label]))
    return Columns(image, next((name for name in LABEL_COLUMNS if name in others), None), None)


def _columns_of(spec: str, schema: Any) -> Columns:
    """Read the columns off the note that `datasets` leaves in a parquet file, or off the types alone."""
    note = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = note.get("info", {}).get("features", {})
    kinds = {name: feature.get("_type") for name, feature in features.items() if isinstance(feature, dict)}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    classes = {name: features[name]["names"] for name, kind in kinds.items() if kind == "ClassLabel"}
    if not images:
        images = [field.name for field in schema if _may_hold_images(field)]
    return choose_columns(spec, images, classes, [name for name in schema.names if name not in images])


def _may_hold_images(field: Any) -> bool:
    return str(field.type) in ("binary", "large_binary") or str(field.type).startswith("struct<bytes: ")


def _set_labels(source: Source, raw: Sequence[Any] | None, class_names: list[str] | None, unconditional: bool) -> None:
    if not source.names:
        raise UserError(f"data.source={source.spec!r}: the table has no rows")
    source.forget_labels()
    if raw is None or unconditional:
        return
    where = f"data.source={source.spec!r}"
    if any(value is None for value in raw):
        raise UserError(f"{where}: some rows have no label; pass --data.unconditional to train without classes")
    source.labels, source.class_names = number_classes(raw, where)
    if class_names is not None:
        if is_sparse(len(class_names), len(set(source.labels))):
            raise UserError(
                f"{where}: {len(class_names)} class names but only {len(set(source.labels))} classes occur; "
                "leave the names of the others out, or pass --data.unconditional"
            )
        if len(source.class_names) > len(class_names):
            raise UserError(f"{where}: label {len(source.class_names) - 1} but only {len(class_names)} class names")
        source.class_names = [str(name) for name in class_names]


def _open_cell(cell: Any, folder: Path) -> Image.Image:
    """A cell holds an image file's bytes, alone or in {'bytes', 'path'}, or only its path, below the data's folder."""
    if isinstance(cell, Mapping):
        if cell.get("bytes") is None and cell.get("path"):
            return open_picture(_inside(folder, str(cell["path"])))
        cell = cell.get("bytes")
    if not isinstance(cell, bytes):
        raise ValueError("the row holds no image")
    return open_picture(cell)


def _inside(folder: Path, name: str) -> Path:
    """A path that a table names. It must not lead out of the table's folder, also not by a link."""
    path = PurePath(name)
    inside = not path.is_absolute() and ".." not in path.parts
    if not inside or not (folder / path).resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"the row names {name!r}, which is not inside {folder}")
    return folder / path


def _check_state(state: Path) -> None:
    """The files that `datasets` would open must lie beside state.json, and be files."""
    for entry in json.loads(read_file(state, MAX_LABEL_FILE_BYTES))["_data_files"]:
        regular_size(_inside(state.parent, entry["filename"]))


def _check_count(spec: str, n: int) -> None:
    if n > MAX_IMAGES:
        raise UserError(f"data.source={spec!r}: {n} rows, more than the {MAX_IMAGES} images that are read")


def _pick_split(spec: str, splits: list[str]) -> str:
    if "train" in splits:
        return "train"
    if len(splits) == 1:
        return splits[0]
    names = ", ".join(split or "(no name)" for split in splits)
    raise UserError(f"data.source={spec!r}: holds the splits {names} and no train; give the folder or file of one")


def _of_one_split(spec: str, root: Path, files: list[Path]) -> list[Path]:
    by_split: dict[str, list[Path]] = {}
    for path in files:
        by_split.setdefault(_split_of(path, root), []).append(path)
    return by_split[_pick_split(spec, list(by_split))]


def _split_of(path: Path, root: Path) -> str:
    """`train` for data/train-00000-of-00002.parquet and for train/0000.parquet; empty when nothing tells."""
    parts = path.relative_to(root).parts if path != root else (path.name,)
    words = [word for part in parts for word in re.split(r"[-_.]", part.lower())]
    return next((word for word in words if word in SPLITS), "").replace("training", "train")
