"""Scores of a run, a checkpoint or images against data."""

import dataclasses
from typing import Any

import numpy as np
import torch

from orthogan import ranks, runtime
from orthogan.features.pretrained import CHUNK
from orthogan.judging.accuracy import accuracies, check_classes
from orthogan.judging.classes import matched
from orthogan.judging.counting import Counting, silently
from orthogan.judging.generated import Samples, Stored
from orthogan.judging.reference import reference
from orthogan.judging.request import Request, is_model
from orthogan.metrics import evaluate
from orthogan.metrics.measuring import ImageSet, measure


def score(request: Request, counting: Counting = silently) -> dict[str, Any]:
    """The dictionary of `metrics.evaluate.evaluate`. Raises `UserError` for what cannot be read or compared.

    Of several processes that have joined (`all_processes`) each must call this; they share the work, and all are given
    the result.
    """
    device = runtime.pick_device(request.device)
    generated = (Samples if is_model(request.path) else Stored)(request, counting)
    found = reference(request, generated, device, counting)
    cache = found.cache
    classes = generated.classes(cache)
    labels, notes = matched(generated.labels(classes), generated.class_names, cache)
    if request.accuracy:
        check_classes(request.source, labels, cache)
    with counting("features of real images") as progress:
        scorer = evaluate.Scorer(
            request.features,
            found.images,
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
    images = generated.images(classes)
    held: np.ndarray | None = None
    if request.accuracy:
        images, held = _held(images, counting)
    with counting("features of generated images") as progress:
        fake = measure(images, scorer.net, lambda done: progress(done, generated.count))
    with counting("scores") as progress:
        of_fake = dataclasses.replace(fake, labels=None if labels is None else torch.from_numpy(labels))
        result = scorer.compare(of_fake, request.seed, resamples=request.resamples, progress=progress)
    if held is not None and labels is not None:
        result = _with(result, accuracies(held, labels, cache, request, device, counting))
    result["notes"] += [*notes, *generated.remarks, *evaluate.partial_to(generated.seen, request.features)]
    for section, facts in generated.stamp(classes).items():
        result["protocol"].setdefault(section, {}).update(facts)
    return result


def _with(result: dict[str, Any], found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """With further entries in its sections."""
    return result | {section: {**result.get(section, {}), **entries} for section, entries in found.items()}


def _held(images: ImageSet, counting: Counting) -> tuple[ImageSet, np.ndarray]:
    """The same images in memory, uint8 (N, H, W, 3): all of them in the first process, in the others their shares."""
    first, last = ranks.share(images.count, CHUNK)

    def own() -> torch.Tensor:
        parts, done = [torch.empty(0, *images.size, 3, dtype=torch.uint8)], 0
        with counting("generating images") as progress:
            for batch in images.stretch(first, last) if last > first else ():
                parts.append(torch.as_tensor(np.asarray(batch)))
                done += len(batch)
                progress(min(done * ranks.count(), images.count), images.count)
        return torch.cat(parts)

    mine = ranks.together(own)
    assert mine is not None
    share = dataclasses.replace(images, stretch=lambda first, last: [mine])
    return share, ranks.gathered(mine, images.count, CHUNK).numpy()
