"""BigGAN-deep (Brock, Donahue and Simonyan 2019, appendix B): bottlenecks, twice the depth, and a whole z.

Channels are multiples of `width`, ch in the paper. Presets for 128, 256 and 512 pixels are in `orthogan.presets`.
"""

import itertools
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.networks.base import Discriminator, Generator, GeneratorConfig, StabilizedConfig
from orthogan.networks.biggan import G_CHANNELS
from orthogan.networks.common import (
    check_attention,
    check_inputs,
    check_resolution,
    first_map,
    first_side,
    from_four,
    halvings,
    nearest,
    prepare,
)
from orthogan.nn.blocks import SelfAttention
from orthogan.nn.classes import ClassTable, ProjectionHead
from orthogan.nn.initializers import Init
from orthogan.nn.layers import Layers
from orthogan.nn.norm import BatchNorm2d, ConditionalBatchNorm2d
from orthogan.nn.resample import double, halve
from orthogan.nn.spectral import spectral
from orthogan.nn.stabilizers import Parts, parts


@dataclass(frozen=True, kw_only=True)
class BigGANDeepGeneratorConfig(GeneratorConfig):
    width: int = 128
    """Channel multiplier, ch in the paper."""
    channels: tuple[int, ...] = (16, 16, 8, 4, 2, 1)
    """Multiples of width: of the first map, then after each stage of two blocks, which doubles it."""
    attention: int = 0
    """Resolution of the map with self-attention; 0 for none."""
    dim_z: int = 128
    """Dimensions of the latent, all of which go to every norm."""
    shared_dim: int = 128
    """Dimensions of the class embedding."""
    rgb_channels: int = 3
    """Channels of the last convolution, whose first three are the image (3; the released networks have 128)."""
    bn_eps: float = 1e-4
    last_bn_eps: float | None = None
    """Eps of the last norm, where it is another (BigGAN-PyTorch: always 1e-5)."""
    sn_eps: float = 1e-4
    init: Init = "orthogonal"

    @classmethod
    def at(cls, resolution: int) -> Self:
        channels = from_four(nearest(G_CHANNELS, resolution), resolution)
        return cls(channels=channels, attention=ATTENTION.get(resolution, 0))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("width", "channels", "shared_dim", "bn_eps", "sn_eps")
        self.require(self.rgb_channels >= 3, "rgb_channels", "must be at least 3")
        self.require(self.last_bn_eps is None or self.last_bn_eps > 0, "last_bn_eps", "must be positive")
        falls = all(i >= o for i, o in itertools.pairwise(self.channels))
        self.require(falls, "channels", "must not grow: skips drop channels")
        self.require(self.width % 4 == 0, "width", "must be a multiple of 4, the bottleneck's ratio")

    def check(self, resolution: int, n_classes: int) -> None:
        check_resolution(self, resolution, 2 ** (len(self.channels) - 1))
        check_attention(self, self.attention, self.maps(resolution))

    def maps(self, resolution: int) -> dict[int, int]:
        """Channels of the map after each stage, by its side."""
        base = first_side(self.channels, resolution)
        return {base << i: m * self.width for i, m in enumerate(self.channels) if i}


@dataclass(frozen=True, kw_only=True)
class BigGANDeepDiscriminatorConfig(StabilizedConfig):
    width: int = 128
    """Channel multiplier, ch in the paper."""
    channels: tuple[int, ...] = (1, 2, 4, 8, 16, 16)
    """Multiples of width: of the first convolution, then after each stage of two blocks."""
    downs: int | None = None
    """How many of the stages, from the first, halve the map; all if left out."""
    attention: int = 0
    """Resolution of the map with self-attention; 0 for none."""
    skip_relu: bool = False
    """Let skips take the map behind the leading ReLU, as the in-place ReLU of StudioGAN and mimicry does."""
    init: Init = "orthogonal"

    @classmethod
    def at(cls, resolution: int) -> Self:
        channels, downs = nearest(D_CHANNELS, resolution)
        asked = len(channels) - 1 if downs is None else downs
        fitting = downs if asked <= halvings(resolution) else halvings(resolution)
        return cls(channels=channels, downs=fitting, attention=ATTENTION.get(resolution, 0))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("width", "channels")
        grows = all(i <= o for i, o in itertools.pairwise(self.channels))
        self.require(grows, "channels", "must not fall: skips add channels")
        self.require(self.width % 4 == 0, "width", "must be a multiple of 4, the bottleneck's ratio")
        stages = len(self.channels) - 1
        rule = f"must be at most the {stages} stages of discriminator.channels"
        self.require(0 <= self.halving <= stages, "downs", rule)

    def check(self, resolution: int, n_classes: int) -> None:
        check_resolution(self, resolution, 2**self.halving)
        check_attention(self, self.attention, self.maps(resolution))

    @property
    def halving(self) -> int:
        """Stages that halve the map."""
        return len(self.channels) - 1 if self.downs is None else self.downs

    def maps(self, resolution: int) -> dict[int, int]:
        """Channels of the map after each stage, by its side; of several stages on one map, of the first."""
        maps: dict[int, int] = {}
        for i, m in enumerate(self.channels[1:], start=1):
            maps.setdefault(resolution >> min(i, self.halving), m * self.width)
        return maps


