"""The duty that looks at a run now and then for signs of a collapse."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from orthogan.data import ImageCache
from orthogan.errors import some
from orthogan.game.latents import latents_at
from orthogan.game.losses import LOSSES
from orthogan.ranks import together
from orthogan.sampling import chunk_size, sheet_layout
from orthogan.stability import spectra
from orthogan.stability.history import ALARMS, WATCH
from orthogan.stability.variety import RealImages, Signals, shrunk, spread_out
from orthogan.stability.watch import Alarm, Judge, Sign
from orthogan.training import advice
from orthogan.training.cadence import due
from orthogan.training.duties import Duty, Facts, Score, Window
from orthogan.training.launch import rows_of_all
from orthogan.training.steps import Stats

if TYPE_CHECKING:
    from orthogan.training.trainer import Trainer

COLUMNS = 6
"""Latents of each class that a look draws, of the ten in a row of the sheet."""
REAL, REAL_OF_CLASS = 256, 32
"""Real images that they are compared with, of all and of each class."""
FED = 64
"""Real images whose labels a look checks, or a batch where that is more."""


def real_images(cache: ImageCache, classes: list[int] | None, device: torch.device) -> RealImages:
    """Images spread over the whole data set, and over each class that is watched."""

    def read(indices: np.ndarray) -> Tensor:
        parts = np.array_split(indices, -(-len(indices) // 16))
        read = (torch.from_numpy(cache.checked[part]).to(device).permute(0, 3, 1, 2) for part in parts)
        return torch.cat([shrunk(part / 127.5 - 1) for part in read])

    of_class: dict[int, Tensor] = {}
    for c in sorted(set(classes or ())):
        there = np.flatnonzero(np.asarray(cache.labels) == c)
        if len(there) > 1:
            of_class[c] = read(there[spread_out(len(there), REAL_OF_CLASS)])
    return RealImages.of(read(spread_out(len(cache), REAL)), of_class)


class Eye:
    """Draws the fixed latents of the sheet with G as it is now, and compares them with real images."""

    def __init__(self, run: Trainer):
        config, device, g = run.config, run.fabric.device, run.config.generator
        classes, n = sheet_layout(config.n_classes)
        # Columns of the sheet first: parts of the batch then have all classes in them, as G's batch norms expect.
        order = torch.arange(n).view(-1, 10)[:, :COLUMNS].T.flatten()
        self.labels = None if classes is None else torch.tensor(classes)[order].to(device)
        self.z = latents_at(config.seed, 0, n, g.dim_z, None, "redraw", g.latent)[order].to(device)
        # As many as a batch norm sees in training, over all processes, which here all draw the same images.
        self.size = max(config.batch // config.accumulate, chunk_size(config.resolution, device))
        self.real = real_images(run.cache, classes, device)

    @torch.no_grad()
    def look(self, run: Trainer) -> Signals:
        """All processes together: batch norms are over all of them, here over the same images."""
        count = len(self.z)
        labels = [None] * count if self.labels is None else self.labels.split(self.size)
        with run.fabric.autocast():
            made = [shrunk(run.game.g.network(z, y)) for z, y in zip(self.z.split(self.size), labels, strict=False)]
        found = self.real.signals(torch.cat(made), self.labels)
        if self.labels is not None:
            found["label_fit"] = self._label_fit(run)
        return found

    def _label_fit(self, run: Trainer) -> float:
        """Of the next real images of all processes: labels that have come apart from images spoil any training."""
        batch, feed = run.config.batch, run.feed
        fed = [micro for k in range(-(-FED // batch)) for micro in feed.real(run.images + k * batch)]
        images = torch.cat([shrunk(x) for x, _ in fed])
        labels = torch.cat([y for _, y in fed if y is not None])
        return self.real.label_fit(rows_of_all(run.fabric, images), rows_of_all(run.fabric, labels))


def of_weights(run: Trainer) -> Signals:
    """sigma_0, and its ratio to sigma_1, of every layer of both players."""
    found: Signals = {}
    for role, player in (("generator", run.game.g), ("discriminator", run.game.d)):
        for layer, values in spectra.live(player.network).items():
            if values:
                found[f"sigma/{role}.{layer}"] = values[0]
            if len(values) > 1 and values[1]:
                found[f"ratio/{role}.{layer}"] = values[0] / values[1]
    return found


def short(signals: Signals) -> Signals:
    """With the digits that matter, without what is no number."""
    return {name: float(f"{value:.5g}") for name, value in signals.items() if math.isfinite(value)}


LEAST_STEPS = 8
"""Steps from one look to the next at least: the means of fewer are noise."""


class Collapsed(RuntimeError):
    """The watch raised an alarm that the run is not to pass over."""

    def __init__(self, alarm: Alarm, diverged: bool = False):
        """`diverged`: the run cannot be saved as it is."""
        super().__init__(alarm.signs[0].what)
        self.alarm, self.diverged = alarm, diverged


class Watch(Duty):
    """A look now and then by all processes, judged by the numbers of the first."""

    def __init__(self, score: Score) -> None:
        self.window = Window()
        self.judge = Judge()
        self.alarms: list[Facts] = []
        self._score = score
        self._eye: Eye | None = None

    def prepare(self, run: Trainer) -> None:
        if run.config.watch.every_images:
            self._eye = Eye(run)

    def after_step(self, run: Trainer, stats: Stats) -> None:
        if self._eye is not None:
            self.window.add(stats)

    def is_due(self, run: Trainer, before: int) -> bool:
        every = run.config.watch.every_images
        return due(before, run.images, every and max(every, LEAST_STEPS * run.config.images_per_step))

    def do(self, run: Trainer) -> None:
        values = self._look(run)
        # Scores are the first process's own, and the last bits of some devices differ: its numbers hold for all.
        values = run.fabric.broadcast(values) if run.fabric.world_size > 1 else values
        self.judge, alarm = self.judge.after(run.images, values)
        together(lambda: self._tell(run, values, alarm))
        if alarm is not None and run.config.watch.on_collapse != "warn" and not alarm.notice:
            raise Collapsed(alarm)
        run.tell_status("training")

    def _tell(self, run: Trainer, values: Signals, alarm: Alarm | None) -> None:
        """The look in its file; an alarm in its own, and to whoever watches."""
        if run.log is not None:
            run.log.line({"images": run.images, "steps": run.steps, **values}, WATCH)
        if alarm is not None:
            self.write_down(run, alarm)
            if run.fabric.is_global_zero:
                run.observer.alarmed(in_words(alarm))

    def write_down(self, run: Trainer, alarm: Alarm) -> None:
        """Among the facts, and in the file of alarms."""
        told = alarm_facts(alarm, run.feed.attempt)
        self.alarms = [*self.alarms, told]
        if run.log is not None:
            run.log.line(told, ALARMS)

    def facts(self) -> Facts:
        if self._eye is None:
            return {}
        return {"watch": {**self.window.facts(), "judge": self.judge.facts(), "alarms": self.alarms}}

    def take(self, facts: Facts) -> None:
        own = facts.get("watch")  # files from before the watch, and runs without it, have none
        if own is None:
            self.window, self.judge, self.alarms = Window(), Judge(), []
        else:
            self.window.take(own)
            self.judge, self.alarms = Judge.of_facts(own["judge"]), list(own["alarms"])

    def _look(self, run: Trainer) -> Signals:
        assert self._eye is not None
        means = self.window.empty()
        if "d_loss" in means:
            means["gap"] = means["d_real"] - means["d_fake"]
            if (chance := loss_by_chance(run.config.loss)) > 0:
                means["d_loss_share"] = means["d_loss"] / chance
        if self._score.last is not None and self._score.last[0] == run.images:
            means["score"] = self._score.last[1]
        return short(means | self._eye.look(run) | of_weights(run))


def watch_of(run: Trainer) -> Watch:
    watch = run.duties["watch"]
    assert isinstance(watch, Watch)
    return watch


def loss_by_chance(name: str) -> float:
    """D's loss at logits of 0, which know nothing: 2 of the hinge loss; 0 where the loss has no such scale."""
    zero = torch.zeros(1)
    return float(LOSSES[name].discriminator(zero, zero))


def alarm_facts(alarm: Alarm, attempt: int) -> Facts:
    """An alarm in plain JSON types."""
    return {"images": alarm.images, **({"attempt": attempt} if attempt else {}), **alarm.facts()}


def in_words(alarm: Alarm) -> str:
    """What an alarm says to people, in one line."""
    first, *others = (_sign_in_words(sign) for sign in alarm.signs)
    more = f"; also {some(others, SHOWN)}" if others else ""
    kind = "no collapse yet, but" if alarm.notice else "signs of a collapse"
    return (
        f"{kind} at {alarm.images:,} images, since {alarm.since:,}: {first}{more}. "
        f"People usually change: {advice.in_words(alarm.signs[0].advice)}"
    )


SHOWN = 3
"""Signs beside the first one that are told."""


def _sign_in_words(sign: Sign) -> str:
    return sign.what if sign.usual is None else f"{sign.what} ({sign.value:.3g}, before {sign.usual:.3g})"
