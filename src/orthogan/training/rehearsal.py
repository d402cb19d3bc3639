"""A run's game without its data and files: networks on images and latents of zeros, in a single process."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from orthogan.config import RunConfig
from orthogan.training.steps import Batch, Game


class OneProcess:
    """Fabric's verbs for a single process, without Fabric, which cannot set up fake networks."""

    autocast = no_backward_sync = staticmethod(lambda *_, **__: nullcontext())

    def all_reduce(self, tensor: Tensor) -> Tensor:
        return tensor

    def backward(self, tensor: Tensor, gradient: Tensor | None = None) -> None:
        tensor.backward(gradient)


ONE_PROCESS: Any = OneProcess()


def play(config: RunConfig[Any, Any], game: Game, micro: int) -> None:
    """One whole step on micro-batches of this size."""
    uniform = [torch.zeros(micro) for _ in range(config.accumulate)]
    for _ in range(config.d_steps):
        real = batches(config, micro, real=True)
        game.update_discriminator(real, batches(config, micro, real=False), uniform)
    game.update_generator(batches(config, micro * config.g_batches, real=False), real, uniform)


def batches(config: RunConfig[Any, Any], micro: int, *, real: bool) -> list[Batch]:
    shape = (3, config.resolution, config.resolution) if real else (config.generator.dim_z,)
    y = torch.zeros(micro, dtype=torch.long) if config.n_classes else None
    return [(torch.zeros(micro, *shape), y) for _ in range(config.accumulate)]