D_CHANNELS = {
    32: ((4, 4, 4, 4), 2),
    64: ((2, 4, 8, 16, 16), None),
    128: ((1, 2, 4, 8, 16, 16), None),
    256: ((1, 2, 4, 8, 8, 16, 16), None),
    512: ((1, 1, 2, 4, 8, 8, 16, 16), None),
}
"""Multiples and halvings by resolution: of the paper from 128 pixels on, at 64 of compare_gan, at 32 of StudioGAN."""
ATTENTION = {128: 64, 256: 64, 512: 64}


class GBottleneck(nn.Module):
    """norm, ReLU, conv1 to a quarter; norm, ReLU, [double,] conv3; norm, ReLU, conv3; norm, ReLU, conv1.

    The skip keeps the first channels and has no convolution. (N, I, H, W) -> (N, O, H, W), or with `up` (N, O, 2H, 2W).
    """

    def __init__(self, inputs: int, outputs: int, norms: list[BatchNorm2d], *, up: bool, layers: Layers):
        super().__init__()
        hidden = inputs // 4
        self.outputs, self.up = outputs, up
        self.norms = nn.ModuleList(norms)
        self.conv1 = layers.conv(inputs, hidden, 1)
        self.conv2 = layers.conv(hidden, hidden, 3, resample="up" if up else None)
        self.conv3 = layers.conv(hidden, hidden, 3)
        self.conv4 = layers.conv(hidden, outputs, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = x
        for norm, conv in zip(self.norms, (self.conv1, self.conv2, self.conv3, self.conv4), strict=True):
            h = conv(F.relu(norm(h, condition), inplace=True))  # (N, I / 4, ...) three times, then (N, O, ...)
        x = x[:, : self.outputs]
        return h + (double(x) if self.up else x)


class DBottleneck(nn.Module):
    """ReLU, conv1 to a quarter of the output; ReLU, conv3; ReLU, conv3; ReLU, [halve,] conv1; norms before the ReLUs.

    (N, I, H, W) -> (N, O, H, W), or with `down` (N, O, H / 2, W / 2).

    The skip keeps x, halved, and adds the missing channels by a 1x1 convolution of it. With `skip_relu` it begins
    behind the leading ReLU.
    """

    def __init__(self, inputs: int, outputs: int, *, down: bool, parts: Parts, skip_relu: bool = False):
        super().__init__()
        layers, hidden = parts.layers, outputs // 4
        self.norms = nn.ModuleList(parts.norm(channels) for channels in (inputs, *(hidden,) * 3))
        self.down, self.skip_relu = down, skip_relu
        self.conv1 = layers.conv(inputs, hidden, 1)
        self.conv2 = layers.conv(hidden, hidden, 3)
        self.conv3 = layers.conv(hidden, hidden, 3)
        self.conv4 = layers.conv(hidden, outputs, 1)
        self.skip = layers.conv(inputs, outputs - inputs, 1) if outputs > inputs else None

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x) if self.skip_relu else x
        # This ReLU must not be in place: the skip takes the x before it.
        h = self.conv1(F.relu(self.norms[0](x)))  # (N, O / 4, H, W)
        h = self.conv2(F.relu(self.norms[1](h), inplace=True))
        h = self.conv3(F.relu(self.norms[2](h), inplace=True))
        h = F.relu(self.norms[3](h), inplace=True)
        h = self.conv4(halve(h) if self.down else h)  # (N, O, H, W), or halved
        x = halve(x) if self.down else x
        return h + (x if self.skip is None else torch.cat([x, self.skip(x)], 1))


