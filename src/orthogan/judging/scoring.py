"""Scores of a run, a checkpoint or images against data."""

import dataclasses
from typing import Any

import numpy as np
import torch

from orthogan import runtime
from orthogan.data import ImageCache
from orthogan.features.pretrained import FeatureNet
from orthogan.judging.accuracy import accuracies, check_classes
from orthogan.judging.classes import matched
from orthogan.judging.counting import Counting, silently
from orthogan.judging.generated import Generated, chosen_of, from_images, from_model
from orthogan.judging.reference import reference
from orthogan.judging.request import Request, is_model
from orthogan.metrics import evaluate
from orthogan.metrics.sides import Measured


def score(request: Request, counting: Counting = silently) -> dict[str, Any]:
    """The dictionary of `metrics.evaluate.evaluate`. Raises `UserError` for what cannot be read or compared."""
    device = runtime.pick_device(request.device)
    generated = from_model(request, counting) if is_model(request.path) else from_images(request, counting)
    found = reference(request, generated, device, counting)
    cache = found.cache
    labels, notes = matched(generated.labels(cache), generated.class_names, cache)
    if request.accuracy:
        check_classes(request.source, labels, cache)
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
            source=found.source,
            net=found.net,
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


def _measure(
    generated: Generated, cache: ImageCache, held: np.ndarray | None, net: FeatureNet, progress: evaluate.Progress
) -> Measured:
    """The features of generated images; of images that lie in a pack the kept ones, if there are any."""
    if (pack_ := generated.pack) is not None:
        chosen = chosen_of(pack_, generated.count)
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
