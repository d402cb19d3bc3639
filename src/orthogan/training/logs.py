"""What a run writes down: its configuration, a JSON line of losses at a time, curves for TensorBoard.

`log.jsonl` and `scores.jsonl` hold what the configuration determines, so a resumed run writes the lines that the
uninterrupted one would have written. Speed and the time of day go to TensorBoard alone.
"""

import json
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from orthogan import runtime
from orthogan.config import RunConfig
from orthogan.files import write_whole
from orthogan.training.checkpoint import config_from_json, config_to_json


def write_config(folder: Path, config: RunConfig[Any], preset: str) -> None:
    """`config.json`: the resolved configuration, with the versions and the commit that ran it."""
    stamp = {"preset": preset, "versions": runtime.versions(), "git_commit": runtime.git_commit()}
    write_whole(folder / "config.json", json.dumps({**config_to_json(config), **stamp}, indent=2) + "\n")


def read_config(folder: Path) -> RunConfig[Any]:
    return config_from_json(json.loads((folder / "config.json").read_text()))


def read_preset(folder: Path) -> str:
    """The preset that a run began from."""
    return str(json.loads((folder / "config.json").read_text())["preset"])


class RunLog:
    """Appends lines and curves; begins by dropping what lies beyond the images that a resumed run starts from."""

    def __init__(self, folder: Path, images: int):
        self.folder = folder
        for name in ("log.jsonl", "scores.jsonl"):
            _cut(folder / name, images)
        self._curves = SummaryWriter(str(folder / "curves"), purge_step=images or None)

    def line(self, values: dict[str, Any], name: str = "log.jsonl") -> None:
        with (self.folder / name).open("a") as file:
            file.write(json.dumps(values) + "\n")

    def curves(self, values: dict[str, float], images: int) -> None:
        for tag, value in values.items():
            self._curves.add_scalar(tag, value, images)

    def close(self) -> None:
        self._curves.close()


def _cut(path: Path, images: int) -> None:
    """Keep the whole lines up to `images`; a line that a kill tore has no end."""
    if not path.exists():
        return
    whole = [
        line for line in path.read_text().splitlines(keepends=True) if line.startswith("{") and line.endswith("}\n")
    ]
    write_whole(path, "".join(line for line in whole if json.loads(line)["images"] <= images))
