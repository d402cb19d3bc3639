"""What is scored: the images of a generator, or images that lie somewhere."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from orthogan.settings import to_dict


@dataclass(frozen=True)
class Generated:
    """What is scored: images, how many, and what the protocol says about them afterwards."""

    images: Callable[[ImageCache], ImageSet]
    """From the real images, whose classes they may have."""
    labels: Callable[[ImageCache], np.ndarray | None]
    """Class (N,) of each among `class_names`; None without classes."""
    class_names: list[str]
    count: int
    resolution: int
    data: DataConfig
    """How the real images that they should resemble were read."""
    stamp: Callable[[], dict[str, Any]]
    part: Callable[[Part, str], ImageCache] | None = None
    """A part of the images that a generator learnt from, or did not, whole, for a feature network; None of images."""
    seen: str | None = None
    """The pretrained network that the discriminator of the generator looked through."""
    remarks: tuple[str, ...] = ()
    """What must be said of the networks of the run."""


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


def from_model(request: Request, counting: Counting) -> Generated:
    loaded = model.load(request.path, request.device)
    count, config = request.samples or 5000, loaded.header.config
    facts: dict[str, Any] = {"source": request.source}
    loaded.check(count, None, request.truncation, request.form)

    def classes(real: ImageCache) -> list[int] | None:
        as_data = config.fake_classes == "data" and real.n_classes == config.n_classes > 0
        if as_data:
            facts["classes"] = evaluate.AS_DATA
        return evaluate.classes_like(real.labels, count) if as_data else None

    def images(real: ImageCache) -> ImageSet:
        how: dict[str, Any] = {"truncation": request.truncation, "form": request.form, "seed": request.seed}
        return drawn(loaded, count, classes=classes(real), **how)

    def labels(real: ImageCache) -> np.ndarray | None:
        drawn = loaded.sampler.labels(count, classes(real), request.seed) if config.n_classes else None
        return None if drawn is None else drawn.numpy()

    def stamp() -> dict[str, Any]:
        # Asked for after sampling: standing statistics may have been computed on the way.
        run = {"settings": _settings_of(config), "run_seed": config.seed} | _parent_of(loaded.header.extra)
        return {"generated": facts, "generator": loaded.describe() | {"seed": request.seed} | run}

    def part(which: Part, features: str) -> ImageCache:
        return part_of(loaded.header, which, features, counting)

    names, seen = loaded.class_names, config.discriminator.features_seen
    shape = (count, loaded.resolution)
    return Generated(images, labels, names, *shape, config.data, stamp, part, seen, remarks(config))


def _settings_of(config: Any) -> str:
    """A digest that runs share which differ in their seed alone."""
    plain = to_dict(config)
    plain.pop("seed", None)
    return hashlib.blake2b(repr(plain).encode(), digest_size=6).hexdigest()


def _parent_of(extra: Mapping[str, Any]) -> dict[str, str]:
    """Of a branch or a fine-tuned run: a digest of the tensors that it began from, and of what became of them."""
    if (parent := extra.get("parent")) is None:
        return {}
    # Paths move, and what has changed is in the settings, the seed among it.
    facts = {name: value for name, value in parent.items() if name not in ("checkpoint", "changed")}
    return {"parent": hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=6).hexdigest()}


def from_images(request: Request, counting: Counting) -> Generated:
    resolution = request.resolution or ranks.of_first(lambda: common_size(request.source))
    unconditional = request.unconditional or not has_classes(request.source)
    config = DataConfig(source=request.source, unconditional=unconditional, skip_bad=request.skip_bad)
    cache = packed(config, resolution, "decoding generated images", counting)
    count = request.samples or len(cache)
    if count > len(cache):
        raise UserError(f"samples={count}: {request.source} holds {len(cache)} images; ask for as many or fewer")
    chosen = evaluate.choose(len(cache), count, "scores/generated")
    facts = {"source": request.source, "fingerprint": cache.fingerprint, "of": len(cache)}

    def images(real: ImageCache) -> ImageSet:
        return of_array(cache.checked, chosen, cache.fingerprint)

    def labels(real: ImageCache) -> np.ndarray | None:
        return None if cache.labels is None else cache.labels[chosen]

    def stamp() -> dict[str, Any]:
        return {"generated": facts}

    return Generated(images, labels, cache.class_names, count, resolution, DataConfig(), stamp)
