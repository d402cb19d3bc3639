"""A checkpoint is one safetensors file whose header holds the whole configuration; loading it runs no code.

Files are written aside, flushed and renamed, so a reader sees a whole file or none. Header and tensors carry
checksums, so that a file torn by a power cut, or of another program, is recognised and skipped.
"""

import os
import re
import shutil
import zlib
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from orthogan import tensorfile
from orthogan.config import RunConfig
from orthogan.errors import UserError
from orthogan.files import aside
from orthogan.formats import from_json, to_json, upgrade

FORMAT = "orthogan-checkpoint-3"
FORMAT_2 = "orthogan-checkpoint-2"
"""One configuration was of both networks; so it is in format 1."""
FORMAT_1 = "orthogan-checkpoint-1"
"""Its checksum stands among the facts, and covers the contents of the tensors alone."""

BEST = "best.safetensors"


class BadCheckpoint(UserError):
    """A file that is torn, or not an orthogan checkpoint."""


class Gone(BadCheckpoint):
    """There is no such file, or not any more."""


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself without reading a tensor."""

    config: RunConfig
    images: int
    steps: int
    extra: dict[str, Any]
    """Preset, class names, fingerprint of the data, sums of the running log window, best score and whose it is."""
    checksum: str = ""
    """CRC-32 of the tensors; filled in by reading."""


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that was read whole."""

    path: Path
    header: Header
    tensors: dict[str, Tensor]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of one part, such as `ema`, without its name."""
        return {k.removeprefix(f"{name}."): v for k, v in self.tensors.items() if k.startswith(f"{name}.")}

    def require_fit(self, name: str, module: nn.Module) -> dict[str, Tensor]:
        """The tensors of a part, which are exactly those of a network. Raises `BadCheckpoint` otherwise."""
        found, wanted = self.part(name), module.state_dict()
        if not found and "imported" in self.header.extra:
            raise BadCheckpoint(f"{self.path} was imported from a file that has no {name}")
        if found.keys() != wanted.keys():
            odd = sorted(found.keys() ^ wanted.keys())
            raise BadCheckpoint(f"{self.path} does not fit its configuration: {name}.{odd[0]} is missing or unknown")
        for key, tensor in found.items():
            if (tensor.shape, tensor.dtype) != (wanted[key].shape, wanted[key].dtype):
                raise BadCheckpoint(
                    f"{self.path} does not fit its configuration: {name}.{key} is {tuple(tensor.shape)} "
                    f"{tensor.dtype}, not {tuple(wanted[key].shape)} {wanted[key].dtype}"
                )
        return found


def config_to_json(config: RunConfig) -> dict[str, Any]:
    return {"run": to_json(config)}


def config_from_json(values: dict[str, Any]) -> RunConfig:
    """Rebuild a run's configuration, also from a file of format 1 or 2, which names one family for both networks."""
    return from_json(upgrade(values["family"], values["run"]) if "family" in values else values["run"])


def save(path: Path, tensors: dict[str, Tensor], header: Header) -> None:
    """Write a checkpoint so that no reader ever sees half of it, on disk before this returns. Raises `CannotWrite`."""
    facts = {
        "format": FORMAT,
        "config": config_to_json(header.config),
        "images": header.images,
        "steps": header.steps,
        "extra": header.extra,
    }
    tensorfile.write(path, tensors, facts)


def read_header(path: Path) -> Header:
    """The header alone. Raises `BadCheckpoint` if the file's length or kind is wrong."""
    return _parsed(path, lambda: _parse(path, tensorfile.read(path, unsigned=True, with_tensors=False)))


def load(path: Path) -> Loaded:
    """The header and all tensors, verified. Raises `BadCheckpoint`."""

    def read() -> Loaded:
        file = tensorfile.read(path, unsigned=True)
        header = _parse(path, file)
        if file.facts["format"] == FORMAT_1 and _checksum_1(file.tensors) != header.checksum:
            raise BadCheckpoint(f"{path} is damaged: its tensors do not match its checksum")
        return Loaded(path, header, file.tensors)

    return _parsed(path, read)


Result = TypeVar("Result")


def _parsed(path: Path, read: Callable[[], Result]) -> Result:
    """Whatever is wrong with what the file says of itself is a `BadCheckpoint` that names it."""
    try:
        return read()
    except BadCheckpoint:
        raise
    except tensorfile.Damaged as error:
        raise BadCheckpoint(str(error)) from error
    except FileNotFoundError as error:
        raise Gone(f"{path} does not exist") from error
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        what = f"{type(error).__name__} {error}" if not isinstance(error, UserError) else str(error)
        raise BadCheckpoint(f"{path} is damaged, or of another version: its header cannot be read ({what})") from error


