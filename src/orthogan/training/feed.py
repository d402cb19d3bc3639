"""What the updates of a run are fed with: real images and latents, addressed by the images seen, on the device."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from orthogan.config import RunConfig
from orthogan.data import BatchStream, ImageCache
from orthogan.game.latents import sample_latents, uniform_classes
from orthogan.randomness import DEQUANTIZE, Draws, Purposes
from orthogan.training.steps import Batch, Numbers


class Feed:
    """This process's micro-batches of every batch of a run."""

    def __init__(
        self,
        config: RunConfig,
        cache: ImageCache,
        fabric: Fabric,
        augment_numbers: int = 0,
        drops: bool = False,
    ):
        """`augment_numbers` is how many the augmentation needs for an image; `drops`, whether D has drop-out."""
        self.config, self.fabric, self.augment_numbers = config, fabric, augment_numbers
        self.drops = drops
        self.attempt = 0
        self._of_data = None if cache.labels is None else torch.from_numpy(np.array(cache.labels))
        self.stream = BatchStream(cache, config.seed, config.data.mirror, config.resolution)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="orthogan-batches")
        self._ahead: tuple[int, Future[list[tuple[Tensor, Tensor]]]] | None = None

    def close(self) -> None:
        self._reader.shutdown()

    def rows(self, batches: int = 1) -> list[slice]:
        """This process's rows of so many batches joined into one, a slice for each micro-batch.

        A micro-batch is a run of rows that all processes share, so the same images meet in a batch norm whatever the
        number of processes.
        """
        k, world = self.config.accumulate, self.fabric.world_size
        size = batches * self.config.batch // (k * world)
        starts = [(i * world + self.fabric.global_rank) * size for i in range(k)]
        return [slice(start, start + size) for start in starts]

    def draws(self, images: int, batches: int = 1) -> Draws:
        """The random numbers of the update that comes after so many images."""
        config = self.config
        return Draws(config.seed, self.attempt, images, batches * config.batch, self.rows(batches))

    def real(self, images: int) -> list[Batch]:
        """Images (n, 3, R, R) in [-1, 1]; the next batch is read while this one is trained on."""
        if self._ahead is None or self._ahead[0] != images:
            self._ahead = images, self._reader.submit(self._read, images)
        read = self._ahead[1].result()
        following = images + self.config.batch
        self._ahead = following, self._reader.submit(self._read, following)
        noise: list[Tensor | None] = [None] * len(read)
        if self.config.data.dequantize:
            noise = [self._to_device(u) for u in self.draws(images).uniform(DEQUANTIZE, *read[0][0].shape[1:])]
        return [
            (_scale(self._to_device(x).float(), above), self._labels(y))
            for (x, y), above in zip(read, noise, strict=True)
        ]

    def latents(self, purpose: str, images: int, batches: int = 1) -> list[Batch]:
        """Latents (n, dim_z) and classes of so many batches joined into one."""
        draws, g = self.draws(images, batches), self.config.generator
        source, progress = draws.generator(purpose), images / self.config.images
        z = sample_latents(draws.batch, g.dim_z, source, prior=g.latent, progress=progress)
        y = self._classes(draws.batch, source)
        return [(self._to_device(z[rows]), self._labels(y[rows])) for rows in draws.rows]

    def numbers(self, of: Purposes, images: int, fake_batches: int = 1) -> list[Numbers]:
        """What chance decides of an update whose fakes are so many batches, a `Numbers` for each micro-batch."""
        draws, fake_draws, count = self.draws(images), self.draws(images, fake_batches), self.augment_numbers
        found = [
            draws.uniform(of.rules),
            draws.uniform(of.real, count),
            fake_draws.uniform(of.fake, count),
        ]
        if self.drops:
            found += [draws.keys(of.drop_real), fake_draws.keys(of.drop_fake)]
        return [Numbers(*map(self._to_device, micro)) for micro in zip(*found, strict=True)]

    def _read(self, images: int) -> list[tuple[Tensor, Tensor]]:
        return [self.stream.batch(images + rows.start, rows.stop - rows.start) for rows in self.rows()]

    def _classes(self, n: int, source: torch.Generator) -> Tensor:
        if self.config.fake_classes == "data" and self._of_data is not None:
            return self._of_data[torch.randint(len(self._of_data), (n,), generator=source)]
        return uniform_classes(n, max(1, self.config.n_classes), source)

    def _labels(self, y: Tensor) -> Tensor | None:
        return self._to_device(y) if self.config.n_classes else None

    def _to_device(self, x: Tensor) -> Tensor:
        if self.fabric.device.type == "cuda":
            x = x.pin_memory()  # from ordinary memory the copy would be waited for
        return x.to(self.fabric.device, non_blocking=True)


def _scale(x: Tensor, noise: Tensor | None) -> Tensor:
    """Grey values 0 ... 255 to [-1, 1], or, dequantised, to [-1, 1 + 1/128)."""
    return x.div_(127.5).sub_(1) if noise is None else x.add_(noise).div_(128).sub_(1)
