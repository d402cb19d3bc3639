"""When things are due in a run, how that follows its length, and what can never happen in it."""

import math
from dataclasses import replace
from typing import Any

from orthogan.config import CadenceConfig, EmaConfig, RunConfig, WatchConfig

MOST = {"log_images": 200, "sheet_images": 50, "checkpoint_images": 20, "spectra_images": 200}
"""So many of each at most in a run that is shorter than its preset's, besides the early ones."""
MOST_LOOKS = 200
"""Of the watch in such a run."""
SPAN = 0.1
"""Share of the updates that the average of G spans at most in such a run; the preset's own share, if that is more."""


def due(before: int, now: int, every: int, first: int = 0) -> bool:
    """Whether something is due in (before, now] images: at multiples of `every`, and below at first * 1, 2, 4, ..."""
    if every <= 0:
        return False
    if now >= every or not first:
        return now // every > before // every
    return _doublings(now, first) > _doublings(before, first)


def _doublings(images: int, first: int) -> int:
    """How many of first * 1, 2, 4, ... lie at or below `images`."""
    return (images // first).bit_length()


def saves_at(config: RunConfig, before: int, now: int) -> bool:
    """Whether a checkpoint falls due in (before, now] images: after scores too, which a kill must not part from it."""
    cadence = config.cadence
    return due(before, now, cadence.score_images) or due(before, now, cadence.checkpoint_images, cadence.first_images)


def times_due(images: int, every: int, first: int = 0) -> int:
    """How often something falls due from 0 to `images`, if steps are single images."""
    if every <= 0:
        return 0
    early = _doublings(min(images, every - 1), first) if first else 0
    return early + images // every


def total_steps(config: RunConfig) -> int:
    """Updates of G in a whole run."""
    return -(-config.images // config.images_per_step)


def rate_share(config: RunConfig, images: int) -> float:
    """What is left of the learning rates: all, or falling linearly to 0 from `decay_from_images` to the run's end."""
    start = config.optimizer.decay_from_images
    if start is None:
        return 1.0
    return min(1.0, max(0.0, (config.images - images) / max(1, config.images - start)))


def follow_length(preset: RunConfig, images: int, batch: int, d_steps: int) -> RunConfig:
    """The preset at another length, to be run at this batch: what depends on the length keeps its place in the run.

    A falling learning rate begins at the same share of the run. A half-life of the average stays as many updates: the
    codes of StyleGAN2-ADA and Projected GAN give it 10,000 images for every 32 of the batch. In a shorter run the
    average begins at the same share of the updates and spans at most `SPAN` of them, and there are as many log lines,
    sheets, checkpoints and spectra as in the preset's, but no more of them than `MOST`.
    """
    return replace(
        preset,
        images=images,
        optimizer=_falling(preset, images / preset.images),
        cadence=_cadence(preset, images),
        watch=_watch(preset, images),
        ema=_average(preset, images / (batch * d_steps), batch / preset.batch),
    )


def _average(preset: RunConfig, steps: float, batches: float) -> EmaConfig:
    """`batches` is the batch in those of the preset."""
    ema, part = preset.ema, steps / total_steps(preset)
    if ema.halflife_images is not None:
        ema = replace(ema, halflife_images=ema.halflife_images * batches)
    if part >= 1:
        return ema
    decay = ema.decay and min(ema.decay, decay_over(max(SPAN * steps, part / (1 - ema.decay))))
    return replace(ema, start_steps=int(ema.start_steps * part), decay=decay)


def decay_over(steps: float) -> float:
    """Of an average over about so many updates."""
    return round(max(0.0, 1 - 1 / steps), 4)


def _falling(preset: RunConfig, share: float) -> Any:
    start = preset.optimizer.decay_from_images
    return replace(preset.optimizer, decay_from_images=None if start is None else int(start * share))


def _cadence(preset: RunConfig, images: int) -> CadenceConfig:
    changes: dict[str, Any] = {}
    for name, most in MOST.items():
        every = getattr(preset.cadence, name)
        # Lines of losses cost nothing, but a short run is not to spend its time on the others.
        least = 1 if name == "log_images" else min(images, preset.cadence.first_images)
        changes[name] = _as_often(every, preset.images, images, most, least)
    return replace(preset.cadence, **changes)


def _watch(preset: RunConfig, images: int) -> WatchConfig:
    every = preset.watch.every_images
    return replace(preset.watch, every_images=_as_often(every, preset.images, images, MOST_LOOKS, 1) if every else 0)


def _as_often(every: int, whole: int, images: int, most: int, least: int) -> int:
    """A cadence of a run of `whole` images in a shorter one: as many times, once at least, but no more than `most`."""
    return min(every, max(least, math.ceil(max(min(every, whole) * images / whole, images / most))))


def never(config: RunConfig) -> list[str]:
    """Warnings of what a run of this length will not have, each with a way out."""
    return duties_never_due(config) + _average_warnings(config)


def duties_never_due(config: RunConfig) -> list[str]:
    """Those whose way out a run that has begun may still take."""
    cadence, told = config.cadence, []
    whole = total_steps(config) * config.images_per_step
    for what, name, first in (
        ("line of losses", "log_images", cadence.first_images),
        ("sheet before its end", "sheet_images", cadence.first_images),
        ("checkpoint before its end", "checkpoint_images", cadence.first_images),
        ("line of singular values", "spectra_images", cadence.first_images),
        ("score", "score_images", 0),
    ):
        every = getattr(cadence, name)
        if every and not times_due(whole, every, first):
            told.append(f"this run of {config.images:,} images has no {what}: cadence.{name} is {every:,}; lower it")
    return told


def _average_warnings(config: RunConfig) -> list[str]:
    ema, steps = config.ema, total_steps(config)
    if ema.decay != 0 and ema.start_steps >= steps:
        return [
            f"the average of G never begins: ema.start_steps is {ema.start_steps:,} and the run has {steps:,} steps; "
            "lower it"
        ]
    if ema.start_steps or ema.rampup is not None:  # it begins as a copy of weights that have learnt something
        return []
    if ema.decay is None:
        assert ema.halflife_images is not None
        initial, said = 0.5 ** (config.images / ema.halflife_images), f"ema.halflife_images={ema.halflife_images:g}"
        better = f"--ema.halflife-images {config.images / 15:.0f}"
    else:
        initial, said = ema.decay**steps, f"ema.decay={ema.decay}"
        better = f"--ema.decay {decay_over(SPAN * steps):g}"
    if initial <= 0.05:
        return []
    return [
        f"{initial:.0%} of the average of G, which samples come from, will be its initial weights: {said} over "
        f"{steps:,} steps; try {better}"
    ]
