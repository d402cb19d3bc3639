"""Run a tiny training in a process of its own, so that tests can kill it. Arguments: folder, data, images, extras.

`--die-in-write N` kills the process with SIGKILL in the middle of writing checkpoint number N (from 1), when the file
that is written aside exists and has not been renamed. `--no-room NAME` is a disk without room for files of that name.
`--collapse` has G draw one image for all latents in the first attempt from 96 images on, and rolls back. The last line
tells how the run ended in this process; with `--collapse`, the one before it what the process knows of the watch.
"""

import argparse
import itertools
import json
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny import tiny_networks, tiny_run

from orthogan import files, ranks, runs
from orthogan.errors import UserError
from orthogan.model import find_checkpoint
from orthogan.networks import DISCRIMINATORS, GENERATORS
from orthogan.settings import override
from orthogan.stability import watch as rules
from orthogan.training import duties
from orthogan.training import watch as duty
from orthogan.training.launch import leave_together
from orthogan.training.logs import read_config
from orthogan.training.trainer import Observer

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=Path)
parser.add_argument("data")
parser.add_argument("--images", type=int, default=160)
parser.add_argument("--die-in-write", type=int, default=0)
parser.add_argument("--accumulate", type=int, default=1)
parser.add_argument("--g-batches", type=int, default=1)
parser.add_argument("--loss", default="hinge")
parser.add_argument("--stabilizer", default="spectral-norm")
parser.add_argument("--pair", nargs=2, help="names of other networks than BigGAN's")
parser.add_argument("--ada", action="store_true", help="augmentation whose strength goes up by an eighth a step")
parser.add_argument("--scores", action="store_true", help="sheets and made-up scores after every step")
parser.add_argument("--init", default="", help="run whose networks this one begins from, the first block of D frozen")
parser.add_argument("--no-room", default="none", metavar="NAME")
parser.add_argument("--collapse", action="store_true")
options = parser.parse_args()
torch.set_num_threads(1)

writes = itertools.count(1)
whole_flush, whole_open = files.flush, Path.open


def flush_and_die(path: Path) -> None:
    if path.name.startswith("images-") and next(writes) == options.die_in_write:
        with open(path, "r+b") as file:
            file.truncate(path.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    refuse(path)
    whole_flush(path)


def refuse(path: Path) -> None:
    if path.name.startswith(options.no_room):
        raise OSError(28, "No space left on device")


def open_or_refuse(path: Path, mode: str = "r", *args: Any, **named: Any) -> Any:
    if mode == "a":
        refuse(path)
    return whole_open(path, mode, *args, **named)


class Steps(Observer):
    def stepped(self, images: int, stats: dict[str, float]) -> None:
        print("images", images, flush=True)


class Scorer:
    """Distances that fall by one."""

    def __init__(self, *args: object, **named: object) -> None:
        self.distances = itertools.count(9, -1)
        ranks.of_first(lambda: None)  # all processes share what the real one finds

    def score(self, images: Iterable[torch.Tensor], seed: int, **stamp: object) -> dict[str, Any]:
        return {"scores": {"frechet_distance": next(self.distances)}}


files.flush = flush_and_die
Path.open = open_or_refuse  # type: ignore[assignment, method-assign]
duties.Scorer = Scorer
cpu = torch.device("cpu")
if (options.folder / "config.json").exists():
    config = override(read_config(options.folder), {"images": options.images})
    trainer = runs.resume(options.folder, config, Steps(), cpu, lambda done, total: None)
elif options.init:
    found = find_checkpoint(options.init)
    changes = {"data.source": options.data, "images": options.images, "freeze_d_blocks": 1}
    config = override(runs.configuration(found, None), changes)
    init = runs.InitConfig(classes="name")
    trainer = runs.fine_tune(found, init, config, "", options.folder, Steps(), cpu, lambda done, total: None)
else:
    loss = "wasserstein" if options.stabilizer == "wgan-gp" else options.loss
    networks = tiny_networks(stabilizer=options.stabilizer)
    if options.pair:
        rows = GENERATORS[options.pair[0]], DISCRIMINATORS[options.pair[1]]
        networks = {"generator": rows[0].tiny, "discriminator": rows[1].tiny}
    every = 16 if options.scores else 0
    changes = {
        "images": options.images,
        "accumulate": options.accumulate,
        "g_batches": options.g_batches,
        "cadence.score_images": every,
        "cadence.sheet_images": every,
        "cadence.score_samples": 10,
    }
    if options.ada:
        changes |= {"augment.kind": "ada", "augment.interval": 1, "augment.speed_images": 64, "augment.target": -0.99}
    if options.collapse:
        duty.LEAST_STEPS, rules.WARM_UP = 1, 2
        changes |= {"watch.every_images": 16, "watch.on_collapse": "rollback", "watch.change": "lower-rates"}
        changes |= {"cadence.checkpoint_images": 32, "cadence.first_images": 0}
    config = override(tiny_run(options.data, loss=loss, **networks), changes)
    trainer = runs.start(config, "digits", options.folder, Steps(), cpu, lambda done, total: None)
if options.collapse:
    trainer.game.g.network.register_forward_hook(
        lambda module, inputs, out: 0 * out + 0.3 if trainer.feed.attempt == 0 and trainer.images >= 96 else out
    )
try:
    finished = trainer.run()
except UserError as error:
    print(f"refused: {error}", flush=True)
    sys.exit(4)
if options.collapse:
    known = {"images": trainer.images, "attempt": trainer.feed.attempt, "rollbacks": trainer.rollbacks}
    print(json.dumps(known | trainer.duties["watch"].facts()), flush=True)
leave_together()
print("finished" if finished else "stopped", flush=True)
