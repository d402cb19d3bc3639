"""The loop of a run: batches in, updates, and what is due at which number of images."""

import math
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from filelock import BaseFileLock
from lightning_fabric import Fabric

from orthogan.config import RunConfig
from orthogan.data import ImageCache
from orthogan.errors import UserError
from orthogan.files import CannotWrite
from orthogan.game.regularizers.r1 import R1
from orthogan.networks.base import Discriminator, Generator, Network
from orthogan.nn.frozen import identities, trainable
from orthogan.pair import build_pair
from orthogan.randomness import LATENTS_OF_D, LATENTS_OF_G, OF_D, OF_G, WEIGHTS, draw
from orthogan.training import checkpoint, duties, rollback
from orthogan.training.changes import Changes, inherited
from orthogan.training.duties import Facts
from orthogan.training.ema import Ema
from orthogan.training.feed import Feed
from orthogan.training.limits import check_penalties
from orthogan.training.logs import RunLog
from orthogan.training.observer import Observer
from orthogan.training.player import NonFiniteError, Player
from orthogan.training.setup import adams, make_game, rules, usual_duties
from orthogan.training.state import NetworkPart, OptimizerPart, Part, RulePart, gather, scatter, scatter_fitting
from orthogan.training.status import write_status
from orthogan.training.steps import Stats
from orthogan.training.stop import Stop
from orthogan.training.watch import Collapsed

SHOWN_SECONDS = 0.5
"""Pause between looks at the losses on a device that is not waited for."""