def _parse(path: Path, file: tensorfile.TensorFile) -> Header:
    facts, checksum = file.facts, file.checksum
    if facts.get("format") == FORMAT_1:
        checksum = str(facts["crc32"])
    elif facts.get("format") not in (FORMAT, FORMAT_2) or not checksum:
        raise BadCheckpoint(f"{path} is a safetensors file, but not a checkpoint of orthogan")
    images, steps, extra = facts["images"], facts["steps"], facts["extra"]
    if not (isinstance(images, int) and isinstance(steps, int) and isinstance(extra, dict)):
        raise TypeError("images, steps or extra is of the wrong type")
    names = extra.get("class_names", [])
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise TypeError("class_names is no list of names")
    return Header(config_from_json(facts["config"]), images, steps, extra, checksum)


def _checksum_1(tensors: dict[str, Tensor]) -> str:
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(tensorfile.contents(tensors[name]), crc)
    return f"{crc:08x}"


def file_name(images: int) -> str:
    return f"images-{images:012d}.safetensors"


def numbered(folder: Path) -> list[Path]:
    """The checkpoints of a run's folder, newest first, whole or not; files of other names are somebody's own."""
    found = [path for path in folder.glob("images-*.safetensors") if images_of(path) >= 0 and path.is_file()]
    return sorted(found, reverse=True, key=images_of)


def images_of(path: Path) -> int:
    """By its name; -1 where that is no name of a checkpoint."""
    match = re.fullmatch(r"images-(\d+)", path.stem)
    return int(match[1]) if match else -1


LISTINGS = 20
"""How often a folder is listed again, whose checkpoints are pruned between listing and opening."""


def newest(folder: Path, at: int | None = None) -> tuple[Loaded, list[str]]:
    """The newest whole checkpoint, and a complaint for each newer one that had to be skipped.

    With `at` those beyond so many images do not count, and the best one does.
    """
    for _ in range(LISTINGS):
        complaints: list[str] = []
        try:
            for path in numbered(folder) if at is None else _up_to(folder, at):
                try:
                    return load(path), complaints
                except Gone:
                    raise
                except BadCheckpoint as error:
                    complaints.append(str(error))
        except Gone:  # a training run has pruned it
            continue
        told = "; ".join(complaints)
        raise UserError(f"no whole checkpoint in {folder}" + (f": {told}" if told else ""))
    raise UserError(f"the checkpoints in {folder} change faster than they can be read; give one of its files")


def _up_to(folder: Path, at: int) -> list[Path]:
    """The checkpoints at or below so many images, the best one among them. Raises `UserError` if there are none."""
    there = {images_of(path): path for path in numbered(folder)}
    with suppress(BadCheckpoint):
        there.setdefault(read_header(folder / BEST).images, folder / BEST)
    found = [there[images] for images in sorted(there, reverse=True) if images <= at]
    if not found:
        told = ", ".join(map(str, sorted(there)))
        raise UserError(f"no checkpoint in {folder} at or below {at} images; there are {told or 'none at all'}")
    return found


def prune(folder: Path, keep: int, also: Collection[int] = ()) -> None:
    """Remove all but the newest checkpoints, and the standing statistics of those that are gone.

    The best stays, and so do those at the images in `also`.
    """
    for path in numbered(folder)[keep:]:
        if images_of(path) not in also:
            path.unlink(missing_ok=True)
    there = {path.stem for path in folder.glob("*.safetensors")}
    for statistics in (folder / "standing").glob("*.safetensors"):
        # Whoever sampled a checkpoint may have written them after it was pruned.
        if statistics.stem.rpartition("-")[0] not in there:
            statistics.unlink(missing_ok=True)


def keep_as_best(path: Path) -> None:
    """Give a checkpoint its second name, under which `prune` leaves it. Raises `CannotWrite`."""
    with aside(path.with_name(BEST)) as second:
        try:
            os.link(path, second)
        except OSError:  # exFAT and some network mounts have no second names
            shutil.copyfile(path, second)
    for statistics in (path.parent / "standing").glob("best-*.safetensors"):
        statistics.unlink(missing_ok=True)


def repair_best(folder: Path, best_images: int | None) -> None:
    """Make up for a kill between the writing of the best checkpoint and its second name."""
    if best_images is None or not (folder / file_name(best_images)).exists():
        return
    try:
        kept = read_header(folder / BEST).images
    except BadCheckpoint:
        kept = None
    if kept != best_images:
        keep_as_best(folder / file_name(best_images))
