"""Score requests, and a run while it trains, by all processes and over the tiny network. Arguments: folder, requests.

Each process writes what it was given, and how many images it looked at, to a file of its own.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny import TinyFeatures, tiny_run

from orthogan import judging, ranks, runs
from orthogan.config import CadenceConfig
from orthogan.errors import UserError
from orthogan.features import pretrained, weights
from orthogan.features.pretrained import FeatureNet
from orthogan.judging import Request
from orthogan.metrics import of_data
from orthogan.training.observer import Observer


class Counting(TinyFeatures):
    """Counts the images that are not padding, which is black."""

    images = 0

    def forward(self, images_nchw: Tensor) -> tuple[Tensor, Tensor]:
        Counting.images += int(images_nchw.flatten(1).any(1).sum())
        return super().forward(images_nchw)


@contextmanager
def tiny_networks() -> Iterator[None]:
    """In the place of every feature network; and a smaller classifier of the data."""
    held = pretrained.load, weights.locate, of_data.VIEWS, of_data.LEAST_SIDE
    net = FeatureNet("tiny", Counting(), weights_sha256="0" * 64, resize="none", feature_dim=4)
    pretrained.load = lambda name, path=None, device="cpu": net
    weights.locate = lambda name, given=None: Path("nowhere")
    of_data.VIEWS, of_data.LEAST_SIDE = 128, 32
    try:
        yield
    finally:
        pretrained.load, weights.locate, of_data.VIEWS, of_data.LEAST_SIDE = held


def scored(request: dict[str, Any], device: str | None) -> dict[str, Any]:
    Counting.images = 0
    try:
        found: Any = judging.score(Request(**request, device=device))
    except UserError as error:
        found = str(error)
    return {"found": found, "images": Counting.images}


def trained(folder: Path, data: str) -> None:
    cadence = CadenceConfig(log_images=24, sheet_images=0, checkpoint_images=48, score_images=16, score_samples=70)
    config = tiny_run(data, cadence=cadence, images=32)
    told = Observer()
    runs.start(config, "digits", folder / "run", told, torch.device("cpu"), lambda done, total: None).run()


def main(folder: Path, requests: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    with tiny_networks(), judging.all_processes("cpu") as here:
        found = [scored(request, here.device) for request in requests]
        Counting.images = 0
        trained(folder, requests[0]["against"])
        facts = {"scores": found, "in_training": Counting.images}
        (folder / f"process-{int(not ranks.is_first())}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
