"""What a run does besides stepping: each an object with a cadence in images, in one list that the loop goes through."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from orthogan import ranks
from orthogan.config import RunConfig
from orthogan.data import ImageCache, holding
from orthogan.features.weights import OF_DATA
from orthogan.metrics import of_data
from orthogan.metrics.evaluate import AS_DATA, Scorer, classes_like, partial_to
from orthogan.metrics.measuring import ImageSet
from orthogan.pair import remarks
from orthogan.pictures import save_picture
from orthogan.sampling import STANDING_BATCHES, class_sheet, snapshot
from orthogan.stability import spectra
from orthogan.stability.history import SPECTRA
from orthogan.training.cadence import due
from orthogan.training.player import refuse_non_finite
from orthogan.training.steps import Stats

if TYPE_CHECKING:
    from orthogan.training.trainer import Trainer

Facts = dict[str, Any]
"""Plain JSON types."""


class Duty:
    """Base: never due, and remembers nothing. All processes go through the list in its order."""

    def prepare(self, run: Trainer) -> None:
        """Before the first step. Raises `UserError` for what the duty will need and cannot have."""

    def mend(self, run: Trainer) -> None:
        """Make up, on the first process of a resumed run, for what a kill left undone."""

    def after_step(self, run: Trainer, stats: Stats) -> None:
        """After every step, due or not. It must not wait for the device, on which the scalars of the step are."""

    def is_due(self, run: Trainer, before: int) -> bool:
        """Whether something falls due between `before` images and those that the run has seen now."""
        return False

    def do(self, run: Trainer) -> None:
        """The duty itself, for which all processes wait. Where one of them cannot write, all end.

        What all processes do together in it comes before anything that one of them may fail at by itself.
        """

    def facts(self) -> Facts:
        """What a checkpoint must hold for the duty to go on as if it had never stopped."""
        return {}

    def take(self, facts: Facts) -> None:
        """Take up the facts of a checkpoint."""


class Window:
    """Means of the scalars of the steps since it was last emptied; only reading them waits for the device."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._steps = 0

    def add(self, stats: Stats) -> None:
        values = torch.stack(list(stats.values())).double()
        self._names, self._steps = list(stats), self._steps + 1
        self._sums = values if self._sums is None else self._sums.to(values.device) + values

    def sums(self) -> dict[str, float]:
        return {} if self._sums is None else dict(zip(self._names, self._sums.tolist(), strict=True))

    def empty(self) -> dict[str, float]:
        """The means, once."""
        means = {name: total / self._steps for name, total in self.sums().items()}
        self._sums, self._steps = None, 0
        return means

    def facts(self) -> Facts:
        return {"window": self.sums(), "window_steps": self._steps}

    def take(self, facts: Facts) -> None:
        self._names, self._steps = list(facts["window"]), facts["window_steps"]
        self._sums = torch.tensor(list(facts["window"].values()), dtype=torch.float64) if self._names else None


class Log(Duty):
    """A line of the means since the line before, and curves with the speed."""

    def __init__(self) -> None:
        self.window = Window()

    def after_step(self, run: Trainer, stats: Stats) -> None:
        self.window.add(stats)

    def is_due(self, run: Trainer, before: int) -> bool:
        cadence = run.config.cadence
        return due(before, run.images, cadence.log_images, cadence.first_images)

    def do(self, run: Trainer) -> None:
        means = self.window.empty()
        if run.log is not None:
            run.log.line({"images": run.images, "steps": run.steps, **means})
            run.log.curves(means | {"images_per_second": run.log.speed(run.images)}, run.images)

    def refuse_non_finite(self, run: Trainer) -> None:
        """Raises `NonFiniteError` if a loss or gradient since the last line was not finite."""
        refuse_non_finite(run.game.g, run.game.d, self.window.sums())

    def facts(self) -> Facts:
        return self.window.facts()

    def take(self, facts: Facts) -> None:
        self.window.take(facts)


def log_of(run: Trainer) -> Log:
    log = run.duties["log"]
    assert isinstance(log, Log)
    return log


class Spectra(Duty):
    """A line of the largest singular values of every layer of both networks, by the first process."""

    def is_due(self, run: Trainer, before: int) -> bool:
        cadence = run.config.cadence
        return due(before, run.images, cadence.spectra_images, cadence.first_images)

    def do(self, run: Trainer) -> None:
        if run.log is not None:
            players = {"generator": run.game.g, "discriminator": run.game.d}
            found = {role: spectra.live(player.network) for role, player in players.items()}
            run.log.line({"images": run.images, **found}, SPECTRA)


