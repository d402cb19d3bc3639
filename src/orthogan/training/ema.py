"""The moving average of a generator that samples are drawn from."""

import copy
import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from orthogan.config import EmaConfig
from orthogan.networks.base import Generator


class Ema:
    """Averages parameters, average * decay + weights * (1 - decay), and copies buffers (spectral vectors, noise)."""

    def __init__(self, source: Generator, config: EmaConfig, images_per_step: int):
        self.config, self.images_per_step = config, images_per_step
        self.module = copy.deepcopy(source).requires_grad_(False).eval()

    def decay(self, steps: int) -> float:
        """Share of the average that is kept at G's update number `steps`."""
        config = self.config
        if config.decay is not None:
            return config.decay
        assert config.halflife_images is not None
        bound = math.inf if config.rampup is None else config.rampup * (steps - 1) * self.images_per_step
        halflife = min(config.halflife_images, bound)
        return float(0.5 ** (self.images_per_step / halflife)) if halflife else 0.0

    @torch.no_grad()
    def update(self, source: nn.Module, steps: int) -> None:
        """Take in the weights after G's update number `steps`, counted from 1. That of `start_steps` is averaged."""
        mine: list[Tensor] = list(self.module.parameters())
        theirs: list[Tensor] = list(source.parameters())
        if steps < self.config.start_steps:
            torch._foreach_copy_(mine, theirs)
        else:
            get_ema_multi_avg_fn(self.decay(steps))(mine, theirs, steps)
        buffers = list(self.module.buffers())
        if buffers:
            torch._foreach_copy_(buffers, list(source.buffers()))
