"""Batches addressed by position: which images come next is a function of the seed and of the images seen so far."""

import functools

import numpy as np
import torch

from orthogan.data.cache import ImageCache
from orthogan.randomness import draw


class BatchStream:
    """An endless, stateless stream of shuffled images, every image exactly once an epoch.

    Image number p of a run lies in epoch e = p // N, whose order and flips are drawn from (seed, e). A batch may
    straddle epochs, and any way of slicing a global batch among processes gives the same images.
    """

    def __init__(self, cache: ImageCache, seed: int, mirror: bool) -> None:
        self.seed, self.mirror = seed, mirror
        self._images = np.asarray(cache.images)  # the mapping without the subclass, whose slices cost more
        self._labels = cache.labels
        # A batch touches the epoch it is in and perhaps the next; redrawing either for each batch would be slow.
        self._epoch = functools.lru_cache(maxsize=2)(self._draw_epoch)

    def batch(self, position: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The images shown from `position` on.

        Returns uint8 (count, 3, H, W) with channels_last strides, and int64 (count,): labels, or zeros without
        classes. Both are fresh memory.
        """
        index, flip = self._rows(position, count)
        nhwc = torch.from_numpy(np.take(self._images, index, axis=0))
        labels = torch.from_numpy(np.zeros(count, np.int64) if self._labels is None else self._labels[index])
        images = nhwc.permute(0, 3, 1, 2)
        if flip is not None:
            images[flip] = images[flip].flip(3)
        return images, labels

    def _rows(self, position: int, count: int) -> tuple[np.ndarray, torch.Tensor | None]:
        """Row of each image, int64 (count,), and which of them are mirrored, bool (count,)."""
        n = len(self._images)
        parts = []
        while count > 0:
            epoch, start = divmod(position, n)
            taken = min(count, n - start)
            parts.append(tuple(drawn[start : start + taken] for drawn in self._epoch(epoch)))
            position, count = position + taken, count - taken
        index = torch.cat([order for order, _ in parts]).numpy()
        return index, torch.cat([flips for _, flips in parts]) if self.mirror else None

    def _draw_epoch(self, epoch: int) -> tuple[torch.Tensor, torch.Tensor]:
        n = len(self._images)
        order = torch.randperm(n, generator=draw(self.seed, "order", epoch))
        flips = torch.rand(n, generator=draw(self.seed, "mirror", epoch)) < 0.5
        return order, flips
