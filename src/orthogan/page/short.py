"""What a run's records mean, in plain words, for people who are no researchers. Each sentence follows a stated rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orthogan.metrics.titles import title
from orthogan.page.charts import on_the_way
from orthogan.page.read import Facts, Score

Kind = Literal["good", "warning", "fact"]


@dataclass(frozen=True)
class Sentence:
    kind: Kind
    text: str


STILL = 0.02
"""Share by which the last score must be better than the one before it to count as still improving."""
WORSE = 1.1
"""Times the best distance, beyond which the last one counts as worse."""
MOSTLY, RARELY = 0.7, 0.3
"""Shares of precision and recall that are called high and low."""
IDLE_LOSS = 0.05
"""A hinge loss of D below which it has nothing left to learn."""


def sentences(facts: Facts) -> list[Sentence]:
    """From the length of the run to its quality and its warnings."""
    return [_length(facts), *_quality(facts), *_losses(facts), *_truncation(facts), *_alarms(facts), *_notes(facts)]


def _length(facts: Facts) -> Sentence:
    seen, planned = facts.images, facts.config.images
    if facts.ended:
        return Sentence("good", f"The training is finished: {seen:,} real images were shown.")
    return Sentence("fact", f"{seen:,} of {planned:,} real images have been shown ({seen / planned:.0%}).")


def newest(scores: Sequence[Score]) -> Score | None:
    """The score of the generator that has seen most images, without truncation if there is one; of these the last."""
    plain = [score for score in scores if score.truncation is None] or list(scores)
    return max(reversed(plain), key=lambda score: score.images or 0, default=None)


def _quality(facts: Facts) -> list[Sentence]:
    last = newest(facts.scores)
    if last is None:
        told = "It has not been scored, so judge by eye: compare the samples with the real images below."
        return [Sentence("fact", told)]
    return [*_trend(on_the_way(facts.scores)), *_shares(last)]


def _trend(scores: Sequence[Score]) -> list[Sentence]:
    """How the Fréchet distance went, from at least two scores over one network."""
    rows = [(s.images, s.values["frechet_distance"], s.network) for s in scores if "frechet_distance" in s.values]
    rows = [row for row in rows if row[2] == rows[-1][2]]
    if len(rows) < 2:
        return []
    values = [value for _, value, _ in rows]
    name, last, best = title("frechet_distance", rows[-1][2]), values[-1], min(values)
    at = rows[values.index(best)][0]
    told = f"The {name}, which is lower for better images, went from {values[0]:.4g} to {last:.4g}"
    if last > WORSE * best:
        return [
            Sentence("warning", f"{told}; its best was {best:.4g} at {at:,} images: take checkpoints/best from there.")
        ]
    if last < (1 - STILL) * values[-2]:
        return [Sentence("good", f"{told} and was still falling: a longer training would probably help.")]
    return [Sentence("fact", f"{told} and has levelled off.")]


def _shares(score: Score) -> list[Sentence]:
    found = []
    precision, recall = score.values.get("precision"), score.values.get("recall")
    if precision is not None:
        kind: Kind = "good" if precision >= MOSTLY else "warning" if precision < RARELY else "fact"
        told = f"{share(precision).capitalize()} of the samples lie among the real images (precision): "
        meaning = {
            "good": "most look like the data to the network that judges.",
            "fact": "many still look unlike the data to the network that judges.",
            "warning": "most look unlike the data to the network that judges.",
        }
        found.append(Sentence(kind, told + meaning[kind]))
    if recall is not None:
        kind = "good" if recall >= MOSTLY else "warning" if recall < RARELY else "fact"
        told = f"{share(recall).capitalize()} of the real images lie among the samples (recall): "
        meaning = {
            "good": "the samples are about as varied as the data.",
            "fact": "the samples are less varied than the data.",
            "warning": "the samples are much less varied than the data.",
        }
        found.append(Sentence(kind, told + meaning[kind]))
    return found


def share(value: float) -> str:
    """As percents, none of which is rounded to nothing."""
    return "less than 1%" if 0 < value < 0.01 else f"{value:.0%}"


def _losses(facts: Facts) -> list[Sentence]:
    loss = facts.log[-1].get("d_loss") if facts.log else None
    if facts.config.loss != "hinge" or not isinstance(loss, float) or loss >= IDLE_LOSS:
        return []
    told = f"The discriminator's loss is {loss:.2g}: it tells real from generated images at once, and teaches little."
    return [Sentence("warning", told)]


def _truncation(facts: Facts) -> list[Sentence]:
    if not facts.truncations:
        return []
    amenable = facts.truncations[-1][1]["verdict"].get("amenable")
    if amenable:
        return [Sentence("good", "It is amenable to truncation: variety can be given up for better single images.")]
    return [Sentence("warning", "It is not amenable to truncation; the reasons are below.")]


def _alarms(facts: Facts) -> list[Sentence]:
    state = facts.status.get("state")
    found = []
    if state == "collapsed":
        found.append(Sentence("warning", "The run has collapsed: its newest samples are worse than earlier ones."))
    if facts.alarms:
        some = "1 alarm was" if len(facts.alarms) == 1 else f"{len(facts.alarms)} alarms were"
        found.append(Sentence("warning", f"{some} raised on the way; see below."))
    return found


def _notes(facts: Facts) -> list[Sentence]:
    """What the newest score says of itself: too few images; as a warning, that its judge favours this discriminator."""
    last = newest(facts.scores)
    notes = last.notes if last else []
    return [Sentence("warning" if "may favour" in note else "fact", f"Of the scores: {note}.") for note in notes]
