"""Batches addressed by position: which images come next is a function of the seed and of the images seen so far."""

import functools

import numpy as np
import torch

from orthogan.data.cache import ImageCache
from orthogan.randomness import CROP, MIRROR, ORDER, draw


class BatchStream:
    """An endless, stateless stream of shuffled images, every image exactly once an epoch.

    Image number p of a run lies in epoch e = p // N, whose order, flips and crops are drawn from (seed, e). A batch may
    straddle epochs, and any way of slicing a global batch among processes gives the same images.
    """

    def __init__(self, cache: ImageCache, seed: int, mirror: bool, resolution: int | None = None) -> None:
        """Of images larger than `resolution` each showing is so many pixels wide and high, at a random place."""
        self.seed, self.mirror = seed, mirror
        self._images = cache.checked
        self.resolution = resolution or cache.resolution
        self._margin = cache.resolution - self.resolution
        assert self._margin >= 0, "the images are packed at the resolution or above"
        self._labels = cache.labels
        # A batch touches the epoch it is in and perhaps the next; redrawing either for each batch would be slow.
        self._epoch = functools.lru_cache(maxsize=2)(self._draw_epoch)

    def batch(self, position: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The images shown from `position` on.

        Returns uint8 (count, 3, H, W) with channels_last strides, and int64 (count,): labels, or zeros without
        classes. Both are fresh memory.
        """
        index, flip, corner = self._rows(position, count)
        images_nhwc = self._images[index]
        nhwc = torch.from_numpy(images_nhwc if corner is None else self._crop(images_nhwc, corner))
        labels = torch.from_numpy(np.zeros(count, np.int64) if self._labels is None else self._labels[index])
        images = nhwc.permute(0, 3, 1, 2)
        if flip is not None:
            images[flip] = images[flip].flip(3)
        return images, labels

    def _rows(self, position: int, count: int) -> tuple[np.ndarray, torch.Tensor | None, torch.Tensor | None]:
        """Row of each image, int64 (count,); which are mirrored, bool (count,); top and left of crops, (count, 2)."""
        n = len(self._images)
        parts = []
        while count > 0:
            epoch, start = divmod(position, n)
            taken = min(count, n - start)
            parts.append([drawn[start : start + taken] for drawn in self._epoch(epoch)])
            position, count = position + taken, count - taken
        order, flips, *corners = (torch.cat(drawn) for drawn in zip(*parts, strict=True))
        return order.numpy(), flips if self.mirror else None, corners[0] if corners else None

    def _draw_epoch(self, epoch: int) -> list[torch.Tensor]:
        n = len(self._images)
        order = torch.randperm(n, generator=draw(self.seed, ORDER, epoch))
        flips = torch.rand(n, generator=draw(self.seed, MIRROR, epoch)) < 0.5
        if not self._margin:
            return [order, flips]
        return [order, flips, torch.randint(self._margin + 1, (n, 2), generator=draw(self.seed, CROP, epoch))]

    def _crop(self, images_nhwc: np.ndarray, corners: torch.Tensor) -> np.ndarray:
        side = self.resolution
        places = zip(images_nhwc, corners.tolist(), strict=True)
        return np.stack([image[top : top + side, left : left + side] for image, (top, left) in places])
