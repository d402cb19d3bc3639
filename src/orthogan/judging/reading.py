"""The images that scores are over, read as the generator's own were: whole, and in the parts that a run made."""

import dataclasses
from typing import Any

import torch

from orthogan import ranks
from orthogan.data import ImageCache, holding, open_source, pack
from orthogan.data.config import DataConfig, Part
from orthogan.errors import UserError
from orthogan.features.pretrained import FeatureNet
from orthogan.features.weights import OF_DATA
from orthogan.judging.counting import Counting, silently
from orthogan.judging.request import Request
from orthogan.metrics import of_data
from orthogan.training import checkpoint


def part_of(header: checkpoint.Header, part: Part, features: str = "", counting: Counting = silently) -> ImageCache:
    """A part of the images of a run, whole, and with their labels where the feature network learns from them.

    Raises `UserError` if nothing is kept back, and if the data is not that which the checkpoint was trained on.
    """
    data, side = header.config.data, header.config.resolution
    if not data.source:
        raise UserError("the checkpoint names no images that it was trained on; give some by --against DATA")

    def load() -> ImageCache:
        seen = holding.load(data, side, progress)
        if seen.fingerprint != header.extra.get("data", seen.fingerprint):
            raise UserError(
                f"the data at {data.source!r} is not what the run was trained on: it has changed since; restore it, or "
                "give images by their place"
            )
        whole = of_data.data_for(features, dataclasses.replace(data, random_crop=1.0))
        return seen if part == "training" and whole == data else holding.load(data, side, part=part, read_as=whole)

    with counting("decoding real images") as progress:
        return ranks.one_a_machine(load)


def train_features(
    name: str, cache: ImageCache, device: torch.device, counting: Counting = silently
) -> FeatureNet | None:
    """The feature network `data` of these real images, trained, and kept; others need nothing."""
    if name != OF_DATA:
        return None
    with counting("training a classifier of the real images") as progress:
        return of_data.load(cache.checked, cache.labels, cache.fingerprint, device, progress)


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


def has_classes(spec: str) -> bool:
    """Whether generated images can be read with their classes; those that lie half in class folders have none."""
    try:
        return bool(open_source(spec).class_names)
    except UserError:
        return False


def packed(config: DataConfig, resolution: int, what: str, counting: Counting) -> ImageCache:
    with counting(what) as progress:
        return ranks.one_a_machine(lambda: pack(config, resolution, progress))
