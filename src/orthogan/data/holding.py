"""The share of the images that is kept back from training, to judge by what the networks have not seen."""

from collections.abc import Iterator

import numpy as np
import torch

from orthogan.data.cache import ImageCache
from orthogan.data.config import DataConfig, Part
from orthogan.data.pack import if_packed, pack
from orthogan.data.parallel import Progress
from orthogan.errors import UserError
from orthogan.randomness import draw

HOLD_OUT = "hold out"


def load(
    config: DataConfig,
    resolution: int,
    progress: Progress | None = None,
    *,
    part: Part = "training",
    read_as: DataConfig | None = None,
) -> ImageCache:
    """A part of the images of `config.source`: what is trained on, or what is kept back from it.

    `read_as` are settings of the same source, such as whole images instead of larger ones to be cropped, to read the
    same images by. Raises `UserError` for what `pack` refuses, and where nothing is kept back.
    """
    cache = pack(config, resolution, progress)
    rows = rows_of(part, cache, config)
    if read_as is not None and read_as != config:
        cache = pack(read_as, resolution, progress)
    return cache if rows is None else cache.part(rows)


def load_if_packed(config: DataConfig, resolution: int) -> ImageCache | None:
    """The images that are trained on, where nothing has to be decoded for them. Raises `UserError` as `load` does."""
    cache = if_packed(config, resolution)
    rows = None if cache is None else rows_of("training", cache, config)
    return cache if cache is None or rows is None else cache.part(rows)


def rows_of(part: Part, cache: ImageCache, config: DataConfig) -> np.ndarray | None:
    """The images of a whole pack that are of the part, int64, rising; None for all of them."""
    if not config.hold_out and part == "training":
        return None
    kept = kept_back(cache.labels, len(cache), config.hold_out, config.hold_out_seed)
    if not len(kept):
        rule = "give more" if config.hold_out else "the run was trained on all images; give --data.hold-out 0.1 to one"
        where = "no class has the two images that it takes" if config.hold_out else "nothing is kept back"
        raise UserError(f"data.hold_out={config.hold_out}: {where}; {rule}")
    return kept if part == "held-out" else np.setdiff1d(np.arange(len(cache)), kept)


def kept_back(labels: np.ndarray | None, count: int, share: float, seed: int) -> np.ndarray:
    """Rows of the images that are kept back: of each class the share, one at least, and never all. int64, rising."""
    if not share:
        return np.arange(0)
    return np.sort(np.concatenate([np.arange(0), *_by_class(labels, count, share, seed)]))


def _by_class(labels: np.ndarray | None, count: int, share: float, seed: int) -> Iterator[np.ndarray]:
    labels = np.zeros(count, np.int64) if labels is None else labels
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        order = torch.randperm(len(rows), generator=draw(seed, HOLD_OUT, int(label))).numpy()
        kept = min(max(1, round(share * len(rows))), len(rows) - 1)
        yield rows[order[:kept]]
