"""The real images that others are scored against, and what the protocol says of them."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from orthogan import model
from orthogan.data import ImageCache
from orthogan.data.config import DataConfig
from orthogan.errors import UserError
from orthogan.features.pretrained import FeatureNet
from orthogan.judging.counting import Counting
from orthogan.judging.generated import Generated, Samples, drawn
from orthogan.judging.reading import packed, real_config, train_features
from orthogan.judging.request import Request, is_model
from orthogan.metrics import of_data
from orthogan.metrics.measuring import ImageSet, Pixels
from orthogan.settings import digest_of_text


@dataclass(frozen=True)
class Reference:
    """The real images, and what the protocol says of them beside their fingerprint."""

    cache: ImageCache
    images: Pixels | ImageSet
    """Its images, to be measured."""
    source: dict[str, Any]
    net: FeatureNet | None
    """The feature network, if it is one that was trained on real images."""


def reference(request: Request, generated: Generated, device: torch.device, counting: Counting) -> Reference:
    """What a request says, or by default the images that the generator learnt from. Raises `UserError`."""
    if request.own is not None and isinstance(generated, Samples):
        learnt = generated.part("training", request.features)
        net = train_features(request.features, learnt, device, counting)
        cache = learnt if request.own == "training" else generated.part(request.own, request.features)
        return Reference(cache, cache.checked, _source_of(generated.data) | {"part": request.own}, net)
    path = Path(request.against).expanduser()
    if is_model(path):
        cache, images, source = _other_model(request, path, generated)
        return Reference(cache, images, source, train_features(request.features, cache, device, counting))
    cache, source = _other(request, generated, counting)
    return Reference(cache, cache.checked, source, train_features(request.features, cache, device, counting))


def _source_of(config: DataConfig) -> dict[str, Any]:
    return {"source": config.source, "crop": config.crop, "resize": config.resize}


def _other(request: Request, generated: Generated, counting: Counting) -> tuple[ImageCache, dict[str, Any]]:
    config = real_config(request, generated.data)
    if not request.unconditional:
        config = of_data.data_for(request.features, config)
    cache = packed(config, generated.resolution, "decoding real images", counting)
    return cache, _source_of(config)


def _other_model(request: Request, path: Path, generated: Generated) -> tuple[ImageCache, ImageSet, dict[str, Any]]:
    """Images of another generator in the place of real ones, by the next seed: as many, untruncated."""
    loaded, count, seed = model.load(path, request.device), min(request.real, generated.count), request.seed + 1
    if loaded.resolution != generated.resolution:
        raise UserError(
            f"against={request.against!r}: its images have {loaded.resolution} pixels a side, those of "
            f"{request.source} {generated.resolution}; only images of one size can be compared"
        )
    images = drawn(loaded, count, seed=seed)
    labels = None if request.unconditional else loaded.sampler.labels(count, None, seed)
    names = [] if labels is None else loaded.class_names or [str(i) for i in range(loaded.n_classes)]
    facts = [loaded.weights_digest(), count, seed, labels is not None]
    fingerprint = digest_of_text(repr(facts))
    cache = ImageCache(
        cast(np.ndarray, OnDemand(images)),
        None if labels is None else labels.numpy(),
        names,
        fingerprint,
        [],
        request.against,
        path,
    )
    return cache, images, {"source": request.against, **loaded.describe(), "seed": seed}


class OnDemand:
    """An array of images uint8 (N, H, W, 3) that are drawn when it is first looked into, by few who need pixels."""

    dtype = np.dtype(np.uint8)

    def __init__(self, images: ImageSet):
        self._images = images
        self.shape = (images.count, *images.size, 3)

    def __len__(self) -> int:
        return self._images.count

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self._whole

    @functools.cached_property
    def _whole(self) -> np.ndarray:
        return np.concatenate([np.asarray(batch) for batch in self._images.stretch(0, len(self))])
