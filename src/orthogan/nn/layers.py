"""Convolutions, linear layers and embeddings whose weight in use is made from their parameters.

Here they use the weight as it is; `nn.spectral` and `nn.weight_norm` derive kinds that normalise it. Blocks build
their layers through a `Layers` row and never ask which kind it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.nn.resample import conv_then_halve, double_then_conv, doubling_kernel, halving_kernel

Resample = Literal["up", "down"]


class Weighted(nn.Module):
    """What all of them share: the kernel that a forward multiplies with, which sampling may keep."""

    weight: Tensor
    _kernel: Tensor | None = None

    def weight_in_use(self) -> Tensor:
        """The weight after normalisation, in the shape of `weight`."""
        return self.weight

    def make_kernel(self) -> Tensor:
        """The tensor that the forward multiplies with. Convolutions that resample fold the resampling in here."""
        return self.weight_in_use()

    def kernel(self) -> Tensor:
        return self.make_kernel() if self._kernel is None else self._kernel


class Linear(Weighted, nn.Linear):
    """(N, inputs) -> (N, outputs)."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True):
        nn.Linear.__init__(self, inputs, outputs, bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.kernel(), self.bias)


class Embedding(Weighted, nn.Embedding):
    """Rows are classes. Indices (N,) -> (N, dim)."""

    def __init__(self, n_classes: int, dim: int):
        nn.Embedding.__init__(self, n_classes, dim)

    def forward(self, y: Tensor) -> Tensor:
        return F.embedding(y, self.kernel())


class Conv2d(Weighted, nn.Conv2d):
    """A convolution that keeps the size, or by its stride divides it; a 3x3 may double its input or halve its output.

    (N, I, H, W) -> (N, O, H / stride, W / stride), with `resample` (N, O, 2H, 2W) or (N, O, H / 2, W / 2).

    Another `padding` than (size - 1) // 2 changes the size; with `groups` equal to both widths it is depthwise.

    Doubling (nearest) and halving (2x2 mean) are linear, so they are folded into the kernel: 4 products an output
    pixel of the large map instead of 9.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        bias: bool = True,
        resample: Resample | None = None,
    ):
        assert resample is None or (size == 3 and stride == 1 and padding is None and groups == 1)
        padding = (size - 1) // 2 if padding is None else padding
        nn.Conv2d.__init__(self, inputs, outputs, size, stride, padding, groups=groups, bias=bias)
        self.resample = resample

    def make_kernel(self) -> Tensor:
        weight = self.weight_in_use()
        if self.resample == "up":
            return doubling_kernel(weight)
        if self.resample == "down":
            return halving_kernel(weight)
        # With images of channels last, a 1x1 kernel's gradient would have other strides than DDP's buckets, which DDP
        # warns of and copies; through a matrix it gets those of the parameter.
        return weight.flatten(1)[..., None, None] if self.kernel_size == (1, 1) else weight

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel()
        if self.resample == "up":
            return double_then_conv(x, kernel, self.bias)
        if self.resample == "down":
            return conv_then_halve(x, kernel, self.bias)
        return F.conv2d(x, kernel, self.bias, self.stride, self.padding, groups=self.groups)


@dataclass(frozen=True)
class Layers:
    """Constructors of one kind of layers, with the arguments of `Linear`, `Embedding` and `Conv2d`."""

    linear: Callable[..., Linear]
    embedding: Callable[..., Embedding]
    conv: Callable[..., Conv2d]


PLAIN = Layers(Linear, Embedding, Conv2d)


def bake(network: nn.Module) -> None:
    """Compute every kernel once and keep it: for sampling, where the weights stand still.

    Under autocast those of convolutions are kept in its type, so that no forward casts them again.
    """
    with torch.no_grad():
        for layer in _weighted(network):
            # Detached, for a plain layer's kernel is its parameter, and would be registered as a second one.
            layer._kernel = _in_autocast_type(layer.make_kernel().detach())


def unbake(network: nn.Module) -> None:
    """Compute kernels at every forward again."""
    for layer in _weighted(network):
        layer._kernel = None


def _weighted(network: nn.Module) -> list[Weighted]:
    return [m for m in network.modules() if isinstance(m, Weighted)]


def _in_autocast_type(kernel: Tensor) -> Tensor:
    """Convolutions alone: linear layers are small, and heads may run them outside autocast."""
    if kernel.ndim != 4:
        return kernel
    device = kernel.device.type
    kernel = kernel.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else kernel
    return kernel.contiguous(memory_format=torch.channels_last)
