"""What a run writes down: its configuration, a JSON line of losses at a time, curves for TensorBoard.

`log.jsonl`, `scores.jsonl` and `spectra.jsonl` hold what the configuration determines, so a resumed run writes the
lines that the uninterrupted one would have written. Speed and the time of day go to TensorBoard alone.
"""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from orthogan import runtime
from orthogan.config import RunConfig
from orthogan.errors import UserError, one_line
from orthogan.files import write_whole, writing
from orthogan.stability.history import ALARMS, SPECTRA, WATCH
from orthogan.training import checkpoint
from orthogan.training.checkpoint import config_from_json, config_to_json


def write_config(folder: Path, config: RunConfig, preset: str, parent: dict[str, Any] | None = None) -> None:
    """`config.json`: the resolved configuration, with the versions and the commit that ran it; a branch's parent."""
    stamp = {"preset": preset, "versions": runtime.versions(), "git_commit": runtime.git_commit()}
    if parent is not None:
        stamp["parent"] = parent
    write_whole(folder / "config.json", json.dumps({**config_to_json(config), **stamp}, indent=2) + "\n")


class Begun(NamedTuple):
    """How a run began."""

    config: RunConfig
    preset: str
    parent: dict[str, Any] | None
    """Where a branch began, as `Trainer.parent` says it; None for a run that is none."""


def read_begun(folder: Path) -> Begun:
    """From `config.json`, or, where that is damaged, from the newest whole checkpoint.

    Raises `UserError` that names the file where neither can be read.
    """
    path = folder / "config.json"
    try:
        return _parse(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if checkpoint.numbered(folder / "checkpoints"):
            header = checkpoint.newest(folder / "checkpoints")[0].header
            parent = header.extra.get("parent")
            return Begun(header.config, str(header.extra.get("preset", "")), parent if _is_parent(parent) else None)
        why = one_line(error)
        raise UserError(
            f"{path} cannot be read ({why}), and there is no checkpoint to take the configuration from; "
            "begin the run anew with `orthogan train` in another folder"
        ) from error


def read_config(folder: Path) -> RunConfig:
    """The configuration of a run, where nothing else of `read_begun` is asked for."""
    return read_begun(folder).config


def is_whole(folder: Path) -> bool:
    """Whether `config.json` itself can be read."""
    try:
        _parse(folder / "config.json")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return True


def _parse(path: Path) -> Begun:
    values = json.loads(path.read_text(encoding="utf-8"))
    if not _is_parent(values.get("parent")):
        raise TypeError("its parent is of the wrong type")
    return Begun(config_from_json(values), str(values["preset"]), values.get("parent"))


def _is_parent(found: object) -> bool:
    return found is None or (isinstance(found, dict) and isinstance(found.get("images", 0), int))


class RunLog:
    """Appends lines and curves; begins by dropping what lies beyond the images that a resumed run starts from.

    Every method raises `CannotWrite` where the disk refuses.
    """

    def __init__(self, folder: Path, images: int, attempt: int = 0):
        self.folder, self.attempt = folder, attempt
        for name in ("log.jsonl", "scores.jsonl", SPECTRA, WATCH, ALARMS):
            _cut(folder / name, images, attempt)
        self._curves_folder = folder / "curves"
        with writing(self._curves_folder):
            # TensorBoard then drops what a killed run showed beyond the checkpoint, so that no step comes twice.
            self._curves = SummaryWriter(str(self._curves_folder), purge_step=images + 1)
        self._timed = images, time.monotonic()

    def line(self, values: dict[str, Any], name: str = "log.jsonl") -> None:
        """After a rollback with its attempt: the lines of those that were given up stay."""
        if self.attempt:
            values = {"attempt": self.attempt, **values}
        path = self.folder / name
        with writing(path), path.open("a") as file:
            file.write(json.dumps(values) + "\n")

    def curves(self, values: dict[str, float], images: int) -> None:
        with writing(self._curves_folder):
            for tag, value in values.items():
                self._curves.add_scalar(tag, value, images)
            self._curves.flush()

    def speed(self, images: int) -> float:
        """Images a second since the last call, or since the run was taken up; sheets, scores and saving included."""
        (before, then), self._timed = self._timed, (images, time.monotonic())
        return (images - before) / max(self._timed[1] - then, 1e-9)

    def picture(self, picture: Image.Image, images: int) -> None:
        """A sheet of samples."""
        with writing(self._curves_folder):
            self._curves.add_image("sheet", np.asarray(picture), images, dataformats="HWC")

    def close(self) -> None:
        with writing(self._curves_folder):
            self._curves.close()


def _cut(path: Path, images: int, attempt: int) -> None:
    """Keep the whole lines up to `images`, and those of earlier attempts; what a kill tore or a disk damaged goes."""
    with writing(path):
        if not path.exists():
            return
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    write_whole(path, "".join(f"{line}\n" for line in lines if _is_of_run(line, images, attempt)))


def _is_of_run(line: str, images: int, attempt: int) -> bool:
    try:
        values = json.loads(line)
        return bool((values.get("attempt", 0), values["images"]) <= (attempt, images))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
