"""What a run's records mean, in plain words, for people who are no researchers. Each sentence follows a stated rule."""

from typing import Literal

from orthogan.metrics.titles import title
from orthogan.page import troubles, verdict
from orthogan.page.alike import is_alike
from orthogan.page.meaning import Sentence
from orthogan.page.numbers import is_number, number
from orthogan.page.read import Facts
from orthogan.pair import remarks

Trend = Literal["worse", "falling", "level"]

STILL = 0.02
"""Share by which the last score must be better than the one before it to count as still improving."""
WORSE = 1.1
"""Times the best distance, beyond which the last one counts as worse."""
IDLE_LOSS = 0.05
"""A hinge loss of D below which it has nothing left to learn."""


def sentences(facts: Facts) -> list[Sentence]:
    """From the length of the run to its quality and its warnings."""
    return [
        *_state(facts),
        *_parent(facts),
        *_remarks(facts),
        *_trend_told(facts),
        *_losses(facts),
        *_alarms(facts),
        *_memory(facts),
        *_truncation(facts),
        *_favour(facts),
    ]


def _state(facts: Facts) -> list[Sentence]:
    seen, planned, state = facts.images, facts.config.images, facts.status.get("state")
    shown = f"{seen:,} of {planned:,} training images have been shown ({min(seen / planned, 1):.0%})"
    if facts.finished:
        return [Sentence("fact", f"The training is finished: it was shown {seen:,} images.")]
    if facts.ended:
        why = {"stopped": "It was stopped", "collapsed": "It was stopped because it collapses"}
        return [Sentence("warning", f"{why.get(str(state), 'It has stopped with an error')}: {shown}.")]
    if facts.silent:
        hours = facts.silent_seconds / 3600
        ago = f"{hours:.0f} hours" if hours >= 2 else f"{facts.silent_seconds / 60:.0f} minutes"
        return [Sentence("warning", f"It has written nothing for {ago}, so it was probably killed: {shown}.")]
    return [Sentence("fact", f"The training goes on: {shown}.")]


def _parent(facts: Facts) -> list[Sentence]:
    if not facts.parent:
        return []
    seen, what = facts.parent.get("images"), "a fine-tuning" if "init" in facts.parent else "a branch"
    after = f" after {seen:,} images" if is_number(seen) else ""
    return [Sentence("fact", f"It began from {facts.parent.get('checkpoint', '?')}{after}, as {what} of that run.")]


def _remarks(facts: Facts) -> list[Sentence]:
    return [Sentence("warning", f"In this run {remark}.") for remark in remarks(facts.config)]


def distances(facts: Facts) -> list[tuple[int, float]]:
    """Images and Fréchet distance of the scores on the way that are like the last one."""
    scores = [score for score in facts.scores if score.on_the_way and "frechet_distance" in score.values]
    return [
        (score.images, score.values["frechet_distance"])
        for score in scores
        if score.images is not None and is_alike(score, scores[-1])
    ]


def trend(facts: Facts) -> Trend | None:
    """How the Fréchet distance goes; None below two scores."""
    values = [value for _, value in distances(facts)]
    if len(values) < 2:
        return None
    if values[-1] > WORSE * min(values):
        return "worse"
    return "falling" if values[-1] < (1 - STILL) * values[-2] else "level"


def _trend_told(facts: Facts) -> list[Sentence]:
    found, rows = trend(facts), distances(facts)
    if found is None:
        return []
    network = next(score.network for score in reversed(facts.scores) if score.on_the_way)
    best_images, best = min(rows, key=lambda row: row[1])
    told = (
        f"The {title('frechet_distance', network)}, how far the samples are from the real images as a whole, "
        f"went from {number(rows[0][1])} to {number(rows[-1][1])}; lower is better"
    )
    if found == "worse":
        return [Sentence("warning", f"{told}. Its best was {number(best)} at {best_images:,} images.")]
    if found == "falling" and troubles.of_run(facts) is None:
        return [Sentence("good", f"{told}. It was still falling.")]
    return [Sentence("fact", f"{told}." if found == "falling" else f"{told}. It has levelled off.")]


def _losses(facts: Facts) -> list[Sentence]:
    loss = facts.log[-1].get("d_loss") if facts.log else None
    if facts.config.loss != "hinge" or not isinstance(loss, float) or not loss < IDLE_LOSS:
        return []
    told = f"The discriminator's loss is {loss:.2g}: it tells real from generated images at once, and teaches little."
    return [Sentence("warning", told)]


def _alarms(facts: Facts) -> list[Sentence]:
    raised = [line for line in facts.alarms if not line.get("notice")]
    if not raised or (len(raised) == 1 and verdict.of_run(facts).trouble):  # the answer itself says it
        return []
    some = "An alarm was" if len(raised) == 1 else f"{len(raised)} alarms were"
    newest_ = raised[-1]
    return [Sentence("warning", f"{some} raised during the training: {troubles.what(newest_)}.")]


def _memory(facts: Facts) -> list[Sentence]:
    """Whether the generator copies, by the newest result."""
    if not facts.memorization:
        return []
    found = [one for one in facts.memorization[-1].of_generator if one.kind == "warning"]
    return found or [Sentence("good", "No sign was found that it copies its training images (see Memorisation).")]


def _truncation(facts: Facts) -> list[Sentence]:
    if not facts.truncations:
        return []
    if facts.truncations[-1][1]["verdict"].get("amenable"):
        return [Sentence("good", "Truncation works: variety can be given up for better single images (see below).")]
    return [Sentence("fact", "Truncation, giving up variety for better single images, does not help here (see below).")]


def _favour(facts: Facts) -> list[Sentence]:
    """What the newest score says of its judge, if that favours this discriminator; other notes stand at the scores."""
    last = verdict.newest(facts.scores)
    return [Sentence("warning", f"Of the scores: {note}.") for note in (last.notes if last else []) if _is_favour(note)]


def _is_favour(note: str) -> bool:
    return "may favour" in note
