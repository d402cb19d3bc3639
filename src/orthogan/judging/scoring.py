"""From a request to scores: the generated side, the real side read as the generator's data were, and their protocol."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from orthogan import model, runtime
from orthogan.data import ImageCache, holding, open_source, pack
from orthogan.data.config import DataConfig, Part
from orthogan.errors import UserError
from orthogan.features.pretrained import FeatureNet
from orthogan.features.weights import OF_DATA
from orthogan.judging.request import Request, is_model
from orthogan.metrics import evaluate, of_data
from orthogan.training import checkpoint

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
    part: Callable[[Part, str], ImageCache] | None = None
    """A part of the images that a generator learnt from, or did not, whole, for a feature network; None of images."""
    seen: str | None = None
    """The pretrained network that the discriminator of the generator looked through."""


def score(request: Request, counting: Counting = silently) -> dict[str, Any]:
    """The dictionary of `metrics.evaluate.evaluate`. Raises `UserError` for what cannot be read or compared."""
    device = runtime.pick_device(request.device)
    generated = _from_model(request, counting) if is_model(request.path) else _from_images(request, counting)
    config, cache, net = _real(request, generated, device, counting)
    with counting("features of real images") as progress:
        scorer = evaluate.Scorer(
            request.features,
            cache.checked,
            cache.fingerprint,
            device,
            weights=request.weights,
            max_real=request.real,
            labels=cache.labels,
            source={"source": config.source, "crop": config.crop, "resize": config.resize} | _part(request),
            net=net,
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


def _real(
    request: Request, generated: Generated, device: torch.device, counting: Counting
) -> tuple[DataConfig, ImageCache, FeatureNet | None]:
    """The real images, how they were read, and the feature network if it is one that was trained on some."""
    if request.own is None or generated.part is None:
        config = real_config(request, generated.data)
        if not request.unconditional:
            config = of_data.data_for(request.features, config)
        cache = _pack(config, generated.resolution, "decoding real images", counting)
        return config, cache, train_features(request.features, cache, device, counting)
    learnt = generated.part("training", request.features)
    net = train_features(request.features, learnt, device, counting)
    cache = learnt if request.own == "training" else generated.part(request.own, request.features)
    return generated.data, cache, net


def _part(request: Request) -> dict[str, Any]:
    return {"part": request.own} if request.own else {}


def train_features(
    name: str, cache: ImageCache, device: torch.device, counting: Counting = silently
) -> FeatureNet | None:
    """The feature network `data` of these real images, trained, and kept; others need nothing."""
    if name != OF_DATA:
        return None
    with counting("training a classifier of the real images") as progress:
        return of_data.load(cache.checked, cache.labels, cache.fingerprint, device, progress)


def part_of(header: checkpoint.Header, part: Part, features: str = "", counting: Counting = silently) -> ImageCache:
    """A part of the images of a run, whole, and with their labels where the feature network learns from them.

    Raises `UserError` if nothing is kept back, and if the data is not that which the checkpoint was trained on.
    """
    data, side = header.config.data, header.config.resolution
    with counting("decoding real images") as progress:
        seen = holding.load(data, side, progress)
        if seen.fingerprint != header.extra.get("data", seen.fingerprint):
            raise UserError(
                f"the data at {data.source!r} is not what the run was trained on: it has changed since; restore it, or "
                "give images by their place"
            )
        whole = of_data.data_for(features, dataclasses.replace(data, random_crop=1.0))
        return seen if part == "training" and whole == data else holding.load(data, side, part=part, read_as=whole)


def _from_model(request: Request, counting: Counting) -> Generated:
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

    def part(which: Part, features: str) -> ImageCache:
        return part_of(loaded.header, which, features, counting)

    return Generated(images, count, loaded.resolution, config.data, stamp, part, config.discriminator.features_seen)


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
    given |= {"random_crop": 1.0, "hold_out": 0.0, "hold_out_seed": 0}  # they are scored whole, and all of them
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
