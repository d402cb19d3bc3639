"""FastGAN's generator (Liu, Zhu, Song and Elgammal 2021), as it was released and as Projected GAN uses it.

The defaults are those of the code of Projected GAN (Sauer et al. 2021), which has wider maps, big blocks everywhere and
latents on a sphere. FastGAN's own: width 64, blocks alternating, normalize_z and head_bias off, init normal, and tanh
at 1024 pixels. Its second image, a 1x1 convolution of the map of 128 pixels for its own discriminator, is left out:
that discriminator takes the image at 128 pixels, or half of its side, instead.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.networks.base import Generator, GeneratorConfig
from orthogan.networks.common import SMALLEST, check_doublings, check_inputs, halvings, prepare
from orthogan.nn.classes import ClassTable
from orthogan.nn.equalized import normalized
from orthogan.nn.layers import Layers
from orthogan.nn.noise import MODES, Noise, NoiseInjection
from orthogan.nn.norm import BatchNorm2d, ConditionalBatchNorm2d
from orthogan.nn.spectral import SNConv2d, spectral

MULTIPLES = (16, 8, 4, 2, 2, 1, 0.5, 0.25, 0.125)
"""Of width: channels of the map of 4 pixels, then after each doubling up to 1024."""
MOST_DOUBLINGS = len(MULTIPLES) - 1
GATE_SPAN = 4
"""A map gates the one that has been doubled so many times more: 4 to 64 pixels, 8 to 128, 16 to 256, 32 to 512."""
GATES = 4


@dataclass(frozen=True, kw_only=True)
class FastGANGeneratorConfig(GeneratorConfig):
    width: int = 128
    """Channel multiplier, ngf in the code (Projected GAN 128, FastGAN 64)."""
    dim_z: int = 256
    """Dimensions of the latent."""
    blocks: Literal["big", "small", "alternating"] = "big"
    """Two convolutions with noise (Projected GAN), one without (its fastgan_lite), or in turns from big (FastGAN)."""
    normalize_z: bool = True
    """Put latents on a sphere: mean square 1 (Projected GAN's code; neither its paper nor FastGAN)."""
    head_bias: bool = True
    """Bias of the last convolution (Projected GAN; FastGAN has none)."""
    tanh: bool = False
    """Bound the image by a tanh (FastGAN at 1024 pixels only; Projected GAN never)."""
    init: Literal["default", "normal"] = "default"
    """Initial weights: PyTorch's (Projected GAN), or N(0, 0.02) with gains of norms N(1, 0.02) (FastGAN)."""
    bn_eps: float = 1e-5
    sn_eps: float = 1e-12

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("width", "bn_eps", "sn_eps")

    def check(self, resolution: int, n_classes: int) -> None:
        check_doublings(self, resolution, MOST_DOUBLINGS)


def draw_normal_weights(network: nn.Module) -> None:
    """FastGAN's initial weights, where biases and embeddings stay as PyTorch has them."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, BatchNorm2d) and module.weight is not None:
            nn.init.normal_(module.weight, 1, 0.02)


def gated(h: Tensor) -> Tensor:
    """Gated linear unit: the first half of the channels, each times the sigmoid of one of the second half."""
    # The gradient of F.glu is not channels-last, which makes the backward pass of a norm before it five times slower.
    values, gates = h.chunk(2, dim=1)
    # A processor's sigmoid is five times slower on a part of the channels than on a copy of it.
    return values * torch.sigmoid(gates.clone())


class FirstMap(SNConv2d):
    """z (N, I) -> the first map (N, O, S, S): a transposed convolution of a map of one pixel, which is linear.

    The weight is (O, I, S, S), that of `nn.ConvTranspose2d` with its first two axes exchanged. As there, the matrix
    whose largest singular value is divided by has a row an output channel: (O, I x S x S).
    """

    def __init__(self, dim_z: int, outputs: int, side: int, sn_eps: float):
        super().__init__(dim_z, outputs, side, bias=False, sn_eps=sn_eps)

    def reset_parameters(self) -> None:
        """PyTorch's for transposed convolutions, which take the outputs for the fan."""
        bound = 1 / math.sqrt(self.weight[:, 0].numel())
        nn.init.uniform_(self.weight, -bound, bound)

    def make_kernel(self) -> Tensor:
        """(S x S x O, I): maps then come with their channels last."""
        return self.weight_in_use().permute(2, 3, 0, 1).flatten(0, 2)

    def forward(self, z: Tensor) -> Tensor:
        h = F.linear(z, self.kernel())
        return h.view(-1, *self.kernel_size, self.out_channels).permute(0, 3, 1, 2)


class UpBlock(nn.Module):
    """Double, conv3, norm, gated linear unit: FastGAN's small block. (N, I, H, W) -> (N, O, 2H, 2W)."""

    def __init__(self, inputs: int, outputs: int, norm: BatchNorm2d, layers: Layers):
        """`norm` is of 2 O channels, half of which are gates."""
        super().__init__()
        self.conv = layers.conv(inputs, 2 * outputs, 3, bias=False, resample="up")
        self.norm = norm

    def forward(self, x: Tensor, condition: Tensor | None = None, noise: Noise | None = None) -> Tensor:
        return gated(self.norm(self.conv(x), condition))


class NoisyUpBlock(nn.Module):
    """Double, then twice conv3, noise, norm, gated linear unit: the big block. (N, I, H, W) -> (N, O, 2H, 2W).

    `noises` are one or two modules: blocks with classes use one, and so one strength, for both noises.
    """

    def __init__(
        self, inputs: int, outputs: int, norms: list[BatchNorm2d], noises: list[NoiseInjection], layers: Layers
    ):
        super().__init__()
        self.conv1 = layers.conv(inputs, 2 * outputs, 3, bias=False, resample="up")
        self.conv2 = layers.conv(outputs, 2 * outputs, 3, bias=False)
        self.norm1, self.norm2 = norms
        self.noises = nn.ModuleList(noises)

    def forward(self, x: Tensor, condition: Tensor | None, noise: Noise) -> Tensor:
        first, second = self.noises[0], self.noises[-1]
        h = gated(self.norm1(first(self.conv1(x), noise), condition))
        h = second(self.conv2(h), noise, use=2 - len(self.noises))
        return gated(self.norm2(h, condition))


class Gate(nn.Module):
    """A map (N, I, h, w) -> factors (N, O, 1, 1) in (0, 1) for a map further on: mean to 4x4, conv4, SiLU, conv1."""

    def __init__(self, inputs: int, outputs: int, layers: Layers):
        super().__init__()
        self.conv1 = layers.conv(inputs, outputs, 4, padding=0, bias=False)
        self.conv2 = layers.conv(outputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.adaptive_avg_pool2d(x, 4))
        return torch.sigmoid(self.conv2(F.silu(h)))


class FastGANGenerator(Generator):
    """Classes, which FastGAN has none of, are Projected GAN's: an embedding that all norms of the blocks see.

    For any number of classes, and without the maps beyond the resolution that its code builds at 128 pixels.
    """

    truncation = "none"
    config: FastGANGeneratorConfig

    def __init__(self, config: FastGANGeneratorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        self._layers = layers = spectral(config.sn_eps)
        doublings = halvings(resolution, SMALLEST)
        c = [max(1, int(m * config.width)) for m in MULTIPLES[: doublings + 1]]
        self.embedding = ClassTable(n_classes, config.dim_z) if n_classes else None
        self.first = FirstMap(config.dim_z, 2 * c[0], resolution >> doublings, config.sn_eps)
        self.first_norm = BatchNorm2d(2 * c[0], config.bn_eps)
        self.blocks = nn.ModuleList(self._block(k, i, o) for k, (i, o) in enumerate(itertools.pairwise(c)))
        self.gates = nn.ModuleList(Gate(i, o, layers) for i, o in list(zip(c, c[GATE_SPAN:], strict=False))[:GATES])
        self.to_rgb = layers.conv(c[-1], 3, 3, bias=config.head_bias)
        self.noise_modes = () if config.blocks == "small" else MODES
        prepare(self, None, self._adjust)

    def _adjust(self) -> None:
        if self.config.init == "normal":
            draw_normal_weights(self)

    def _block(self, k: int, inputs: int, outputs: int) -> UpBlock | NoisyUpBlock:
        small = self.config.blocks == "small" or (self.config.blocks == "alternating" and k % 2 == 1)
        if small:
            return UpBlock(inputs, outputs, self._norm(2 * outputs), self._layers)
        norms = [self._norm(2 * outputs) for _ in range(2)]
        noises = [NoiseInjection(2 * k + i) for i in range(1 if self.n_classes else 2)]
        return NoisyUpBlock(inputs, outputs, norms, noises, self._layers)

    def _norm(self, channels: int) -> BatchNorm2d:
        if not self.n_classes:
            return BatchNorm2d(channels, self.config.bn_eps)
        gain, bias = (self._layers.linear(self.dim_z, channels) for _ in range(2))
        return ConditionalBatchNorm2d(channels, gain, bias, self.config.bn_eps)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(self, z, (self.dim_z,), y)
        noise = Noise.of(self.noise, z)
        condition = None if self.embedding is None else self.embedding(y)
        if self.config.normalize_z:
            z = normalized(z)
        h = gated(self.first_norm(self.first(z)))
        gating: list[Tensor] = []
        for k in range(len(self.blocks)):
            gating = [*gating, h][: len(self.gates)]
            h = self.call_block(self._stage, k, h, gating, condition, noise)
        image: Tensor = self.to_rgb(h)
        return torch.tanh(image) if self.config.tanh else image

    def _stage(self, k: int, h: Tensor, gating: list[Tensor], condition: Tensor | None, noise: Noise) -> Tensor:
        """Block k, and the gate of its map by one of the first maps, if there is one."""
        h = self.blocks[k](h, condition, noise)
        gate = k + 1 - GATE_SPAN
        return h * self.gates[gate](gating[gate]) if 0 <= gate < len(self.gates) else h
