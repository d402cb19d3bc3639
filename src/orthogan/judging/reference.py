"""The real images that others are scored against, and what the protocol says of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orthogan import model
from orthogan.data import ImageCache
from orthogan.data.config import DataConfig
from orthogan.errors import UserError
from orthogan.features.pretrained import FeatureNet
from orthogan.judging.accuracy import fingerprint_of
from orthogan.judging.counting import Counting
from orthogan.judging.generated import Generated
from orthogan.judging.reading import packed, real_config, train_features
from orthogan.judging.request import Request, is_model
from orthogan.metrics import of_data


@dataclass(frozen=True)
class Reference:
    """The real images, and what the protocol says of them beside their fingerprint."""

    cache: ImageCache
    source: dict[str, Any]
    net: FeatureNet | None
    """The feature network, if it is one that was trained on real images."""


def reference(request: Request, generated: Generated, device: torch.device, counting: Counting) -> Reference:
    """What a request says, or by default the images that the generator learnt from. Raises `UserError`."""
    if request.own is not None and generated.part is not None:
        learnt = generated.part("training", request.features)
        net = train_features(request.features, learnt, device, counting)
        cache = learnt if request.own == "training" else generated.part(request.own, request.features)
        return Reference(cache, _source_of(generated.data) | {"part": request.own}, net)
    cache, source = _other(request, generated, counting)
    return Reference(cache, source, train_features(request.features, cache, device, counting))


def _source_of(config: DataConfig) -> dict[str, Any]:
    return {"source": config.source, "crop": config.crop, "resize": config.resize}


def _other(request: Request, generated: Generated, counting: Counting) -> tuple[ImageCache, dict[str, Any]]:
    path = Path(request.against).expanduser()
    if is_model(path):
        return _from_other_model(request, path, generated, counting)
    config = real_config(request, generated.data)
    if not request.unconditional:
        config = of_data.data_for(request.features, config)
    cache = packed(config, generated.resolution, "decoding real images", counting)
    return cache, _source_of(config)


def _from_other_model(
    request: Request, path: Path, generated: Generated, counting: Counting
) -> tuple[ImageCache, dict[str, Any]]:
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
    return cache, {"source": request.against, **loaded.describe(), "seed": seed}
