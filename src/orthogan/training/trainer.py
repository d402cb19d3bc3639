"""The loop of a run: batches in, updates, and what is due at which number of images."""

import time
from contextlib import closing
from functools import partial
from pathlib import Path

import torch
from filelock import BaseFileLock
from lightning_fabric import Fabric

from orthogan.config import RunConfig
from orthogan.data import ImageCache
from orthogan.randomness import LATENTS_OF_D, LATENTS_OF_G, OF_D, OF_G
from orthogan.ranks import together
from orthogan.stop import Stop
from orthogan.training import rollback, saving
from orthogan.training.cadence import rate_share
from orthogan.training.changes import Changes
from orthogan.training.duties import Facts, log_of
from orthogan.training.ema import Ema
from orthogan.training.feed import Feed
from orthogan.training.launch import any_process
from orthogan.training.limits import check_penalties
from orthogan.training.logs import RunLog
from orthogan.training.observer import Observer
from orthogan.training.player import NonFiniteError
from orthogan.training.setup import build_networks, make_game, make_players, rules, usual_duties
from orthogan.training.status import telling_the_end, write_status
from orthogan.training.steps import Stats
from orthogan.training.watch import Collapsed

SHOWN_SECONDS = 0.5
"""Pause between looks at the losses on a device that is not waited for."""


class Trainer:
    """A run in a folder: built from its configuration, continued from its newest checkpoint if there is one."""

    def __init__(
        self,
        config: RunConfig,
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
        self.game = make_game(config, fabric, make_players(config, fabric, (g, d), found), found)
        self.own_rules = self.game.d.rules
        """Of D by the configuration, whatever rollbacks change."""
        check_penalties(self.game, fabric.world_size, config.watch.change)
        for name, player in (("generator", self.game.g), ("discriminator", self.game.d)):
            if config.compile in (name, "both"):
                player.network.compile(dynamic=False)
        self.ema = Ema(g, config.ema, config.images_per_step)
        self.feed = Feed(config, cache, fabric, self.game.augment.numbers if self.game.augment else 0, d.drops)
        self.duties = usual_duties()

    @property
    def checkpoints(self) -> Path:
        """The folder of the run's own."""
        return self.folder / "checkpoints"

    def run(self) -> bool:
        """Train to the configured number of images. False if a signal stopped it early; all is saved either way."""
        with closing(self), telling_the_end(self):
            together(self._begin)
            for duty in self.duties.values():
                together(partial(duty.prepare, self))
            if self.config.watch.on_collapse == "rollback" and self.saved_images is None:
                saving.save(self)  # so that there is something to return to before the first one
            with self.stop.on_signals(self._told_to_stop, _interrupt):
                while True:
                    try:
                        self._go_on()
                        break
                    except (NonFiniteError, Collapsed) as error:
                        rollback.answer(self, error)
        return self.images >= self.config.images

    def _begin(self) -> None:
        self.open_log()
        self.tell_status("training")

    def _go_on(self) -> None:
        """Steps to the end or a signal, all processes the same, and the last checkpoint, after a look at the losses."""
        while self.images < self.config.images and not any_process(self.fabric, self.stop.by is not None):
            self._follow_up(self.images, self.step())
        log_of(self).refuse_non_finite(self)
        if self.saved_images != self.images:
            saving.save(self)

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
        for player in (self.game.g, self.game.d):
            player.set_rate(rate_share(config, self.images) * self.changes.rate_factor)
        for _ in range(config.d_steps):
            at, real = self.images, feed.real(self.images)
            latents, numbers = feed.latents(LATENTS_OF_D, at), feed.numbers(OF_D, at)
            if config.freeze != "discriminator":
                stats = self.game.update_discriminator(real, latents, numbers, at // config.batch)
            self.images += config.batch
        latents = feed.latents(LATENTS_OF_G, self.images, config.g_batches)
        numbers = feed.numbers(OF_G, self.images, config.g_batches)
        if config.freeze != "generator":
            stats |= self.game.update_generator(real, latents, numbers, self.steps)
            self.ema.update(self.game.g.network, self.steps + 1)
        self.steps += 1
        return stats

    def _follow_up(self, before: int, stats: Stats) -> None:
        """Do what is due, after a look at the losses: at every step on a processor, else when something is due."""
        due = [duty for duty in self.duties.values() if duty.is_due(self, before)]
        for duty in self.duties.values():
            duty.after_step(self, stats)
        if due or self.fabric.device.type == "cpu":
            log_of(self).refuse_non_finite(self)
        if self.log is not None and time.monotonic() - self._shown > self._pause():
            self.observer.stepped(self.images, {name: float(value) for name, value in stats.items()})
            self._shown = time.monotonic()
        for duty in due:
            together(partial(duty.do, self))

    def _pause(self) -> float:
        return 0.0 if self.fabric.device.type == "cpu" else SHOWN_SECONDS

    def _told_to_stop(self) -> None:
        if self.fabric.is_global_zero:
            self.observer.stopping()

    def close(self) -> None:
        """Give back the folder, the log and the thread that reads ahead."""
        self.feed.close()
        if self._lock is not None:
            self._lock.release()
        log, self.log = self.log, None
        if log is not None:
            log.close()


def _interrupt() -> None:
    raise KeyboardInterrupt
