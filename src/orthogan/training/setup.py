"""A run's game from its configuration: the same for a training, for a dry run and for the timing of a step."""

import math
from typing import Any

import torch
from lightning_fabric import Fabric

from orthogan.config import RunConfig
from orthogan.game import augment
from orthogan.game.losses import LOSSES
from orthogan.game.regularizers import Rules, of_players
from orthogan.networks.base import Discriminator, Generator, Network
from orthogan.nn.frozen import trainable
from orthogan.pair import build_pair
from orthogan.randomness import WEIGHTS, draw
from orthogan.training.duties import Duty, Log, Score, Sheet, Spectra
from orthogan.training.player import Player
from orthogan.training.saving import Save
from orthogan.training.steps import Game
from orthogan.training.watch import Watch


def build_networks(config: RunConfig) -> tuple[Generator, Discriminator]:
    """G and D with the initial weights of the seed, the same in every process, drawn on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(config.seed, WEIGHTS, 0).initial_seed())
        return build_pair(config)


def rules(config: RunConfig) -> tuple[Rules, Rules]:
    """The rules of G and of D, by name."""
    return of_players(config.regularizers, config.discriminator.stabilizer)


def adams(config: RunConfig, found: tuple[Rules, Rules]) -> list[dict[str, Any]]:
    """The arguments of Adam for G and for D with these rules.

    With `lazy`, lr times c and betas to the power c, c = k / (k + 1), for the shortest interval k above 1 of a player's
    rules (StyleGAN2, App. B). There a due rule takes a step of its own beside the k of the loss, whose steps are then
    as large as here; here it joins one of them.
    """
    o = config.optimizer
    arguments = []
    for lr, own in zip((o.g_lr, o.d_lr), found, strict=True):
        k = min((rule.interval for rule in own.values() if rule.interval > 1), default=math.inf)
        c = k / (k + 1) if o.lazy and k < math.inf else 1.0
        arguments.append({"lr": c * lr, "betas": (o.beta1**c, o.beta2**c), "eps": o.eps})
    return arguments


def make_players(
    config: RunConfig, fabric: Fabric, pair: tuple[Generator, Discriminator], found: tuple[Rules, Rules]
) -> tuple[Player, Player]:
    """The networks with their optimisers, on the device and in the processes of Fabric."""

    def player(network: Network, adam: dict[str, Any]) -> Player:
        trained = trainable(network.to(fabric.device))
        wrapped, optimizer = fabric.setup(network, torch.optim.Adam(trained, **adam, fused=True))
        return Player(wrapped, network, optimizer)

    of_g, of_d = adams(config, found)
    return player(pair[0], of_g), player(pair[1], of_d)


def make_game(config: RunConfig, fabric: Fabric, players: tuple[Player, Player], found: tuple[Rules, Rules]) -> Game:
    """The two players with their rules, the loss, the augmentation, and what batch norm is over."""
    g, d = players
    joint = config.bn_over == "batch"
    if joint:
        g.network.checkpoint_blocks = True  # type: ignore[assignment]
    g.rules, d.rules = found
    for player in (g, d):
        for rule in player.rules.values():
            rule.begin(player.network, player.trained)
    augmentation = augment.build(config.augment)
    if augmentation is not None:
        augmentation.to(next(d.network.parameters()).device)
    return Game(fabric, g, d, LOSSES[config.loss], joint_fakes=joint, augment=augmentation)


def usual_duties() -> dict[str, Duty]:
    """The duties of a run by name, in the order in which they are done after a step."""
    score = Score()
    return {
        "log": Log(),
        "spectra": Spectra(),
        "sheet": Sheet(),
        "score": score,
        "watch": Watch(score),
        "save": Save(score),
    }
