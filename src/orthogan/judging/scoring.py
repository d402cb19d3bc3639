"""From a request to scores: the generated side, the real side read as the generator's data were, and their protocol."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from orthogan import model, runtime
from orthogan.data import ImageCache, open_source, pack
from orthogan.data.config import DataConfig
from orthogan.errors import UserError
from orthogan.features.weights import OF_DATA
from orthogan.judging.request import Request, is_model
from orthogan.metrics import evaluate, of_data

Count = Callable[[int, int], None]
"""Called with (done, total)."""
Counting = Callable[[str], AbstractContextManager[Count]]
"""Given what is counted, a context whose value is called as the work goes on."""


@contextmanager
def silently(what: str) -> Iterator[Count]:
    """Counts nothing."""
    yield lambda done, total: None


@dataclass(frozen=True)
class Generated:
    """What is scored: a stream of uint8 (B, H, W, 3), how many, and what the protocol says about them afterwards."""

    images: Callable[[ImageCache], Iterable[Any]]
    """From the real images, whose classes they may have."""
    count: int
    resolution: int
    data: DataConfig
    """How the real images that they should resemble were read."""
    stamp: Callable[[], dict[str, Any]]
    seen: str | None = None
    """The pretrained network that the discriminator of the generator looked through."""


def score(request: Request, counting: Counting = silently) -> dict[str, Any]:
    """The dictionary of `metrics.evaluate.evaluate`. Raises `UserError` for what cannot be read or compared."""
    device = runtime.pick_device(request.device)
    generated = _from_model(request) if is_model(request.path) else _from_images(request, counting)
    config = real_config(request, generated.data)
    if not request.unconditional:
        config = of_data.data_for(request.features, config)
    cache = _pack(config, generated.resolution, "decoding real images", counting)
    train_features(request.features, cache, device, counting)
    with counting("features of real images") as progress:
        scorer = evaluate.Scorer(
            request.features,
            cache.checked,
            cache.fingerprint,
            device,
            weights=request.weights,
            max_real=request.real,
            labels=cache.labels,
            source={"source": config.source, "crop": config.crop, "resize": config.resize},
            progress=lambda done: progress(done, min(request.real, len(cache))),
        )
    with counting("features of generated images") as progress:
        result: dict[str, Any] = scorer.score(
            generated.images(cache), request.seed, progress=lambda done: progress(done, generated.count)
        )
    result["notes"] += evaluate.partial_to(generated.seen, request.features)
    for section, facts in generated.stamp().items():
        result["protocol"].setdefault(section, {}).update(facts)
    return result


def train_features(name: str, cache: ImageCache, device: torch.device, counting: Counting) -> None:
    """Have the feature network `data` of these real images trained, and kept; others need nothing."""
    if name == OF_DATA:
        with counting("training a classifier of the real images") as progress:
            of_data.load(cache.checked, cache.labels, cache.fingerprint, device, progress)


def _from_model(request: Request) -> Generated:
    loaded = model.load(request.path, request.device)
    count, config = request.samples or 5000, loaded.header.config
    facts: dict[str, Any] = {"source": request.source}
    loaded.check(count, None, request.truncation, request.form)

    def images(real: ImageCache) -> Iterable[Any]:
        as_data = config.fake_classes == "data" and real.n_classes == config.n_classes > 0
        classes = evaluate.classes_like(real.labels, count) if as_data else None
        if as_data:
            facts["classes"] = evaluate.AS_DATA
        return loaded.stream(
            count, classes=classes, truncation=request.truncation, form=request.form, seed=request.seed
        )

    def stamp() -> dict[str, Any]:
        # Asked for after sampling: standing statistics may have been computed on the way.
        return {"generated": facts, "generator": loaded.describe() | {"seed": request.seed}}

    return Generated(images, count, loaded.resolution, config.data, stamp, config.discriminator.features_seen)


def _from_images(request: Request, counting: Counting) -> Generated:
    resolution = request.resolution or common_size(request.source)
    config = DataConfig(source=request.source, unconditional=True, skip_bad=request.skip_bad)
    cache = _pack(config, resolution, "decoding generated images", counting)
    count = request.samples or len(cache)
    if count > len(cache):
        raise UserError(f"samples={count}: {request.source} holds {len(cache)} images; ask for as many or fewer")
    chosen = evaluate.choose(len(cache), count, "scores/generated")
    facts = {"source": request.source, "fingerprint": cache.fingerprint, "of": len(cache)}

    def images(real: ImageCache) -> Iterable[Any]:
        return evaluate.batches(cache.checked, chosen)

    return Generated(images, count, resolution, DataConfig(), lambda: {"generated": facts})


def real_config(request: Request, learnt_from: DataConfig) -> DataConfig:
    """How the real images are read: as those that the generator learnt from, unless told otherwise."""
    given: dict[str, Any] = {"source": request.against, "crop": request.crop, "resize": request.resize}
    given["random_crop"] = 1.0  # they are scored whole
    given |= {"unconditional": request.unconditional or None, "skip_bad": request.skip_bad or None}
    return dataclasses.replace(learnt_from, **{name: value for name, value in given.items() if value is not None})


def common_size(spec: str) -> int:
    """The side of the images, if all are squares of one size. Raises UserError when they are not."""
    source = open_source(spec, True)
    sizes = set()
    for index in range(len(source)):
        try:
            with source.read(index) as image:
                sizes.add(image.size)
        except Exception:
            continue  # an unreadable image: listed with the others when they are decoded
    (width, height), *others = sorted(sizes) or [(0, 1)]
    if others or width != height:
        found = ", ".join(f"{w}x{h}" for w, h in sorted(sizes)[:4]) + (", ..." if len(sizes) > 4 else "")
        raise UserError(
            f"{spec}: the images are not squares of one size ({found or 'none is readable'}); "
            "give the side to score them at with --resolution"
        )
    return int(width)


def _pack(config: DataConfig, resolution: int, what: str, counting: Counting) -> ImageCache:
    with counting(what) as progress:
        return pack(config, resolution, progress)
