"""What `orthogan memorization` found, in words: whether the networks have learnt training images by heart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orthogan.page.meaning import Measure, Sentence
from orthogan.page.numbers import is_number
from orthogan.settings import flatten

PARTS = {
    "training": "training images, which it has learnt from",
    "held_out": "held-out images, which it has never seen",
    "generated": "generated images",
}
SPACES = {"features": "by features", "pixels": "by pixels"}
CHANCE = 0.5
MUCH = 0.75
"""Share of pairs, from which D is said to know its training images."""


@dataclass(frozen=True)
class Answer:
    """One file, in the pieces that a page shows."""

    file: str
    images: int | None
    """Images seen by the networks that were asked."""
    real: list[Measure]
    """Share of images of each kind that D takes for real; empty under a loss whose logits alone say nothing."""
    pairs: Measure
    """How often D rates a training image above a held-out one."""
    closer: list[Measure]
    """Share of generated and of held-out images that are very close to a training image."""
    of_discriminator: Sentence
    """Whether it knows its training images."""
    of_generator: list[Sentence]
    """Whether it copies them."""
    notes: list[str]
    settings: list[tuple[str, Any]]
    """Its protocol by path."""


def as_answer(file: str, values: Mapping[str, Any]) -> Answer | None:
    """The pieces of a result; None for what is none."""
    try:
        return _answer(file, values)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _answer(file: str, values: Mapping[str, Any]) -> Answer:
    said, spaces, protocol = values["discriminator"], values["neighbours"], values["protocol"]
    seen = protocol["generator"].get("images_seen")
    pairs = _measure("training image rated above a held-out one", said["separation"], "auc")
    if pairs is None or not isinstance(protocol, dict):
        raise ValueError("an AUC is always there")
    real = [_measure(told, said[name], "share_real") for name, told in PARTS.items()]
    closer = {
        (space, name): _measure(f"{told}, {SPACES[space]}", spaces[space][name], "share_closer")
        for space in SPACES
        for name, told in (("generated", "generated images"), ("held_out", "held-out images"))
    }
    generated = spaces["pixels"]["generated"]
    return Answer(
        file=file,
        images=int(seen) if is_number(seen) else None,
        real=[one for one in real if one],
        pairs=pairs,
        closer=[one for one in closer.values() if one],
        of_discriminator=_of_discriminator(pairs),
        of_generator=[
            _of_copies(int(generated["copies"]), int(generated["images"])),
            *_of_closeness(closer["features", "generated"], closer["features", "held_out"]),
        ],
        notes=[str(note) for note in values.get("notes", [])],
        settings=list(flatten(protocol).items()),
    )


def _measure(label: str, values: Mapping[str, Any], name: str) -> Measure | None:
    """A share with its interval; None where there is none."""
    value, ends = values[name], values.get(f"{name}_interval")
    if value is None:
        return None
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} is no share")
    known = isinstance(ends, list) and len(ends) == 2 and all(map(is_number, ends))
    return Measure(label, float(value), (float(ends[0]), float(ends[1])) if known and ends else None)


def _of_discriminator(pairs: Measure) -> Sentence:
    """50 % is what a coin would do."""
    low = pairs.interval[0] if pairs.interval else pairs.value
    told = (
        f"Of a training and a held-out image, the discriminator takes the training image for the more real one "
        f"{pairs.value:.0%} of the time (a coin: 50%): "
    )
    if low <= CHANCE:
        return Sentence("good", f"{told}no sign that it knows them by heart.")
    if pairs.value < MUCH:
        return Sentence("fact", f"{told}it remembers some of its training images.")
    return Sentence("warning", f"{told}it knows many of its training images by heart.")


def _of_copies(copies: int, count: int) -> Sentence:
    if copies:
        return Sentence("warning", f"{copies} of {count} generated images are copies of training images.")
    return Sentence("good", f"None of {count} generated images is a copy, pixel by pixel, of a training image.")


def _of_closeness(generated: Measure | None, held_out: Measure | None) -> list[Sentence]:
    """Held-out images are real ones that cannot be copies: what is closer than they are is suspicious."""
    if generated is None or held_out is None:
        return []
    told = (
        f"{generated.told} of the generated images come very close to a training image, by features; "
        f"{held_out.told} of real images that were never trained on do: "
    )
    above = (generated.interval or (generated.value,))[0] > (held_out.interval or (held_out.value,))[-1]
    if above:
        return [Sentence("warning", f"{told}look below whether the generator copies.")]
    return [Sentence("good", f"{told}no sign that the generator copies.")]
