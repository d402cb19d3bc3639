"""Spectral normalisation (Miyato et al. 2018) as layers that hold a weight and its leading singular pair.

The published implementations iterate inside every training forward. Here a forward never writes anything: `advance`
runs one power iteration for every layer of a network, and the training step calls it once per update. Two forwards
before one backward, evaluation, recomputation and DDP then have nothing to trip over, and the iteration is paid once.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.nn.layers import Conv2d, Embedding, Layers, Linear, Weighted


class SpectralNorm(Weighted):
    """The kind that divides by sigma: `weight` seen as a matrix (out, everything else), with buffers u and v.

    The weight in use is W / sigma, sigma = u^T W v, where only W carries a gradient: autograd then yields
    equation 12 of the paper. Power iteration runs in float32 whatever the autocast. A convolution that resamples is
    normalised by the sigma of its plain 3x3 weight, as published; an embedding's whole table shares one.
    """

    u: Tensor
    v: Tensor

    def __init__(self, *shape: int, sn_eps: float = 1e-4, **options: Any):
        super().__init__(*shape, **options)
        self.sn_eps = sn_eps
        rows, columns = self.weight.shape[0], self.weight[0].numel()
        for name, length in (("u", rows), ("v", columns)):
            self.register_buffer(name, F.normalize(torch.randn(length, device=self.weight.device), dim=0))

    @torch.no_grad()
    def power_iteration(self, times: int = 1) -> None:
        """v <- W^T u, u <- W v, each normalised with the layer's eps."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.detach().flatten(1).to(self.u.dtype)
            for _ in range(times):
                self.v.copy_(F.normalize(torch.mv(matrix.t(), self.u), dim=0, eps=self.sn_eps))
                self.u.copy_(F.normalize(torch.mv(matrix, self.v), dim=0, eps=self.sn_eps))

    def sigma(self) -> Tensor:
        """The largest singular value as far as the iteration has found it; a scalar with a gradient to the weight."""
        with torch.autocast(self.weight.device.type, enabled=False):
            return _sigma(self.weight.flatten(1), self.u, self.v)

    def weight_in_use(self) -> Tensor:
        with torch.autocast(self.weight.device.type, enabled=False):
            normalized: Tensor = _Normalize.apply(self.weight.flatten(1), self.u, self.v)
        return normalized.view_as(self.weight)


def _sigma(matrix: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return torch.dot(u, torch.mv(matrix.to(u.dtype), v))


class _Normalize(torch.autograd.Function):
    """W (O, K) -> W / sigma. The gradient is that of equation 12 of the paper, which autograd would make in thrice as
    many passes over the weight; it may be differentiated again."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, u: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(matrix, u, v)
        return matrix / _sigma(matrix, u, v)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        """G -> (G - <G, W / sigma> u v^T) / sigma."""
        grad, (matrix, u, v) = grads[0].contiguous(), ctx.saved_tensors
        sigma = _sigma(matrix, u, v)
        along = torch.dot(grad.flatten(), matrix.flatten()) / sigma.square()
        return (grad / sigma).addcmul_(-(along * u)[:, None], v), None, None


class SNLinear(SpectralNorm, Linear):
    pass


class SNEmbedding(SpectralNorm, Embedding):
    pass


class SNConv2d(SpectralNorm, Conv2d):
    pass


def spectral(sn_eps: float) -> Layers:
    """Constructors of spectrally normalised layers."""
    return Layers(
        partial(SNLinear, sn_eps=sn_eps), partial(SNEmbedding, sn_eps=sn_eps), partial(SNConv2d, sn_eps=sn_eps)
    )


def normalized_layers(network: nn.Module) -> Iterator[tuple[str, SpectralNorm]]:
    """Every spectrally normalised layer of a network, by name."""
    return ((name, m) for name, m in network.named_modules() if isinstance(m, SpectralNorm))


def advance(network: nn.Module, times: int = 1) -> None:
    """One power iteration (or several) in every normalised layer; call it once before each update of the network."""
    for _, layer in normalized_layers(network):
        layer.power_iteration(times)
