"""Spectral normalisation (Miyato et al. 2018) as layers that hold a weight and its leading singular pair.

The published implementations iterate inside every training forward. Here a forward never writes anything: `advance`
runs one power iteration for every layer of a network, and the training step calls it once per update. Two forwards
before one backward, evaluation, recomputation and DDP then have nothing to trip over, and the iteration is paid once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.nn.resample import conv_then_halve, double_then_conv, doubling_kernel, halving_kernel

Resample = Literal["up", "down"]


class SpectralNorm(nn.Module):
    """Base of the normalised layers: `weight` seen as a matrix (out, everything else), with buffers u and v.

    The weight in use is W / sigma, sigma = u^T W v, where only W carries a gradient: autograd then yields
    equation 12 of the paper. Power iteration runs in float32 whatever the autocast.
    """

    weight: Tensor
    u: Tensor
    v: Tensor
    sn_eps: float
    _kernel: Tensor | None = None

    def _register_singular_pair(self, sn_eps: float) -> None:
        self.sn_eps = sn_eps
        rows, columns = self.weight.shape[0], self.weight[0].numel()
        for name, length in (("u", rows), ("v", columns)):
            self.register_buffer(name, F.normalize(torch.randn(length, device=self.weight.device), dim=0))

    @torch.no_grad()
    def power_iteration(self, times: int = 1) -> None:
        """v <- W^T u, u <- W v, each normalised with the layer's eps."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self._matrix().detach()
            for _ in range(times):
                self.v.copy_(F.normalize(torch.mv(matrix.t(), self.u), dim=0, eps=self.sn_eps))
                self.u.copy_(F.normalize(torch.mv(matrix, self.v), dim=0, eps=self.sn_eps))

    def sigma(self) -> Tensor:
        """The largest singular value as far as the iteration has found it; a scalar with a gradient to the weight."""
        with torch.autocast(self.weight.device.type, enabled=False):
            return torch.dot(self.u, torch.mv(self._matrix(), self.v))

    def _matrix(self) -> Tensor:
        return self.weight.flatten(1).to(self.u.dtype)

    def normalized_weight(self) -> Tensor:
        return self.weight / self.sigma()

    def make_kernel(self) -> Tensor:
        """The tensor that the forward multiplies with. Convolutions that resample fold the resampling in here."""
        return self.normalized_weight()

    def kernel(self) -> Tensor:
        return self.make_kernel() if self._kernel is None else self._kernel


class SNLinear(SpectralNorm, nn.Linear):
    def __init__(self, inputs: int, outputs: int, bias: bool = True, sn_eps: float = 1e-4):
        nn.Linear.__init__(self, inputs, outputs, bias)
        self._register_singular_pair(sn_eps)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.kernel(), self.bias)


class SNEmbedding(SpectralNorm, nn.Embedding):
    """Rows are classes; the whole table shares one sigma."""

    def __init__(self, n_classes: int, dim: int, sn_eps: float = 1e-4):
        nn.Embedding.__init__(self, n_classes, dim)
        self._register_singular_pair(sn_eps)

    def forward(self, y: Tensor) -> Tensor:
        return F.embedding(y, self.kernel())


class SNConv2d(SpectralNorm, nn.Conv2d):
    """A 1x1 or 3x3 convolution of stride 1; a 3x3 may double its input first, or halve its output afterwards.

    Doubling (nearest) and halving (2x2 mean) are linear, so they are folded into the kernel: 4 and 4 products an
    output pixel of the large map instead of 9. Sigma is that of the plain 3x3 weight, as published.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        bias: bool = True,
        resample: Resample | None = None,
        sn_eps: float = 1e-4,
    ):
        assert resample is None or size == 3
        nn.Conv2d.__init__(self, inputs, outputs, size, padding=size // 2, bias=bias)
        self.resample = resample
        self._register_singular_pair(sn_eps)

    def make_kernel(self) -> Tensor:
        weight = self.normalized_weight()
        if self.resample == "up":
            return doubling_kernel(weight)
        return halving_kernel(weight) if self.resample == "down" else weight

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel()
        if self.resample == "up":
            return double_then_conv(x, kernel, self.bias)
        if self.resample == "down":
            return conv_then_halve(x, kernel, self.bias)
        return F.conv2d(x, kernel, self.bias, padding=self.padding)


def normalized_layers(network: nn.Module) -> Iterator[tuple[str, SpectralNorm]]:
    """Every spectrally normalised layer of a network, by name."""
    return ((name, m) for name, m in network.named_modules() if isinstance(m, SpectralNorm))


def advance(network: nn.Module, times: int = 1) -> None:
    """One power iteration (or several) in every normalised layer; call it once before each update of the network."""
    for _, layer in normalized_layers(network):
        layer.power_iteration(times)


@contextmanager
def baked(network: nn.Module) -> Iterator[None]:
    """Inside, every kernel is computed once and kept: for sampling, where the weights stand still.

    Under autocast those of convolutions are kept in its type, so that no forward casts them again.
    """
    layers = [layer for _, layer in normalized_layers(network)]
    try:
        with torch.no_grad():
            for layer in layers:
                layer._kernel = _in_autocast_type(layer.make_kernel())
        yield
    finally:
        for layer in layers:
            layer._kernel = None


def _in_autocast_type(kernel: Tensor) -> Tensor:
    """Convolutions alone: linear layers are small, and heads may run them outside autocast."""
    if kernel.ndim != 4:
        return kernel
    device = kernel.device.type
    kernel = kernel.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else kernel
    return kernel.contiguous(memory_format=torch.channels_last)
