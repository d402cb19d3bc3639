"""A checkpoint is one safetensors file whose header holds the whole configuration; loading it runs no code.

Files are written aside, flushed and renamed, so a reader sees a whole file or none. The header carries a checksum of
the tensors, so that a file torn by a power cut, or of another program, is recognised and skipped.
"""

import json
import os
import re
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from orthogan.config import RunConfig, from_dict, to_dict
from orthogan.errors import UserError
from orthogan.files import flush
from orthogan.networks import FAMILIES, family_of

FORMAT = "orthogan-checkpoint-1"


class BadCheckpoint(UserError):
    """A file that is torn, or not an orthogan checkpoint."""


@dataclass(frozen=True)
class Header:
    """What a checkpoint says of itself without reading a tensor."""

    config: RunConfig[Any]
    images: int
    steps: int
    extra: dict[str, Any]
    """Class names, fingerprint of the data, sums of the running log window, best score."""
    checksum: str = ""
    """CRC-32 of the tensors; filled in by reading."""


def config_to_json(config: RunConfig[Any]) -> dict[str, Any]:
    return {"family": family_of(config.network), "run": to_dict(config)}


def config_from_json(values: dict[str, Any]) -> RunConfig[Any]:
    """Rebuild a run's configuration; the family decides the class of its network part."""
    run = dict(values["run"])
    run["network"] = from_dict(FAMILIES[values["family"]].config, run["network"], "network.")
    config: RunConfig[Any] = from_dict(RunConfig, run)
    return config


def save(path: Path, tensors: dict[str, Tensor], header: Header) -> None:
    """Write a checkpoint so that no reader ever sees half of it, on disk before this returns."""
    tensors = {name: t.detach().contiguous().cpu() for name, t in tensors.items()}
    meta = {
        "format": FORMAT,
        "config": config_to_json(header.config),
        "images": header.images,
        "steps": header.steps,
        "extra": header.extra,
        "crc32": _checksum(tensors),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={"orthogan": json.dumps(meta)})
    # The library writes for the owner alone; others may read it as they may read any file of the run.
    os.chmod(partial, 0o666 & ~_umask())
    flush(partial)
    os.replace(partial, path)
    flush(path.parent)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _checksum(tensors: dict[str, Tensor]) -> str:
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].flatten().view(torch.uint8).numpy().data, crc)
    return f"{crc:08x}"


def read_header(path: Path) -> Header:
    """The header alone. Raises `BadCheckpoint` if the file's length or kind is wrong."""
    return _parse(path, _metadata(path))


def _metadata(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, "pt") as file:
            raw = (file.metadata() or {}).get("orthogan")
        meta = json.loads(raw) if raw else {}
    except (SafetensorError, OSError, ValueError) as error:
        raise BadCheckpoint(f"{path} is torn or is not a safetensors file ({error})") from error
    if meta.get("format") != FORMAT:
        raise BadCheckpoint(f"{path} is a safetensors file, but not a checkpoint of orthogan")
    assert isinstance(meta, dict)
    return meta


def _parse(path: Path, meta: dict[str, Any]) -> Header:
    return Header(config_from_json(meta["config"]), meta["images"], meta["steps"], meta["extra"], meta["crc32"])


def load(path: Path, prefix: str = "") -> tuple[Header, dict[str, Tensor]]:
    """The header, and the tensors whose names begin with `prefix`, which is cut off. All of them are verified."""
    meta = _metadata(path)
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if _checksum(tensors) != meta["crc32"]:
        raise BadCheckpoint(f"{path} is damaged: its tensors do not match its checksum")
    return _parse(path, meta), {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def file_name(images: int) -> str:
    return f"images-{images:012d}.safetensors"


def numbered(folder: Path) -> list[Path]:
    """The checkpoints of a run's folder, newest first, whole or not."""
    return sorted(folder.glob("images-*.safetensors"), reverse=True, key=images_of)


def images_of(path: Path) -> int:
    match = re.fullmatch(r"images-(\d+)", path.stem)
    return int(match[1]) if match else -1


def newest(folder: Path) -> tuple[Path, list[str]]:
    """The newest whole checkpoint, and a complaint for each newer one that had to be skipped."""
    complaints: list[str] = []
    for path in numbered(folder):
        try:
            load(path)
            return path, complaints
        except BadCheckpoint as error:
            complaints.append(str(error))
    told = "; ".join(complaints)
    raise UserError(f"no whole checkpoint in {folder}" + (f": {told}" if told else ""))


def prune(folder: Path, keep: int) -> None:
    """Remove all but the newest checkpoints, and what a killed write left behind. `best.safetensors` stays."""
    for path in [*numbered(folder)[keep:], *folder.glob("*.partial")]:
        path.unlink()
        for statistics in (folder / "standing").glob(f"{path.stem}-*"):
            statistics.unlink()


def keep_as_best(path: Path) -> None:
    """Give a checkpoint its second name, under which `prune` leaves it."""
    aside = path.with_name("best.partial")
    aside.unlink(missing_ok=True)
    try:
        os.link(path, aside)
    except OSError:  # exFAT and some network mounts have no second names
        shutil.copyfile(path, aside)
    os.replace(aside, path.with_name("best.safetensors"))
