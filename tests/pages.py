"""Folders of runs for tests of the report, and what is on a page of them."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tiny import tiny_generator, tiny_run
from torch.utils.tensorboard import SummaryWriter

from orthogan.data import pack
from orthogan.page import read, render
from orthogan.training import checkpoint
from orthogan.training.checkpoint import Header
from orthogan.training.logs import write_config

HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "img", "input", "link", "br"}


class Page(HTMLParser):
    """Tags of a page with their attributes; fails on tags that are not closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str | None, str] = {}
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            own = next(attributes for name, attributes in reversed(self.tags) if name == "script")
            self.scripts[own.get("id")] = self.scripts.get(own.get("id"), "") + data
        else:
            self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.tags if "id" in attributes]


def lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def score(frechet: float, precision: float = 0.8, images: int = 80, **more: Any) -> dict[str, Any]:
    scores = {"frechet_distance": frechet, "kernel_distance": 0.5, "kernel_distance_std": 0.1, "precision": precision}
    protocol = {
        "features": {"network": "tiny"},
        "generated": {"images": 50},
        "real": {"images": 40},
        "generator": {"images_seen": images, "truncation": None},
    }
    return {"scores": scores, "notes": ["few images"], "protocol": protocol, **more}


def write_run(folder: Path, arrays: Path) -> Path:
    """The folder of a run of 160 images at its end, with hostile names wherever there are names; its data packed."""
    pack(tiny_run(arrays).data, tiny_run(arrays).resolution)
    (folder / "sheets").mkdir(parents=True)
    write_config(folder, tiny_run(arrays), "small-32")
    torch.manual_seed(0)
    tensors = {f"ema.{k}": v for k, v in tiny_generator().state_dict().items()}
    header = Header(tiny_run(arrays), 160, 20, {"class_names": [HOSTILE, "b", "c"], "data": "other"})
    for images in (80, 160):
        header = Header(tiny_run(arrays), images, images // 8, header.extra)
        checkpoint.save(folder / "checkpoints" / checkpoint.file_name(images), tensors, header)
    lines(
        folder / "log.jsonl",
        [{"images": i, "steps": i // 8, "d_loss": 1.0 + i, "g_loss": 0.5, "d_real": 1.0, "d_fake": -1.0}
         for i in range(8, 161, 8)],
    )  # fmt: skip
    lines(folder / "scores.jsonl", [{"images": i, **score(f, images=i)} for i, f in ((80, 50.0), (160, 40.0))])
    lines(
        folder / "spectra.jsonl",
        [{"images": i, "generator": {"linear": [2.0 + i, 1.0]}, "discriminator": {"head": [3.0]}} for i in (80, 160)],
    )
    lines(folder / "alarms.jsonl", [{"images": 90, "signal": HOSTILE}])
    for i in (80, 160):
        Image.new("RGB", (40, 40), (i, 0, 0)).save(folder / "sheets" / f"images-{i:012d}.png")
    points = [
        {"truncation": t, "scores": {"frechet_distance": 9.0, "classifier_score": 2.0, "precision": 1.0, "recall": 0.5}}
        for t in (None, 0.5)
    ]
    verdict = {"amenable": False, "reasons": [HOSTILE], "remedy": "ortho"}
    protocol = {"features": {"network": "tiny"}, "generated": {"images": 50}}
    curve = {"points": points, "verdict": verdict, "protocol": protocol}
    (folder / "truncation-tiny.json").write_text(json.dumps(curve))
    curves = SummaryWriter(str(folder / "curves"))
    for i, speed in ((80, 4.0), (160, 2.0)):
        curves.add_scalar("images_per_second", speed, i)
    curves.close()
    return folder


def page_of(run: Path, reload_seconds: int = 0) -> tuple[str, Page]:
    text = render.of_run(read.read(run), "cpu", reload_seconds)
    return text, Page(text)
