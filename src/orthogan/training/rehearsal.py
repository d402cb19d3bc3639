"""A run's game without its data and files: networks on images and latents of zeros, in a single process."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from orthogan.config import RunConfig
from orthogan.training.steps import Batch, Game, Numbers


class OneProcess:
    """Fabric's verbs for a single process, without Fabric, which cannot set up fake networks."""

    autocast = no_backward_sync = staticmethod(lambda *_, **__: nullcontext())

    world_size = 1

    def all_reduce(self, tensor: Tensor) -> Tensor:
        return tensor

    def backward(self, tensor: Tensor, gradient: Tensor | None = None) -> None:
        tensor.backward(gradient)


ONE_PROCESS: Any = OneProcess()


def play(config: RunConfig, game: Game, micro: int, update: int = 0) -> None:
    """One whole step on micro-batches of this size, with the rules that are due at number `update` of both players.

    All are at 0, and at 1 those that come at every update.
    """
    real = batches(config, micro, real=True)
    for _ in range(config.d_steps if config.freeze != "discriminator" else 0):
        game.update_discriminator(real, batches(config, micro, real=False), _numbers(config, game, micro, 1), update)
    if config.freeze != "generator":
        latents = batches(config, micro * config.g_batches, real=False)
        game.update_generator(real, latents, _numbers(config, game, micro, config.g_batches), update)


def average(game: Game, cost: Callable[[int], float]) -> float:
    """Of a step, from what one costs at updates 0 and 1; where rules have several intervals, by the shortest."""
    intervals = [rule.interval for player in (game.g, game.d) for rule in player.rules.values() if rule.interval > 1]
    if not intervals:
        return cost(0)
    without = cost(1)
    return without + (cost(0) - without) / min(intervals)


def _numbers(config: RunConfig, game: Game, micro: int, fake_batches: int) -> list[Numbers]:
    count = game.augment.numbers if game.augment else 0
    rules, real, fake = (torch.rand(micro), torch.rand(micro, count), torch.rand(fake_batches * micro, count))
    keys = [torch.zeros(len(images), dtype=torch.long) for images in (real, fake)] if game.d.network.drops else []
    return [Numbers(rules, real, fake, *keys)] * config.accumulate


def batches(config: RunConfig, micro: int, *, real: bool) -> list[Batch]:
    shape = (3, config.resolution, config.resolution) if real else (config.generator.dim_z,)
    y = torch.zeros(micro, dtype=torch.long) if config.n_classes else None
    return [(torch.zeros(micro, *shape), y) for _ in range(config.accumulate)]