def build_networks(config: RunConfig[Any, Any]) -> tuple[Generator, Discriminator]:
    """G and D with the initial weights of the seed, the same in every process, drawn on the CPU."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(config.seed, WEIGHTS, 0).initial_seed())
        return build_pair(config)


class Trainer:
    """A run in a folder: built from its configuration, continued from its newest checkpoint if there is one."""

    def __init__(
        self,
        config: RunConfig[Any, Any],
        cache: ImageCache,
        folder: Path,
        fabric: Fabric,
        observer: Observer,
        preset: str = "",
        lock: BaseFileLock | None = None,
    ):
        """`preset` is the name that the run began from; `lock`, the folder's, is given back when the run ends."""
        self.config, self.cache, self.folder = config, cache, folder
        self.fabric, self.observer = fabric, observer
        self.preset, self._lock = preset, lock
        self.parent: Facts | None = None
        """Of a branch: the checkpoint that it began from, what changed, what was taken and what began afresh."""
        self.images = self.steps = self.begun = 0
        self.saved_images: int | None = None
        """Where the newest checkpoint of this run stands; None before the first."""
        self.rollbacks: list[Facts] = []
        """What each return to an earlier checkpoint left, went to, and changed."""
        self.changes = Changes()
        """What these returns have changed in all."""
        self.stop = Stop()
        self.log: RunLog | None = None
        """Of the first process, while the run goes on."""
        self._shown = 0.0
        if fabric.device.type == "cuda":
            torch.backends.cudnn.benchmark = True
        g, d = build_networks(config)
        found = rules(config)
        self._adams = adams(config, found)
        players = self._player(g, self._adams[0]), self._player(d, self._adams[1])
        self.game = make_game(config, fabric, players, found)
        self._own_rules = self.game.d.rules
        check_penalties(self.game, fabric.world_size, config.watch.change)
        for name, player in (("generator", self.game.g), ("discriminator", self.game.d)):
            if config.compile in (name, "both"):
                player.network.compile(dynamic=False)
        self.ema = Ema(g, config.ema, config.images_per_step)
        self.feed = Feed(config, cache, fabric, self.game.augment.numbers if self.game.augment else 0, d.drops)
        self.duties = usual_duties()

    def _player(self, network: Network, adam: dict[str, Any]) -> Player:
        trained = trainable(network.to(self.fabric.device))
        wrapped, optimizer = self.fabric.setup(network, torch.optim.Adam(trained, **adam, fused=True))
        return Player(wrapped, network, optimizer)

    # -- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Train to the configured number of images. False if a signal stopped it early; all is saved either way."""
        end = "failed"
        self.open_log()
        try:
            for duty in self.duties.values():
                duty.prepare(self)
            self.tell_status("training")
            if self.config.watch.on_collapse == "rollback" and self.saved_images is None:
                self.save()  # so that there is something to return to before the first one
            with self.stop.on_signals(self.observer if self.fabric.is_global_zero else None):
                while self.images < self.config.images and not self.stop.is_asked(self.fabric):
                    before = self.images
                    try:
                        self._follow_up(before, self.step())
                    except (NonFiniteError, Collapsed) as error:
                        rollback.answer(self, error)
                if self.saved_images != self.images:
                    self.save()
            end = "finished" if self.images >= self.config.images else "stopped"
        except (NonFiniteError, Collapsed):
            end = "collapsed"
            raise
        finally:
            with suppress(CannotWrite):  # what ended the run is told in its place
                self.tell_status(end)
            self.close()
        return self.images >= self.config.images

    def open_log(self) -> None:
        """The log from here on, without the lines beyond; after a rollback again."""
        if self.log is not None:
            self.log.close()
        if self.fabric.is_global_zero:
            self.log = RunLog(self.folder, self.images, self.feed.attempt)

    def tell_status(self, state: str) -> None:
        """`status.json`, for whoever looks at the folder."""
        if self.log is not None:
            write_status(self, state)

    def step(self) -> Stats:
        """d_steps updates of D, each on new images, then one of G, then the average; a frozen player's are left out."""
        config, feed = self.config, self.feed
        stats: Stats = {}
        self._set_learning_rates()
        for _ in range(config.d_steps):
            at, real = self.images, feed.real(self.images)
            latents, numbers = feed.latents(LATENTS_OF_D, at), feed.numbers(OF_D, at)
            if config.freeze != "discriminator":
                stats = self.game.update_discriminator(real, latents, numbers, at // config.batch)
            self.images += config.batch
        latents = feed.latents(LATENTS_OF_G, self.images, config.g_batches)
        numbers = feed.numbers(OF_G, self.images, config.g_batches)
        if config.freeze != "generator":
            stats |= self.game.update_generator(latents, real, numbers, self.steps)
            self.ema.update(self.game.g.network, self.steps + 1)
        self.steps += 1
        return stats

    def _set_learning_rates(self) -> None:
        """Constant, or falling linearly to 0 from `decay_from_images` to the end of the run; rollbacks lower them."""
        start, factor = self.config.optimizer.decay_from_images, self.changes.rate_factor
        if start is None and factor == 1:
            return
        left = 1.0 if start is None else (self.config.images - self.images) / max(1, self.config.images - start)
        for player, adam in zip((self.game.g, self.game.d), self._adams, strict=True):
            player.optimizer.param_groups[0]["lr"] = adam["lr"] * min(1.0, max(0.0, left)) * factor

    def change(self, changes: Changes) -> None:
        """Train on with what rollbacks have changed."""
        self.changes = changes
        self.game.d.rules = self._own_rules
        if changes.r1_gamma is not None:
            rule = R1(changes.r1_gamma, self.config.regularizers.d_r1.interval)
            rule.begin(self.game.d.network, self.game.d.trained)
            self.game.d.rules = {**self._own_rules, "d_r1": rule}

    def _follow_up(self, before: int, stats: Stats) -> None:
        """Do what is due, after a look at the losses: at every step on a processor, else when something is due."""
        due = [duty for duty in self.duties.values() if duty.is_due(self, before)]
        for duty in self.duties.values():
            duty.after_step(self, stats)
        if due or self.fabric.device.type == "cpu":
            self._refuse_non_finite(stats)
        if self.log is not None and time.monotonic() - self._shown > self._pause():
            self.observer.stepped(self.images, {name: float(value) for name, value in stats.items()})
            self._shown = time.monotonic()
        for duty in due:
            duty.do(self)

    def _pause(self) -> float:
        return 0.0 if self.fabric.device.type == "cpu" else SHOWN_SECONDS

    def _refuse_non_finite(self, stats: Stats) -> None:
        """Raises `NonFiniteError` if a loss or gradient since the last line of the log was not finite."""
        log = self.duties["log"]
        assert isinstance(log, duties.Log)
        strange = [name for name, value in log.window.sums().items() if not math.isfinite(value)]
        if strange:
            g, d = self.game.g, self.game.d
            player = d if strange[0].startswith("d_") else g
            # A bad weight of G shows first in the loss of D.
            why = g.strange_parameter() or player.culprit() or f"{strange[0]} was not finite"
            raise NonFiniteError(why)

    def close(self) -> None:
        """Give back the folder, the log and the thread that reads ahead."""
        self.feed.close()
        if self._lock is not None:
            self._lock.release()
        log, self.log = self.log, None
        if log is not None:
            log.close()

    # -- checkpoints ---------------------------------------------------------------------------------------------

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def parts(self) -> dict[str, Part]:
        """Everything with a state that the next step depends on, by its name in a checkpoint."""
        g, d, augment = self.game.g, self.game.d, self.game.augment
        return {
            "generator": NetworkPart(g.network),
            "discriminator": NetworkPart(d.network),
            "ema": NetworkPart(self.ema.module),
            "g_optimizer": OptimizerPart(g.optimizer, frozen=self.config.freeze == "generator"),
            "d_optimizer": OptimizerPart(d.optimizer, frozen=self.config.freeze == "discriminator"),
            **({"augment": NetworkPart(augment)} if augment and augment.state_dict() else {}),
            **{f"rules.{name}": RulePart(rule) for player in (g, d) for name, rule in player.rules.items()},
        }

    def save(self) -> Path:
        """Write everything the next step depends on.

        Raises `NonFiniteError` instead of writing a number that is none, and `CannotWrite`; older checkpoints then
        stay as they are.
        """
        path = self.checkpoints / checkpoint.file_name(self.images)
        tensors = gather(self.parts()) if self.fabric.is_global_zero else {}
        strange = next((name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()), None)
        strange = self.fabric.broadcast(strange) if self.fabric.world_size > 1 else strange
        if strange is not None:  # in all processes: each would wait for the others
            raise NonFiniteError(f"{strange} is not finite")
        if self.fabric.is_global_zero:
            checkpoint.save(path, tensors, checkpoint.Header(self.config, self.images, self.steps, self._extra()))
            checkpoint.prune(self.checkpoints, self.config.cadence.keep_last, also=rollback.kept(self))
            self.observer.told(f"checkpoint {path}")
        self.saved_images = self.images
        self.fabric.barrier()
        return path

    def _extra(self) -> dict[str, Any]:
        extra: dict[str, Any] = {
            "preset": self.preset,
            "class_names": list(self.cache.class_names),
            "data": self.cache.fingerprint,
            "attempt": self.feed.attempt,
        }
        if self.rollbacks:
            extra["rollbacks"] = self.rollbacks
        if self.changes != Changes():
            extra["changes"] = self.changes.facts()
        if self.parent is not None:
            extra["parent"] = self.parent
        networks = {"generator": self.game.g.network, "discriminator": self.game.d.network}
        if frozen := {name: found for name, network in networks.items() if (found := identities(network))}:
            extra["frozen"] = frozen
        for duty in self.duties.values():
            extra |= duty.facts()
        return extra

    def restore(self, found: checkpoint.Loaded) -> None:
        """Take up a run where a checkpoint of it stands. Raises `UserError` if the data has changed since."""
        header = found.header
        if header.extra["data"] != self.cache.fingerprint:
            raise UserError(
                f"the data at {self.config.data.source!r} has changed since {found.path.name} was written; "
                "restore it, or start a new run with `orthogan train`"
            )
        self.rollbacks = list(header.extra.get("rollbacks", []))
        self.change(Changes.of_facts(header.extra.get("changes", {})))
        scatter(self.parts(), found)
        self._stand_at(header)
        parent = self.parent or {}
        self.begun = 0 if "init" in parent else parent.get("images", 0)  # a fine-tuned run counts its own images
        self.saved_images = header.images
        for duty in self.duties.values():
            duty.take(header.extra)

    def branch_from(self, found: checkpoint.Loaded) -> tuple[list[str], list[str]]:
        """Begin where a checkpoint of another run stands; returns the parts that took it up, and those begun afresh.

        Log, scores and the best checkpoint are this run's own. Raises `BadCheckpoint` where the networks do not fit.
        """
        self.change(inherited(self.config, found.header))
        parts = self.parts()
        afresh = scatter_fitting(parts, found, strict=("generator", "discriminator", "ema"))
        self._stand_at(found.header)
        self.begun = self.images
        return [name for name in parts if name not in afresh and found.part(name)], afresh

    def _stand_at(self, header: checkpoint.Header) -> None:
        self.images, self.steps = header.images, header.steps
        self.feed.attempt = header.extra.get("attempt", 0)  # files of format 1 have none
