"""A run's checkpoints: what is in one, how it is written, and how a run takes it up or begins from another run's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from orthogan.errors import UserError
from orthogan.files import remove_asides
from orthogan.nn.frozen import identities
from orthogan.ranks import together
from orthogan.training import checkpoint
from orthogan.training.cadence import saves_at
from orthogan.training.changes import Changes, change, inherited
from orthogan.training.duties import Duty, Score
from orthogan.training.keeping import kept
from orthogan.training.player import NonFiniteError
from orthogan.training.state import NetworkPart, OptimizerPart, Part, RulePart, gather, scatter, scatter_fitting

if TYPE_CHECKING:
    from orthogan.training.trainer import Trainer


def parts(run: Trainer) -> dict[str, Part]:
    """Everything with a state that the next step depends on, by its name in a checkpoint."""
    g, d, augment, frozen = run.game.g, run.game.d, run.game.augment, run.config.freeze
    return {
        "generator": NetworkPart(g.network),
        "discriminator": NetworkPart(d.network),
        "ema": NetworkPart(run.ema.module),
        "g_optimizer": OptimizerPart(g.optimizer, frozen=frozen == "generator"),
        "d_optimizer": OptimizerPart(d.optimizer, frozen=frozen == "discriminator"),
        **({"augment": NetworkPart(augment)} if augment and augment.state_dict() else {}),
        **{f"rules.{name}": RulePart(rule) for player in (g, d) for name, rule in player.rules.items()},
    }


def facts(run: Trainer) -> dict[str, Any]:
    """What the header says besides: where the run comes from, what rollbacks did, what duties need to go on."""
    found: dict[str, Any] = {
        "preset": run.preset,
        "class_names": list(run.cache.class_names),
        "data": run.cache.fingerprint,
        "attempt": run.feed.attempt,
    }
    if run.rollbacks:
        found["rollbacks"] = run.rollbacks
    if run.changes != Changes():
        found["changes"] = run.changes.facts()
    if run.parent is not None:
        found["parent"] = run.parent
    networks = {"generator": run.game.g.network, "discriminator": run.game.d.network}
    if frozen := {name: own for name, network in networks.items() if (own := identities(network))}:
        found["frozen"] = frozen
    for duty in run.duties.values():
        found |= duty.facts()
    return found


def save(run: Trainer) -> Path:
    """Write everything that the next step depends on, and remove what is no longer to be kept.

    Raises `NonFiniteError` instead of writing a number that is none, and `CannotWrite`; older checkpoints then stay as
    they are. In all processes alike: each would wait for the others.
    """
    fabric = run.fabric
    tensors = gather(parts(run)) if fabric.is_global_zero else {}
    strange = next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), None)
    strange = fabric.broadcast(strange) if fabric.world_size > 1 else strange
    if strange is not None:
        raise NonFiniteError(f"{strange} is not finite")
    path = run.checkpoints / checkpoint.file_name(run.images)
    together(lambda: _write(run, path, tensors), here=fabric.is_global_zero)
    run.saved_images = run.images
    return path


def _write(run: Trainer, path: Path, tensors: dict[str, Tensor]) -> None:
    checkpoint.save(path, tensors, checkpoint.Header(run.config, run.images, run.steps, facts(run)))
    checkpoint.prune(run.checkpoints, run.config.cadence.keep_last, also={run.images, *kept(run)})
    run.observer.told(f"checkpoint {path}")


def restore(run: Trainer, found: checkpoint.Loaded) -> None:
    """Take up a run where a checkpoint of it stands. Raises `UserError` for an imported file and for changed data."""
    header = found.header
    if "data" not in header.extra:
        raise UserError(
            f"{found.path} is of no training, so none can go on from it; begin one with `orthogan train` and "
            f"--init {found.path}"
        )
    if header.extra["data"] != run.cache.fingerprint:
        raise UserError(
            f"the data at {run.config.data.source!r} has changed since {found.path.name} was written; "
            "restore it, or start a new run with `orthogan train`"
        )
    run.rollbacks = list(header.extra.get("rollbacks", []))
    change(run, Changes.of_facts(header.extra.get("changes", {})))
    scatter(parts(run), found)
    _stand_at(run, header)
    parent = run.parent or {}
    run.begun = 0 if "init" in parent else parent.get("images", 0)  # a fine-tuned run counts its own images
    run.saved_images = header.images
    for duty in run.duties.values():
        duty.take(header.extra)


def branch_from(run: Trainer, found: checkpoint.Loaded) -> tuple[list[str], list[str]]:
    """Begin where a checkpoint of another run stands; returns the parts that took it up, and those begun afresh.

    Log, scores and the best checkpoint are this run's own. Raises `BadCheckpoint` where the networks do not fit.
    """
    change(run, inherited(run.config, found.header))
    own = parts(run)
    afresh = scatter_fitting(own, found, strict=("generator", "discriminator", "ema"))
    _stand_at(run, found.header)
    run.begun = run.images
    return [name for name in own if name not in afresh and found.part(name)], afresh


def _stand_at(run: Trainer, header: checkpoint.Header) -> None:
    run.images, run.steps = header.images, header.steps
    run.feed.attempt = header.extra.get("attempt", 0)  # files of format 1 have none


class Save(Duty):
    """A checkpoint: after every score too, so that a run that is killed while it scores goes on from before."""

    def __init__(self, score: Score) -> None:
        self._score = score

    def mend(self, run: Trainer) -> None:
        remove_asides(run.checkpoints)
        checkpoint.repair_best(run.checkpoints, self._score.best_images)

    def is_due(self, run: Trainer, before: int) -> bool:
        return saves_at(run.config, before, run.images)

    def do(self, run: Trainer) -> None:
        path = save(run)
        if self._score.best_images == run.images and run.log is not None:
            checkpoint.keep_as_best(path)
