"""Random, fixed mixing of feature maps (Projected GAN, Sauer et al. 2021): across channels, and across scales.

There are no activations: each map becomes a random linear image of itself and of the deeper ones. Maps come in order,
each with half the side of the one before.
"""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

Law = Literal["paper", "released"]
"""Of the random weights: Kaiming's normal law without bias, as in the paper; or PyTorch's own with bias, as released.
Across scales the paper convolves by 3x3, the released code by 1x1."""


def random_conv(inputs: int, outputs: int, size: int, law: Law) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=law == "released")
    if law == "paper":
        nn.init.kaiming_normal_(conv.weight)
    return conv


class CrossChannelMixing(nn.Module):
    """Maps of `inputs` channels -> maps of `width` channels and twice, four times, eight times as many.

    (N, I_k, S / 2^k, S / 2^k) -> (N, 2^k width, S / 2^k, S / 2^k), k from 0; of fewer maps as many.
    """

    def __init__(self, inputs: Sequence[int], width: int, law: Law):
        super().__init__()
        self.channels = tuple(width * 2**k for k in range(len(inputs)))
        self.convs = nn.ModuleList(random_conv(i, o, 1, law) for i, o in zip(inputs, self.channels, strict=True))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [conv(h) for conv, h in zip(self.convs[: len(maps)], maps, strict=True)]


class CrossScaleMixing(nn.Module):
    """From the deepest map up: add the result of the deeper ones, double by bilinear interpolation, convolve.

    Each result has the channels of the map above it, and the shallowest its own; all have twice the side of their map.
    (N, C_k, S, S) -> (N, C_(k - 1), 2S, 2S), and (N, C_0, 2S, 2S) for k = 0.
    """

    def __init__(self, inputs: Sequence[int], law: Law):
        super().__init__()
        self.channels = (inputs[0], *inputs[:-1])
        size = 3 if law == "paper" else 1
        self.convs = nn.ModuleList(random_conv(i, o, size, law) for i, o in zip(inputs, self.channels, strict=True))

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        mixed: list[Tensor] = []
        for conv, h in zip(reversed(self.convs), reversed(maps), strict=True):
            mixed.insert(0, double_and_convolve(h + mixed[0] if mixed else h, conv))
        return mixed


def double_and_convolve(h: Tensor, conv: nn.Module) -> Tensor:
    """(N, I, S, S) -> (N, O, 2S, 2S), in the published order; but a 1x1 convolution commutes, and is cheaper first."""
    mixed: Tensor = double(conv(h)) if conv.kernel_size == (1, 1) else conv(double(h))
    return mixed


def double(h: Tensor) -> Tensor:
    """Bilinear, the corners on the corners, as released. (N, C, S, S) -> (N, C, 2S, 2S)."""
    return F.interpolate(h, scale_factor=2, mode="bilinear", align_corners=True)
