"""Batches whose equal parts are kept apart by what acts across images: batch norms, the deviation of a minibatch.

A discriminator can then judge real and fake images in one forward, as if they had come one after another.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Coupling(nn.Module):
    """A module in which the images of a batch act on one another: `couple`."""

    parts = 1
    """Equal parts of a batch, one after another in it, that do not act on one another: see `apart`."""

    def couple(self, x: Tensor) -> Tensor:
        """What the module does with the images (N, C, H, W) of one part."""
        raise NotImplementedError

    def couple_parts(self, x: Tensor) -> Tensor:
        """The same for each part of a batch."""
        return self.couple(x) if self.parts == 1 else torch.cat([self.couple(part) for part in x.chunk(self.parts)])

    def forward(self, x: Tensor) -> Tensor:
        return self.couple_parts(x)


def couplings(network: nn.Module) -> list[Coupling]:
    return [m for m in network.modules() if isinstance(m, Coupling)]


@contextmanager
def apart(network: nn.Module, parts: int) -> Iterator[None]:
    """Inside, forwards of the network take batches of so many equal parts."""
    found = couplings(network)
    try:
        for module in found:
            module.parts = parts
        yield
    finally:
        for module in found:
            module.parts = 1
