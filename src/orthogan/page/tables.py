"""Scores as rows of tables: their names, values with intervals, and what they say."""

from collections.abc import Sequence

from orthogan.metrics.titles import TITLES, better, short
from orthogan.page.numbers import number
from orthogan.page.read import Score

MEANINGS = {
    "frechet_distance": "how far the samples as a whole are from the real images; it has no scale of its own",
    "kernel_distance": "the same, measured in another way; near 0 means alike",
    "clip_mmd": "the same, as an image model that knows language sees it",
    "classifier_score": "how clearly each sample shows one thing, and how many different things there are",
    "precision": "share of the samples that pass for real images",
    "recall": "share of the real images that have something like them among the samples",
    "density": "how densely the samples lie where real images are; 1 is as dense as those",
    "coverage": "share of the real images that have a sample very near them",
    "intra_frechet_distance": "the Fréchet distance class by class, averaged",
    "class_diversity": "how varied the samples of a class are; 1 is as varied as its real images",
    "conditional_accuracy": "share of the samples that a classifier recognises as the class they should be",
    "classification_accuracy_score": "share of real images that a classifier knows which learnt from samples alone",
}
"""Of the scores, in plain words."""


def protocol_of(score: Score) -> str:
    """How a score was taken, for the caption of a table."""
    counts = [f"{count:,}" if count else "?" for count in (score.generated, score.real)]
    cut = "" if score.truncation is None else f", truncated at {score.truncation}"
    return f"{counts[0]} samples{cut} against {counts[1]} real images, by {score.network}"


def about(score: Score) -> str:
    """That, and of which moment of the training."""
    return protocol_of(score) + (f", after {score.images:,} images of training" if score.images else "")


def score_row(score: Score, name: str) -> str:
    """A value with its interval, or with its deviation over subsets."""
    if name not in score.values:
        return "–"
    told = number(score.values[name])
    if name in score.intervals:
        low, high = score.intervals[name]
        return f"{told} ({number(low)} to {number(high)})"
    spread = score.values.get(f"{name}_std")
    return f"{told} ± {spread:.2g}" if spread else told


def score_names(scores: Sequence[Score]) -> list[str]:
    """The scores that any of them has, those with a title first."""
    present = dict.fromkeys(name for score in scores for name in score.values if not name.endswith("_std"))
    return [name for name in TITLES if name in present] + [name for name in present if name not in TITLES]


def row_of(score: Score, name: str) -> tuple[str, str, str, str]:
    """What a table says of one score: its name, its value, which way is better, and what it says."""
    if name not in TITLES:
        return name.replace("_", " "), score_row(score, name), "", ""
    return short(name, score.network), score_row(score, name), better(name), MEANINGS[name]
