"""A run's game from its configuration: the same for a training, for a dry run and for the timing of a step."""

from typing import Any

from lightning_fabric import Fabric

from orthogan.config import RunConfig
from orthogan.game.losses import LOSSES
from orthogan.game.regularizers import of_players
from orthogan.training.player import Player
from orthogan.training.steps import Game


def make_game(config: RunConfig[Any, Any], fabric: Fabric, g: Player, d: Player) -> Game:
    """The two players with their rules, the loss, and what batch norm is over."""
    joint = config.bn_over == "batch"
    if joint:
        g.network.checkpoint_blocks = True  # type: ignore[assignment]
    g.rules, d.rules = of_players(config.regularizers, getattr(config.discriminator, "stabilizer", None))
    return Game(fabric, g, d, LOSSES[config.loss], joint_fakes=joint)
