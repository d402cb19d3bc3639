"""The one place where the benchmark touches orthogan's training, sampling and loading.

Same work as the rival's callables: `Rival.networks(preset, width).train_step` and `.sample`.
"""

import itertools
import logging
from collections.abc import Callable
from pathlib import Path

import torch

import orthogan
from orthogan import presets, runs
from orthogan.data import BatchStream, pack
from orthogan.data.config import DataConfig
from orthogan.sampling import Sampler
from orthogan.settings import override
from orthogan.training.launch import make_fabric
from orthogan.training.trainer import Observer, Trainer

DIGITS = DataConfig(source="digits")


def make_train_step(
    width: int,
    batch: int,
    precision: str = "bf16",
    channels_last: bool = True,
    device: str = "cpu",
    preset: str = "biggan-32",
) -> Callable[[], object]:
    """Build a fresh pair of a preset with 10 classes, by default 32x32 without attention; return one iteration.

    The iteration is the trainer's own: it reads its images from the packed digits.

    Args:
        width: channel multiplier of both networks (64 as published).
        batch: real images of one D update; an iteration has 2 D updates, one G update and the weight average, so it
            consumes 2 * batch real images.
        precision: "bf16" (autocast) or "float32".
        channels_last: memory layout of activations.
        device: "cpu" or "cuda".
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    changes = {
        **presets.both(width=width),
        "batch": batch,
        "d_steps": 2,
        "precision": precision,
        "data.source": "digits",
    }
    where = torch.device(device)
    begun = presets.get(preset)
    config = runs.resolve(override(begun, changes), begun.n_classes, 10, where)
    cache = pack(DIGITS, config.resolution)
    trainer = Trainer(config, cache, Path(), make_fabric(precision, where), Observer())
    if not channels_last:
        for player in (trainer.game.g, trainer.game.d):
            player.network.memory_format = torch.contiguous_format
    return trainer.step


def make_sampler(
    batch: int,
    precision: str = "bf16",
    channels_last: bool = True,
    device: str = "cpu",
    preset: str = "biggan-128",
) -> Callable[[], object]:
    """Build G of a preset at its published width for sampling; return a draw of `batch` images, fresh z and y."""
    generator = orthogan.build(preset, init="normal", device=device).generator
    if not channels_last:
        generator.memory_format = torch.contiguous_format
    sampler = Sampler(generator, precision)
    seeds = itertools.count()
    return lambda: list(sampler.stream(batch, seed=next(seeds)))


def make_loader(batch: int, device: str = "cpu") -> Callable[[], object]:
    """Open a packed 32x32 data set as a training would; return what fetches the next batch, ready on the device."""
    stream = BatchStream(pack(DIGITS, 32), seed=0, mirror=False)
    positions = itertools.count(0, batch)

    def fetch() -> torch.Tensor:
        images, _ = stream.batch(next(positions), batch)
        return images.to(device).float().div_(127.5).sub_(1)

    return fetch
