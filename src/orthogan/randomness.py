"""Randomness that is addressed, never inherited.

Every draw of a run (latents, labels, data order, flips) comes from a generator named by what it is for and by where
the run is. A resumed run therefore redraws exactly what an uninterrupted one would have drawn, any number of
processes share one global batch, and nothing about randomness has to be stored.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

WEIGHTS = "weights"
ORDER, MIRROR, CROP = "order", "mirror", "crop"
DEQUANTIZE = "dequantize"
LATENTS_OF_D, LATENTS_OF_G = "latents of D", "latents of G"
SAMPLE, CLASS, STANDING = "sample", "class", "standing"
FEATURES = "features"
"""What draws are for. A purpose is part of the address: renaming one changes every run."""


class Purposes(NamedTuple):
    """Of the numbers of one update."""

    rules: str
    real: str
    """Augmentation of the real images."""
    fake: str
    """Augmentation of the fakes."""
    drop_real: str
    """Drop-out in D on the real images."""
    drop_fake: str
    """Drop-out in D on the fakes."""


OF_D = Purposes("mix", "augment real of D", "augment fake of D", "drop real of D", "drop fake of D")
OF_G = Purposes("rules of G", "augment real of G", "augment fake of G", "drop real of G", "drop fake of G")


def draw(seed: int, purpose: str, position: int, attempt: int = 0) -> torch.Generator:
    """A CPU generator fixed by (seed, purpose, position), the same in every process and on every machine.

    `position` is what the purpose counts in: real images seen, an epoch, the index of a sample. `attempt` is 0 until a
    run is rolled back: with the same draws it would take the same steps again, bit for bit.
    """
    again = f"/{attempt}" if attempt else ""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{position}{again}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


@dataclass(frozen=True)
class Draws:
    """The random numbers of one update, for the whole batch: each process takes its own rows of them.

    So neither a resume nor the number of processes or micro-batches changes what a row gets.
    """

    seed: int
    attempt: int
    images: int
    """Real images shown before the update."""
    batch: int
    """Rows of the whole batch, over all processes and micro-batches."""
    rows: Sequence[slice]
    """Those of this process, a slice for each micro-batch."""

    def generator(self, purpose: str) -> torch.Generator:
        """For whatever is drawn in another way; draw for the whole batch, and take `rows`."""
        return draw(self.seed, purpose, self.images, self.attempt)

    def uniform(self, purpose: str, *shape: int) -> list[Tensor]:
        """Numbers in [0, 1), (n, *shape) for each micro-batch of n rows, on the CPU."""
        return self._sliced(torch.rand, purpose, shape)

    def normal(self, purpose: str, *shape: int) -> list[Tensor]:
        """N(0, 1), (n, *shape) for each micro-batch of n rows, on the CPU."""
        return self._sliced(torch.randn, purpose, shape)

    def keys(self, purpose: str) -> list[Tensor]:
        """Whole numbers (n,), int64, for each micro-batch of n rows, that others are hashed from, on the CPU."""
        return self._sliced(partial(torch.randint, 2**62), purpose, ())

    def _sliced(self, sample: Callable[..., Tensor], purpose: str, shape: tuple[int, ...]) -> list[Tensor]:
        whole = sample((self.batch, *shape), generator=self.generator(purpose))
        return [whole[rows] for rows in self.rows]