class Sheet(Duty):
    """A picture of fixed latents, at the end too, by the first process."""

    def is_due(self, run: Trainer, before: int) -> bool:
        cadence = run.config.cadence
        at_end = bool(cadence.sheet_images) and run.images >= run.config.images
        return at_end or due(before, run.images, cadence.sheet_images, cadence.first_images)

    def do(self, run: Trainer) -> None:
        if run.log is not None:
            path = run.folder / "sheets" / f"images-{run.images:012d}.png"
            sheet = class_sheet(
                snapshot(run.ema.module, run.config.precision), run.config.seed, names=run.cache.class_names
            )
            save_picture(sheet, path)
            run.log.picture(sheet, run.images)
            run.observer.told(f"sheet {path}")


def scored_images(config: RunConfig, features: str, cache: ImageCache | None = None) -> ImageCache:
    """The real images of a run's scores: those that it trains on, whole.

    With their labels where the feature network learns from them. `cache` are those of the run, which may be the same.
    All processes ask for them; one of each machine packs.
    """
    whole = of_data.data_for(features, dataclasses.replace(config.data, random_crop=1.0))
    if cache is not None and whole == config.data:
        return cache
    return ranks.one_a_machine(lambda: holding.load(config.data, config.resolution, read_as=whole))


class Score(Duty):
    """Scores of the average against the real images, whose features all processes share."""

    def __init__(self) -> None:
        self.best: float | None = None
        self.best_images: int | None = None
        self.last: tuple[int, float] | None = None
        """Images of the newest score since this process began, and its distance."""
        self._scorer: Scorer | None = None

    def prepare(self, run: Trainer) -> None:
        cadence = run.config.cadence
        if not cadence.score_images:
            return
        if run.fabric.is_global_zero:
            self._tell(run)
        cache = scored_images(run.config, cadence.score_features, run.cache)
        self._scorer = Scorer(
            cadence.score_features,
            cache.checked,
            cache.fingerprint,
            run.fabric.device,
            labels=cache.labels,
            source={"part": "training"} if run.config.data.hold_out else None,
        )

    @staticmethod
    def _tell(run: Trainer) -> None:
        """What will take its time now."""
        features = run.config.cadence.score_features
        for note in partial_to(run.config.discriminator.features_seen, features):
            run.observer.told(note)
        trains = features == OF_DATA
        run.observer.told(
            "training a classifier of the real images, unless it is kept: minutes"
            if trains
            else "computing the features of the real images"
        )

    def is_due(self, run: Trainer, before: int) -> bool:
        return due(before, run.images, run.config.cadence.score_images)

    def do(self, run: Trainer) -> None:
        assert self._scorer is not None
        cadence, seed = run.config.cadence, run.config.seed
        sampler = snapshot(run.ema.module, run.config.precision)
        as_data = run.config.fake_classes == "data" and run.config.n_classes > 0
        classes = classes_like(run.cache.labels, cadence.score_samples) if as_data else None
        images = ImageSet(
            cadence.score_samples,
            (run.config.resolution, run.config.resolution),
            lambda first, last: sampler.stream(last - first, classes=classes, seed=seed, first=first),
        )
        stamp: dict[str, Any] = {
            "images_seen": run.images,
            "truncation": None,
            "standing_statistics_batches": STANDING_BATCHES,
        }
        generated = {"classes": AS_DATA} if as_data else {}
        if seen := run.config.discriminator.features_seen:
            stamp["discriminator_looked_through"] = seen
        result = self._scorer.score(images, seed=seed, generator=stamp, generated=generated)
        result["notes"] = [*result.get("notes", ()), *remarks(run.config)]
        distance = float(result["scores"]["frechet_distance"])
        if run.log is not None:
            run.log.line({"images": run.images, **result}, "scores.jsonl")
            run.log.curves({f"scores/{name}": value for name, value in result["scores"].items()}, run.images)
            run.observer.told(f"frechet distance ({cadence.score_features}) {distance:.2f}")
        self.last = run.images, distance
        if self.best is None or distance < self.best:
            self.best, self.best_images = distance, run.images

    def facts(self) -> Facts:
        return {"best": self.best, "best_images": self.best_images}

    def take(self, facts: Facts) -> None:
        self.best, self.best_images = facts["best"], facts.get("best_images")  # files of format 1 have no place
