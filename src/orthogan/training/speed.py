"""How long a step takes on this machine, measured on the real networks with made-up images."""

import time
from functools import partial

import torch
from torch import Tensor

from orthogan import runtime
from orthogan.config import RunConfig
from orthogan.nn.frozen import trainable
from orthogan.pair import build_pair
from orthogan.training.player import Player
from orthogan.training.rehearsal import ONE_PROCESS, average, play
from orthogan.training.setup import make_game, rules
from orthogan.training.steps import Game

MEASURED_SECONDS = 20.0
"""Time after which `seconds_per_step` begins no third size."""
LONG_SECONDS = 3.0
"""A step that takes longer is timed once."""


class _Unchecked(Player):
    """A player whose losses may be anything: only the time counts."""

    def step(self, strange: Tensor) -> None:
        self.optimizer.step()


def seconds_per_step(config: RunConfig, precision: str, device: torch.device, world_size: int = 1) -> float:
    """Time of a whole step of one process, by steps of micro-batches of 2, 8, 32, ... images until the time is up.

    A step of the whole micro-batch that does not come to be measured is reckoned from the last two on a straight line:
    a part of it does not depend on the images.
    """
    began = time.perf_counter()
    micro = max(1, config.batch // world_size // config.accumulate)
    took = {0: 0.0}
    size = min(2, micro)
    with runtime.autocast(precision, device):
        game = _real_game(config, device)
        while True:
            took[size] = average(game, partial(_quickest, config, game, size, device))
            if size == micro or (len(took) > 2 and time.perf_counter() - began + 4 * took[size] > MEASURED_SECONDS):
                break
            size = min(4 * size, micro)
    (less, before), (most, seconds) = list(took.items())[-2:]
    slope = max(0.0, seconds - before) / (most - less)
    return seconds + min(slope, seconds / most) * (micro - most)


def _real_game(config: RunConfig, device: torch.device) -> Game:
    """Networks with weights of no meaning, which are quicker to make than initial ones."""
    with torch.device("meta"):
        pair = build_pair(config)
    players = []
    for network in pair:
        network.to_empty(device=device)
        for tensor in (*network.parameters(), *network.buffers()):
            if tensor.is_floating_point():
                torch.nn.init.normal_(tensor, std=0.02)
        adam = torch.optim.Adam(trainable(network), lr=1e-9, fused=True)
        players.append(_Unchecked(network, network, adam))
    return make_game(config, ONE_PROCESS, (players[0], players[1]), rules(config))


def _quickest(config: RunConfig, game: Game, micro: int, device: torch.device, update: int) -> float:
    """Of three steps, if they are short: the first on tensors of new shapes takes longer."""
    took = [_timed(config, game, micro, device, update)]
    while took[0] < LONG_SECONDS and len(took) < 3:
        took.append(_timed(config, game, micro, device, update))
    return min(took)


def _timed(config: RunConfig, game: Game, micro: int, device: torch.device, update: int) -> float:
    with torch.device(device):
        began = time.perf_counter()
        play(config, game, micro, update)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began
