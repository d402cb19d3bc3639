"""From a request to scores: the generated side, the real side read as the generator's data were, and their protocol."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orthogan import model, runtime
from orthogan.data import ImageCache, open_source, pack
from orthogan.data.config import DataConfig
from orthogan.errors import UserError
from orthogan.features.pretrained import FeatureNet
from orthogan.features.weights import OF_DATA
from orthogan.judging.accuracy import accuracies, check_classes, fingerprint_of
from orthogan.judging.classes import matched
from orthogan.judging.counting import Counting, silently
from orthogan.judging.request import Request, is_model
from orthogan.metrics import evaluate, of_data
from orthogan.metrics.sides import Measured
from orthogan.settings import to_dict


@dataclass(frozen=True)
class Generated:
    """What is scored: a stream of uint8 (B, H, W, 3), how many, and what the protocol says about them afterwards."""

    images: Callable[[ImageCache], Iterable[Any]]
    """From the real images, whose classes they may have."""
    labels: Callable[[ImageCache], np.ndarray | None]
    """Class (N,) of each among `class_names`; None without classes."""
    class_names: list[str]
    count: int
    resolution: int
    data: DataConfig
    """How the real images that they should resemble were read."""
    stamp: Callable[[], dict[str, Any]]
    seen: str | None = None
    """The pretrained network that the discriminator of the generator looked through."""
    pack: ImageCache | None = None
    """Where they are kept, if they were not made for this."""


@dataclass(frozen=True)
class Reference:
    """The real images, and what the protocol says of them beside their fingerprint."""

    cache: ImageCache
    source: dict[str, Any]


def score(request: Request, counting: Counting = silently) -> dict[str, Any]:
    """The dictionary of `metrics.evaluate.evaluate`. Raises `UserError` for what cannot be read or compared."""
    device = runtime.pick_device(request.device)
    generated = _from_model(request) if is_model(request.path) else _from_images(request, counting)
    reference = _reference(request, generated, counting)
    cache = reference.cache
    labels, notes = matched(generated.labels(cache), generated.class_names, cache)
    if request.accuracy:
        check_classes(request.source, labels, cache)
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
            class_names=cache.class_names,
            source=reference.source,
            progress=lambda done: progress(done, min(request.real, len(cache))),
        )
    held = _held(generated, cache, counting) if request.accuracy else None
    with counting("features of generated images") as progress:
        fake = _measure(generated, cache, held, scorer.net, lambda done: progress(done, generated.count))
    with counting("scores") as progress:
        of_fake = dataclasses.replace(fake, labels=None if labels is None else torch.from_numpy(labels))
        result = scorer.compare(of_fake, request.seed, resamples=request.resamples, progress=progress)
    if held is not None and labels is not None:
        result = _with(result, accuracies(held, labels, cache, request, device, counting))
    result["notes"] += notes + evaluate.partial_to(generated.seen, request.features)
    for section, facts in generated.stamp().items():
        result["protocol"].setdefault(section, {}).update(facts)
    return result


def _with(result: dict[str, Any], found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """With further entries in its sections."""
    return result | {section: {**result.get(section, {}), **entries} for section, entries in found.items()}


def train_features(name: str, cache: ImageCache, device: torch.device, counting: Counting) -> None:
    """Have the feature network `data` of these real images trained, and kept; others need nothing."""
    if name == OF_DATA:
        with counting("training a classifier of the real images") as progress:
            of_data.load(cache.checked, cache.labels, cache.fingerprint, device, progress)


def _measure(
    generated: Generated, cache: ImageCache, held: np.ndarray | None, net: FeatureNet, progress: evaluate.Progress
) -> Measured:
    """The features of generated images; of images that lie in a pack the kept ones, if there are any."""
    if (pack_ := generated.pack) is not None:
        chosen = _chosen(pack_, generated.count)
        return evaluate.measure_kept(pack_.checked, chosen, pack_.fingerprint, net, progress)
    return evaluate.measure(generated.images(cache) if held is None else [held], net, progress)


def _held(generated: Generated, cache: ImageCache, counting: Counting) -> np.ndarray:
    """All generated images at once, uint8 (N, H, W, 3)."""
    parts, done = [], 0
    with counting("generating images") as progress:
        for batch in generated.images(cache):
            parts.append(np.asarray(batch))
            done += len(batch)
            progress(done, generated.count)
    return np.concatenate(parts)


def _from_model(request: Request) -> Generated:
    loaded = model.load(request.path, request.device)
    count, config = request.samples or 5000, loaded.header.config
    facts: dict[str, Any] = {"source": request.source}
    loaded.check(count, None, request.truncation, request.form)

    def classes(real: ImageCache) -> list[int] | None:
        as_data = config.fake_classes == "data" and real.n_classes == config.n_classes > 0
        if as_data:
            facts["classes"] = evaluate.AS_DATA
        return evaluate.classes_like(real.labels, count) if as_data else None

    def images(real: ImageCache) -> Iterable[Any]:
        return loaded.stream(
            count, classes=classes(real), truncation=request.truncation, form=request.form, seed=request.seed
        )

    def labels(real: ImageCache) -> np.ndarray | None:
        drawn = loaded.sampler.labels(count, classes(real), request.seed) if config.n_classes else None
        return None if drawn is None else drawn.numpy()

    def stamp() -> dict[str, Any]:
        # Asked for after sampling: standing statistics may have been computed on the way.
        run = {"settings": _settings_of(config), "run_seed": config.seed}
        return {"generated": facts, "generator": loaded.describe() | {"seed": request.seed} | run}

    seen = config.discriminator.features_seen
    return Generated(images, labels, loaded.class_names, count, loaded.resolution, config.data, stamp, seen)


def _settings_of(config: Any) -> str:
    """A digest that runs share which differ in their seed alone."""
    plain = to_dict(config)
    plain.pop("seed", None)
    return hashlib.blake2b(repr(plain).encode(), digest_size=6).hexdigest()


def _from_images(request: Request, counting: Counting) -> Generated:
    resolution = request.resolution or common_size(request.source)
    unconditional = request.unconditional or not _has_classes(request.source)
    config = DataConfig(source=request.source, unconditional=unconditional, skip_bad=request.skip_bad)
    cache = _pack(config, resolution, "decoding generated images", counting)
    count = request.samples or len(cache)
    if count > len(cache):
        raise UserError(f"samples={count}: {request.source} holds {len(cache)} images; ask for as many or fewer")
    chosen = _chosen(cache, count)
    facts = {"source": request.source, "fingerprint": cache.fingerprint, "of": len(cache)}

    def images(real: ImageCache) -> Iterable[Any]:
        return evaluate.batches(cache.checked, chosen)

    def labels(real: ImageCache) -> np.ndarray | None:
        return None if cache.labels is None else cache.labels[chosen]

    def stamp() -> dict[str, Any]:
        return {"generated": facts}

    return Generated(images, labels, cache.class_names, count, resolution, DataConfig(), stamp, pack=cache)


def _chosen(cache: ImageCache, count: int) -> np.ndarray:
    return evaluate.choose(len(cache), count, "scores/generated")


def _has_classes(spec: str) -> bool:
    """Whether generated images can be read with their classes; those that lie half in class folders have none."""
    try:
        return bool(open_source(spec).class_names)
    except UserError:
        return False


def _reference(request: Request, generated: Generated, counting: Counting) -> Reference:
    path = Path(request.against).expanduser()
    if is_model(path):
        return _reference_model(request, path, generated, counting)
    config = real_config(request, generated.data)
    if not request.unconditional:
        config = of_data.data_for(request.features, config)
    cache = _pack(config, generated.resolution, "decoding real images", counting)
    return Reference(cache, {"source": config.source, "crop": config.crop, "resize": config.resize})


def _reference_model(request: Request, path: Path, generated: Generated, counting: Counting) -> Reference:
    """Images of another generator in the place of real ones, by the next seed: as many, untruncated."""
    loaded, count, seed = model.load(path, request.device), min(request.real, generated.count), request.seed + 1
    if loaded.resolution != generated.resolution:
        raise UserError(
            f"against={request.against!r}: its images have {loaded.resolution} pixels a side, those of "
            f"{request.source} {generated.resolution}; only images of one size can be compared"
        )
    parts, done = [], 0
    with counting("generating the images to compare with") as progress:
        for batch in loaded.stream(count, seed=seed):
            parts.append(batch.numpy())
            done += len(batch)
            progress(done, count)
    images = np.concatenate(parts)
    drawn = None if request.unconditional else loaded.sampler.labels(count, None, seed)
    labels = None if drawn is None else drawn.numpy()
    names = [] if labels is None else loaded.class_names or [str(i) for i in range(loaded.n_classes)]
    fingerprint = fingerprint_of(images, labels)
    cache = ImageCache(images, labels, names, fingerprint, [], request.against, path)
    return Reference(cache, {"source": request.against, **loaded.describe(), "seed": seed})


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
