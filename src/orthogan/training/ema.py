"""The moving average of a generator that samples are drawn from."""

import copy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from orthogan.config import EmaConfig
from orthogan.networks.base import Generator


class Ema:
    """Averages parameters and copies buffers (the spectral vectors): average * decay + weights * (1 - decay)."""

    def __init__(self, source: Generator, config: EmaConfig):
        self.config = config
        self.module = copy.deepcopy(source).requires_grad_(False).eval()
        self._average = get_ema_multi_avg_fn(config.decay)

    @torch.no_grad()
    def update(self, source: nn.Module, steps: int) -> None:
        """Take in the weights after G's update number `steps`, counted from 1. That of `start_steps` is averaged."""
        mine: list[Tensor] = list(self.module.parameters())
        theirs: list[Tensor] = list(source.parameters())
        if steps < self.config.start_steps:
            torch._foreach_copy_(mine, theirs)
        else:
            self._average(mine, theirs, steps)
        buffers = list(self.module.buffers())
        if buffers:
            torch._foreach_copy_(buffers, list(source.buffers()))
