"""Images as a feature network sees them: shared among the processes, and kept in the cache where a key is honest."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orthogan import ranks
from orthogan.data.cache import CheckedImages
from orthogan.errors import UserError
from orthogan.features import pretrained
from orthogan.features.pretrained import CHUNK, FeatureNet
from orthogan.metrics import cache, protocol
from orthogan.metrics.sides import Measured

Images = Iterable[Tensor | np.ndarray]
Pixels = np.ndarray | CheckedImages
"""uint8 (N, H, W, 3), read by arrays of indices."""
Progress = Callable[[int], None]
"""Called with the number of images done so far."""


@dataclass(frozen=True)
class ImageSet:
    """So many images of one size, of which each process can have a stretch without the others."""

    count: int
    size: tuple[int, int]
    """Height and width."""
    stretch: Callable[[int, int], Images]
    """Images from the first up to the second index: uint8 (B, H, W, 3), in batches of any size."""
    identity: Mapping[str, Any] | None = None
    """Plain values that decide every pixel, for features to be kept under; None where there are no such."""

    def __iter__(self) -> Iterator[Tensor | np.ndarray]:
        return iter(self.stretch(0, self.count))


def of_array(images: Pixels, chosen: np.ndarray, fingerprint: str) -> ImageSet:
    """The chosen ones of images uint8 (N, H, W, 3), whose fingerprint changes whenever a pixel does."""
    identity = {"fingerprint": fingerprint, "shape": images.shape, "chosen": digest(chosen)}
    size = (images.shape[1], images.shape[2])
    return ImageSet(len(chosen), size, lambda first, last: batches(images, chosen[first:last]), identity)


def digest(numbers: np.ndarray) -> str:
    """Of whole numbers (N,)."""
    return hashlib.blake2b(numbers.astype(np.int64).tobytes(), digest_size=16).hexdigest()


def batches(images: Pixels, indices: np.ndarray) -> Iterator[np.ndarray]:
    """The chosen images of an array, a chunk at a time: a memory-mapped array is never read whole."""
    for start in range(0, len(indices), CHUNK):
        yield images[indices[start : start + CHUNK]]


def measure(images: Images | ImageSet, net: FeatureNet, progress: Progress | None = None) -> Measured:
    """Features and logits of uint8 images (B, H, W, 3), all of one size.

    An `ImageSet` is taken from the cache, or each process measures its share, and they are kept. The first process then
    has all of them, and the others what they have measured. Other images every process measures for itself.
    """
    if not isinstance(images, ImageSet):
        return _measure(images, net, progress)
    place = None if images.identity is None else cache.place(**images.identity, net=protocol.describe_net(net))
    kept = ranks.together(lambda: _kept(place, images, net), here=ranks.is_first())
    if ranks.of_first(lambda: kept is not None):
        return kept or _nothing(images, net)
    first, last = ranks.share(images.count, CHUNK)
    told = progress and (lambda done: progress(min(done * ranks.count(), images.count)))
    own = ranks.together(
        lambda: _measure(images.stretch(first, last), net, told) if last > first else _nothing(images, net)
    )
    assert own is not None
    features, logits = (ranks.gathered(rows, images.count, CHUNK) for rows in (own.features, own.logits))
    if place is not None and ranks.is_first():
        cache.write(place, torch.cat([features, logits], 1))
    return Measured(features, logits, own.size)


def _measure(images: Images, net: FeatureNet, progress: Progress | None) -> Measured:
    parts, size, done = [], None, 0
    for chunk in in_chunks(images, CHUNK):
        here = (chunk.shape[1], chunk.shape[2])
        size = size or here
        parts.append(net(chunk))
        done += len(chunk)
        if progress:
            progress(done)
    if size is None:
        raise UserError("there are no images to score")
    features, logits = (torch.cat(side) for side in zip(*parts, strict=True))
    return Measured(features, logits, size)


def _kept(place: Path | None, images: ImageSet, net: FeatureNet) -> Measured | None:
    found = None if place is None else cache.read(place)
    if found is None or len(found) != images.count or found.shape[1] < net.feature_dim:
        return None
    return Measured(found[:, : net.feature_dim], found[:, net.feature_dim :], images.size)


def _nothing(images: ImageSet, net: FeatureNet) -> Measured:
    """What a process has that had nothing to measure."""
    return Measured(torch.empty(0, net.feature_dim), torch.empty(0, 0), images.size)


def in_chunks(images: Images, size: int) -> Iterator[Tensor]:
    """The same images in batches of `size`, the last perhaps smaller, however they came."""
    held: list[Tensor] = []
    for batch in map(pretrained.as_images, images):
        if held and batch.shape[1:] != held[0].shape[1:]:
            raise UserError(f"images of several sizes: {_by(held[0])} and {_by(batch)}; give all of them one size")
        held.append(batch)
        if sum(map(len, held)) >= size:
            *whole, rest = torch.cat(held).split(size)
            yield from whole
            held = [rest]  # possibly whole too; kept back, so that there is always one to compare sizes with
    if held:
        yield from torch.cat(held).split(size)


def _by(images: Tensor) -> str:
    return f"{images.shape[1]}x{images.shape[2]}"