class BigGANDeepGenerator(Generator):
    config: BigGANDeepGeneratorConfig

    def __init__(self, config: BigGANDeepGeneratorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        self._layers = layers = spectral(config.sn_eps)
        c = [m * config.width for m in config.channels]
        self.base = first_side(config.channels, resolution)
        self.embedding = ClassTable(n_classes, config.shared_dim) if n_classes else None
        self.linear = layers.linear(self.dim_condition, c[0] * self.base**2)
        pairs = [pair for i, o in itertools.pairwise(c) for pair in ((i, i, False), (i, o, True))]
        self.blocks = nn.ModuleList(GBottleneck(i, o, self._norms(i), up=up, layers=layers) for i, o, up in pairs)
        at = config.attention
        self.attention = SelfAttention(config.maps(resolution)[at], layers) if at else None
        self.norm = BatchNorm2d(c[-1], config.last_bn_eps or config.bn_eps)
        self.to_rgb = layers.conv(c[-1], config.rgb_channels, 3)
        prepare(self, config.init)

    @property
    def dim_condition(self) -> int:
        """Dimensions of what conditions the first layer and every norm: class embedding, then z."""
        return (self.config.shared_dim if self.n_classes else 0) + self.dim_z

    def _norms(self, inputs: int) -> list[BatchNorm2d]:
        return [self._norm(channels) for channels in (inputs, *(inputs // 4,) * 3)]

    def _norm(self, channels: int) -> BatchNorm2d:
        maps = [self._layers.linear(self.dim_condition, channels, bias=False) for _ in range(2)]
        return ConditionalBatchNorm2d(channels, maps[0], maps[1], self.config.bn_eps)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(self, z, (self.dim_z,), y)
        # Class first, then z, as in BigGAN-PyTorch; the TensorFlow weights have z first.
        condition = z if self.embedding is None else torch.cat([self.embedding(y), z], 1)  # (N, dim_condition)
        h = first_map(self.linear(condition), self.base)  # (N, C, S, S)
        for i in range(len(self.blocks)):
            h = self.call_block(self._stage, i, h, condition)
        return torch.tanh(self.to_rgb(F.relu(self.norm(h), inplace=True))[:, :3])

    def _stage(self, i: int, h: Tensor, condition: Tensor) -> Tensor:
        h = self.blocks[i](h, condition)
        ends_at_attention = i % 2 == 1 and h.shape[2] == self.config.attention
        return self.attention(h) if self.attention is not None and ends_at_attention else h


class BigGANDeepDiscriminator(Discriminator):
    """With logits (N,)."""

    config: BigGANDeepDiscriminatorConfig

    def __init__(self, config: BigGANDeepDiscriminatorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        built_from = parts(config.stabilizer, config.sn_eps, config.bn_eps)
        layers = built_from.layers
        c = [m * config.width for m in config.channels]
        self.stem = layers.conv(3, c[0], 3)
        stages = enumerate(itertools.pairwise(c))
        pairs = [pair for k, (i, o) in stages for pair in ((i, o, k < config.halving), (o, o, False))]
        self.blocks = nn.ModuleList(
            DBottleneck(i, o, down=down, parts=built_from, skip_relu=config.skip_relu) for i, o, down in pairs
        )
        at = config.attention
        self.attention = SelfAttention(config.maps(resolution)[at], layers) if at else None
        # At the end of the first stage on its map: 2 blocks a stage, counted from 0.
        self.attention_after = 2 * list(config.maps(resolution)).index(at) + 1 if at else -1
        self.head = ProjectionHead(c[-1], n_classes, layers, dropout=config.dropout)
        prepare(self, config.init)

    def forward(self, x: Tensor, y: Tensor | None = None, keys: Tensor | None = None) -> Tensor:
        check_inputs(self, x, (3, self.resolution, self.resolution), y)
        h = self.stem(x.contiguous(memory_format=self.memory_format))  # (N, C, R, R)
        for i, block in enumerate(self.blocks):
            h = block(h)
            if self.attention is not None and i == self.attention_after:
                h = self.attention(h)
        return self.head(h, y, keys)

    def stages(self) -> list[list[nn.Module]]:
        """The stem, then single blocks."""
        stages: list[list[nn.Module]] = [[self.stem], *([block] for block in self.blocks)]
        if self.attention is not None:
            stages[1 + self.attention_after].append(self.attention)
        return stages
