"""What to do next with a run: a few commands, each with its reason. They follow stated rules."""

import shlex
from dataclasses import dataclass

from orthogan import presets
from orthogan.config import may_change_on_resume
from orthogan.files import free_beside
from orthogan.page import repeat, short, troubles, verdict
from orthogan.page.numbers import number
from orthogan.page.read import Facts
from orthogan.page.troubles import Trouble
from orthogan.training import advice
from orthogan.training.checkpoint import BEST

MOST = 3
FIRM = 5_000
"""Generated images, below which scores are rough: what `orthogan evaluate` takes if nothing is said."""


@dataclass(frozen=True)
class Step:
    """What to do, why, and how."""

    why: str
    words: list[str]

    @property
    def command(self) -> str:
        return shlex.join(["orthogan", *self.words])


def steps(facts: Facts) -> list[Step]:
    """The most pressing first."""
    trouble = troubles.of_run(facts)
    found = [
        *(_after(facts, trouble) if trouble else []),
        *_going(facts),
        *_score(facts),
        *_best(facts),
        *([] if trouble else _longer(facts)),
        *_firmer(facts),
        *([] if trouble else _otherwise(facts)),
        *_memory(facts),
        *_use(facts),
    ]
    return found[:MOST]


def _after(facts: Facts, trouble: Trouble) -> list[Step]:
    """A branch from before the first sign, with the first advice that fits."""
    changes = advice.settings([name for name in trouble.advice if name in advice.ADVICE], facts.config)
    words = [word for path, value in changes.items() for word in repeat.option(path, value)]
    told = next((advice.ADVICE[name].text for name in trouble.advice if name in advice.ADVICE), "other settings")
    good = [images for images in facts.saved if trouble.before is not None and images <= trouble.before]
    if good:
        out = ["--out", str(free_beside(facts.folder, "branch"))]
        why = f"Train on from {good[-1]:,} images, before the first sign of trouble, with {told}"
        return [Step(why, ["branch", str(facts.folder), "--at", str(good[-1]), *out, *words])]
    begun = repeat.begin_words(facts, changes)
    out = ["--out", str(free_beside(facts.folder, "again"))]
    return [Step(f"Begin again with {told}", [*begun, *out])] if begun else []


def _going(facts: Facts) -> list[Step]:
    if facts.finished or (facts.ended and troubles.of_run(facts)):
        return []
    if facts.ended or facts.silent:
        return [Step("Go on with the training, from where it stopped", ["resume", str(facts.folder)])]
    return [Step("Wait: it is still training. This keeps the page fresh", ["report", str(facts.folder), "--watch"])]


def _score(facts: Facts) -> list[Step]:
    """Where there is none, or the newest is of an older generator."""
    last = verdict.newest(facts.scores)
    words = ["evaluate", str(facts.folder)]
    if facts.saved_images is None:
        return []
    if last is None:
        return [Step("Measure how good it is", words)]
    if facts.ended and (last.images or 0) < facts.saved_images:
        return [Step(f"Score it as it is now: the scores are of {last.images or 0:,} images", words)]
    return []


def _firmer(facts: Facts) -> list[Step]:
    """Where the scores are of its last generator, but of few images."""
    last = verdict.newest(facts.scores)
    if not facts.ended or not last or (last.images or 0) < (facts.saved_images or 0):
        return []
    count = last.generated or FIRM
    why = f"Score it again with more samples: {count:,} give rough numbers"
    return [Step(why, ["evaluate", str(facts.folder)])] if count < FIRM else []


def _best(facts: Facts) -> list[Step]:
    """An earlier generator was better, and is there."""
    best = facts.folder / "checkpoints" / BEST
    rows = short.distances(facts)
    if short.trend(facts) != "worse" or not best.is_file():
        return []
    images, value = min(rows, key=lambda row: row[1])
    why = f"Look at its best checkpoint (Fréchet distance {number(value)} at {images:,} images)"
    return [Step(why, ["sample", str(best), "-n", "64", "--out", "samples"])]


def _longer(facts: Facts) -> list[Step]:
    """A run that is shorter than its preset, or that was getting better to its end, and may go on."""
    kind = verdict.of_run(facts).kind
    if not facts.finished or kind == "good" or "images" not in may_change_on_resume(facts.config):
        return []
    planned = presets.get(facts.preset).images if facts.preset in presets.PRESETS else 0
    if facts.config.images < planned:
        why = f"Train on: the preset {facts.preset} is made for {planned:,} images, not {facts.images:,}"
        return [Step(why, ["resume", str(facts.folder), "--images", str(planned)])]
    if short.trend(facts) == "falling":
        why = "Train on: it was still getting better at its end"
        return [Step(why, ["resume", str(facts.folder), "--images", str(2 * facts.config.images)])]
    return []


def _otherwise(facts: Facts) -> list[Step]:
    """A full run that is not good and does not get better."""
    if not facts.finished or verdict.of_run(facts).kind != "bad" or _longer(facts):
        return []
    return [Step("Look for what is wrong with the images", ["data", "inspect", facts.config.data.source])]


def _memory(facts: Facts) -> list[Step]:
    kept = facts.config.data.hold_out > 0 and facts.saved_images is not None
    if not kept or facts.memorization or verdict.of_run(facts).kind == "bad":
        return []
    return [Step("See whether it copies its training images", ["memorization", str(facts.folder)])]


def _use(facts: Facts) -> list[Step]:
    if facts.saved_images is None or verdict.of_run(facts).kind in ("bad", "unknown"):
        return []
    return [Step("Draw images with it", ["sample", str(facts.folder), "-n", "64", "--out", "samples"])]
