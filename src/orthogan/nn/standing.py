"""Statistics that training takes from each batch, and evaluation from buffers that are collected on demand.

There are no running averages: samples come from averaged weights, which such averages would not fit (BigGAN, App. B).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class Standing(nn.Module):
    """Base of the layers that have them. While collecting, a forward appends its batch's to `_collected`."""

    statistics: ClassVar[tuple[str, ...]]
    """Names of the buffers, in the order in which a batch's are stacked."""

    def __init__(self) -> None:
        super().__init__()
        self._collected: list[Tensor] | None = None

    def keep_collected(self) -> None:
        """Means over the collected batches, in double precision, as BigGAN aggregates them."""
        assert self._collected
        means = torch.stack(self._collected).double().mean(0)
        for name, mean in zip(self.statistics, means, strict=True):
            getattr(self, name).copy_(mean)


class BatchMean(Standing):
    """Passes vectors (N, D) on as they are; `mean` (D,) is the mean of all, such as that of a StyleGAN's w."""

    statistics = ("mean",)
    mean: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        if self._collected is not None:
            self._collected.append(x.float().mean(0, keepdim=True))
        return x


def standing_layers(network: nn.Module) -> list[Standing]:
    return [m for m in network.modules() if isinstance(m, Standing)]


def standing_buffers(network: nn.Module) -> dict[str, Tensor]:
    """The collected buffers themselves, by number of the layer and name."""
    layers = enumerate(standing_layers(network))
    return {f"{i}.{name}": getattr(layer, name) for i, layer in layers for name in layer.statistics}


@contextmanager
def _collecting(network: nn.Module) -> Iterator[None]:
    was_training = network.training
    network.train()
    try:
        for layer in standing_layers(network):
            layer._collected = []
        yield
    finally:
        for layer in standing_layers(network):
            layer._collected = None
        network.train(was_training)


@torch.no_grad()
def standing_statistics(network: nn.Module, forwards: Callable[[], Iterator[Any]]) -> None:
    """Fill every layer's buffers with statistics of fresh batches (BigGAN, App. B: typically 100 of them).

    `forwards()` runs the network once for each item it yields. Collect at the truncation that will be sampled with.
    Each call starts anew; nothing of an earlier collection remains.
    """
    with _collecting(network):
        for _ in forwards():
            pass
        for layer in standing_layers(network):
            layer.keep_collected()
