"""Whether the model is good, in plain words, for people who are no researchers. Each answer follows a stated rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from orthogan.page import troubles
from orthogan.page.meaning import Kind, Measure
from orthogan.page.read import Facts, Score

Quality = Literal["good", "fair", "bad"]

MOSTLY, RARELY = 0.7, 0.3
"""Shares of precision and recall that are called high and low."""


@dataclass(frozen=True)
class Verdict:
    """An answer to the question whether the model is good."""

    kind: Literal["good", "fair", "bad", "unknown"]
    answer: str
    reason: str
    trouble: troubles.Trouble | None = None
    """What the answer is about, if it is no score."""


def newest(scores: Sequence[Score]) -> Score | None:
    """The score of the generator that has seen most images, without truncation if there is one; of these the last."""
    plain = [score for score in scores if score.truncation is None] or list(scores)
    return max(reversed(plain), key=lambda score: score.images or 0, default=None)


def measures(score: Score) -> list[Measure]:
    """Precision and recall as shares with a meaning, as far as they were taken."""
    told = {
        "precision": (
            "Samples that pass for real images",
            {
                "good": "most samples look real",
                "fair": "many samples do not look real",
                "warning": "few samples look real",
            },
        ),
        "recall": (
            "Real images that have something like them among the samples",
            {
                "good": "the samples are about as varied as the real images",
                "fair": "the samples are less varied than the real images",
                "warning": "the samples are much less varied than the real images",
            },
        ),
    }
    found = []
    for name, (label, meanings) in told.items():
        if (value := score.values.get(name)) is not None:
            kind: Kind = "good" if value >= MOSTLY else "warning" if value < RARELY else "fair"
            found.append(Measure(label, value, score.intervals.get(name), kind, meanings[kind]))
    return found


def quality(score: Score | None) -> Quality | None:
    """By the lower of precision and recall; None where neither was taken."""
    lowest = min((one.value for one in measures(score)), default=None) if score else None
    if lowest is None:
        return None
    return "good" if lowest >= MOSTLY else "bad" if lowest < RARELY else "fair"


def of_run(facts: Facts) -> Verdict:
    """By the newest score, unless the run has since gone wrong; unknown without a score."""
    score = newest(facts.scores)
    found = quality(score)
    trouble = troubles.of_run(facts)
    if trouble and (found in (None, "bad") or (score and (score.images or 0) < trouble.images)):
        return Verdict("bad", "No.", f"The training went wrong: {trouble.told}.", trouble)
    if score is None or found is None:
        answer = "Nobody has measured it yet." if score is None else "It cannot be told from these scores."
        return Verdict("unknown", answer, "Judge by eye: compare the samples with the real images below.")
    words = [one.meaning for one in measures(score)]
    reason = f"As a judging network sees it, {' and '.join(words)}."
    if found == "good":
        return Verdict("good", "Yes, by these scores." if facts.finished else "Yes, so far.", reason)
    if found == "fair":
        return Verdict("fair", "In part." if facts.finished else "In part, so far.", reason)
    reason += " Such judges see what eyes do not, and are strict with small, plain images: look at the samples too."
    return Verdict("bad", "Not by these scores." if facts.finished else "Not yet.", reason)
