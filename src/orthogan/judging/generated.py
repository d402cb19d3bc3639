"""What is scored: the images of a generator, or images that lie somewhere."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from orthogan import model, ranks
from orthogan.data import ImageCache
from orthogan.data.config import DataConfig, Part
from orthogan.errors import UserError
from orthogan.judging.counting import Counting
from orthogan.judging.reading import common_size, has_classes, packed, part_of
from orthogan.judging.request import Request
from orthogan.metrics import evaluate
from orthogan.metrics.measuring import ImageSet, digest, of_array
from orthogan.pair import remarks
from orthogan.settings import digest_of_text, to_dict


class Generated(ABC):
    """What is scored: images, how many, and what the protocol says about them."""

    class_names: list[str]
    count: int
    resolution: int
    data: DataConfig
    """How the real images that they should resemble were read."""
    seen: str | None = None
    """The pretrained network that the discriminator of a generator looked through."""
    remarks: tuple[str, ...] = ()
    """What must be said of the networks of a run."""

    def classes(self, real: ImageCache) -> list[int] | None:
        """Of each image, where they are drawn as often as the real images have them; to be given to the rest."""
        return None

    @abstractmethod
    def images(self, classes: list[int] | None) -> ImageSet:
        """To be drawn, or read, by each process for its share."""

    @abstractmethod
    def labels(self, classes: list[int] | None) -> np.ndarray | None:
        """Class (N,) of each among `class_names`; None without classes."""

    @abstractmethod
    def stamp(self, classes: list[int] | None) -> dict[str, Any]:
        """What the protocol says of the images and of their generator, by section."""


def drawn(
    loaded: model.Model,
    count: int,
    *,
    classes: list[int] | None = None,
    truncation: float | None = None,
    form: str = "redraw",
    seed: int,
) -> ImageSet:
    """Samples of a generator, for each process to draw its share of."""
    # One process of each machine collects the statistics; the others find its file.
    ranks.one_a_machine(lambda: loaded.stand(truncation, form))
    how: dict[str, Any] = {"truncation": truncation, "form": form, "seed": seed}
    weights, identity = loaded.identity(truncation, form), None
    if weights is not None:
        chosen = None if classes is None else digest(np.array(classes))
        identity = {"samples_of": weights, "count": count, "classes": chosen, **how}
    return ImageSet(
        count,
        (loaded.resolution, loaded.resolution),
        lambda first, last: loaded.stream(last - first, classes=classes, first=first, **how),
        identity,
    )


class Samples(Generated):
    """Samples of a generator."""

    def __init__(self, request: Request, counting: Counting):
        self.request, self.counting = request, counting
        self.loaded = model.load(request.path, request.device)
        self.config = self.loaded.header.config
        self.count = request.samples or 5000
        self.loaded.check(self.count, None, request.truncation, request.form)
        self.class_names, self.resolution = self.loaded.class_names, self.loaded.resolution
        self.data, self.seen = self.config.data, self.config.discriminator.features_seen
        self.remarks = remarks(self.config)

    def classes(self, real: ImageCache) -> list[int] | None:
        as_data = self.config.fake_classes == "data" and real.n_classes == self.config.n_classes > 0
        return evaluate.classes_like(real.labels, self.count) if as_data else None

    def images(self, classes: list[int] | None) -> ImageSet:
        asked = self.request
        how: dict[str, Any] = {"truncation": asked.truncation, "form": asked.form, "seed": asked.seed}
        return drawn(self.loaded, self.count, classes=classes, **how)

    def labels(self, classes: list[int] | None) -> np.ndarray | None:
        labels = self.loaded.sampler.labels(self.count, classes, self.request.seed) if self.config.n_classes else None
        return None if labels is None else labels.numpy()

    def stamp(self, classes: list[int] | None) -> dict[str, Any]:
        """Asked for after sampling: standing statistics may be computed on the way."""
        facts = {"source": self.request.source} | ({} if classes is None else {"classes": evaluate.AS_DATA})
        run = {"settings": _settings_of(self.config), "run_seed": self.config.seed}
        parent = _parent_of(self.loaded.header.extra)
        generator = self.loaded.describe() | {"seed": self.request.seed} | run | parent
        return {"generated": facts, "generator": generator}

    def part(self, which: Part, features: str) -> ImageCache:
        """A part of the images that the generator learnt from, or did not, whole, for a feature network."""
        return part_of(self.loaded.header, which, features, self.counting)


def _settings_of(config: Any) -> str:
    """A digest that runs share which differ in their seed alone."""
    plain = to_dict(config)
    plain.pop("seed", None)
    return digest_of_text(json.dumps(plain, sort_keys=True), 6)


def _parent_of(extra: Mapping[str, Any]) -> dict[str, str]:
    """Of a branch or a fine-tuned run: a digest of the tensors that it began from, and of what became of them."""
    if (parent := extra.get("parent")) is None:
        return {}
    # Paths move, and what has changed is in the settings, the seed among it.
    facts = {name: value for name, value in parent.items() if name not in ("checkpoint", "changed")}
    return {"parent": digest_of_text(json.dumps(facts, sort_keys=True), 6)}


class Stored(Generated):
    """Images that lie somewhere."""

    data = DataConfig()

    def __init__(self, request: Request, counting: Counting):
        self.request = request
        self.resolution = request.resolution or ranks.of_first(lambda: common_size(request.source))
        unconditional = request.unconditional or not has_classes(request.source)
        config = DataConfig(source=request.source, unconditional=unconditional, skip_bad=request.skip_bad)
        self.cache = packed(config, self.resolution, "decoding generated images", counting)
        self.class_names, there = self.cache.class_names, len(self.cache)
        self.count = request.samples or there
        if self.count > there:
            raise UserError(f"samples={self.count}: {request.source} holds {there} images; ask for as many or fewer")
        self.chosen = evaluate.choose(there, self.count, "scores/generated")

    def images(self, classes: list[int] | None) -> ImageSet:
        return of_array(self.cache.checked, self.chosen, self.cache.fingerprint)

    def labels(self, classes: list[int] | None) -> np.ndarray | None:
        return None if self.cache.labels is None else self.cache.labels[self.chosen]

    def stamp(self, classes: list[int] | None) -> dict[str, Any]:
        facts = {"source": self.request.source, "fingerprint": self.cache.fingerprint, "of": len(self.cache)}
        return {"generated": facts}
