"""What several processes cannot do."""

from orthogan.config import RunConfig
from orthogan.errors import UserError
from orthogan.nn.norm import norm_layers
from orthogan.training.steps import Game


def check_penalties(game: Game, world_size: int, change: str = "none") -> None:
    """Refuse penalties on D's gradient where batch norms of D are over processes: they have no second derivative."""
    penalties = [name for name, rule in game.d.rules.items() if rule.differentiates_twice]
    penalties += ["d_r1"] if change == "r1" else []
    if world_size > 1 and penalties and norm_layers(game.d.network):
        raise UserError(
            f"regularizers.{penalties[0]}: over {world_size} processes the batch norms of this discriminator cannot be "
            "differentiated twice; leave the rule out, take a discriminator without batch norm, or train in one process"
        )


def check_world(config: RunConfig, world_size: int) -> None:
    """Every process must get the same number of images in every micro-batch."""
    share = world_size * config.accumulate
    if config.batch % share:
        below = config.batch // share * share
        near = " or ".join(str(b) for b in (below, below + share) if b)
        raise UserError(
            f"batch={config.batch} cannot be shared by {world_size} processes with accumulate={config.accumulate} "
            f"micro-batches each; try batch {near}"
        )
