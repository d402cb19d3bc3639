"""SN-GAN (Miyato, Kataoka, Koyama and Yoshida 2018) with the conditioning of Miyato and Koyama (2018).

The residual networks of 32 to 256 pixels and the DCGAN-style ones of 32 and 48 pixels (the paper's table 3). Only D is
stabilised; G has plain weights, batch norm, and class-conditional batch norm if there are classes. Presets are in
`orthogan.presets`.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.networks.base import Discriminator, Generator, GeneratorConfig, StabilizedConfig
from orthogan.networks.common import (
    check_inputs,
    check_resolution,
    first_map,
    first_side,
    from_four,
    halvings,
    nearest,
    prepare,
)
from orthogan.nn.blocks import DBlock, GBlock
from orthogan.nn.classes import ClassTable, ProjectionHead, need_labels
from orthogan.nn.dropout import drop
from orthogan.nn.layers import PLAIN
from orthogan.nn.norm import BatchNorm2d, ConditionalBatchNorm2d
from orthogan.nn.resample import Upsampling
from orthogan.nn.stabilizers import Parts, parts

LEAK = 0.1
"""Slope of the plain networks' leaky ReLU."""


@dataclass(frozen=True, kw_only=True)
class SNGANGeneratorConfig(GeneratorConfig):
    width: int = 64
    """Channel multiplier."""
    channels: tuple[int, ...] = (16, 16, 8, 4, 2, 1)
    """Multiples of width: of the first map, then after each doubling block."""
    upsampling: Upsampling = "nearest"
    """How maps are doubled: nearest, as published, or bilinear, as in mimicry."""
    bn_eps: float = 2e-5

    @classmethod
    def at(cls, resolution: int) -> Self:
        return cls(channels=from_four(nearest(G_CHANNELS, resolution), resolution))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("width", "channels", "bn_eps")

    def check(self, resolution: int, n_classes: int) -> None:
        check_resolution(self, resolution, 2 ** (len(self.channels) - 1))


@dataclass(frozen=True, kw_only=True)
class ComparedConfig(StabilizedConfig):
    """What the settings of both discriminators have, under each stabiliser that the paper compares."""

    bn_eps: float = 2e-5
    sn_eps: float = 1e-12


@dataclass(frozen=True, kw_only=True)
class SNGANDiscriminatorConfig(ComparedConfig):
    width: int = 64
    """Channel multiplier."""
    channels: tuple[int, ...] = (1, 2, 4, 8, 16, 16)
    """Multiples of width after each block."""
    downs: int = 5
    """How many of the blocks, from the first, halve the map."""
    labels: Literal["projection", "concat"] = "projection"
    """How the class is seen: by a projection at the end, or by an embedding joined to the third block's map."""
    skip_relu: bool = False
    """Let skips take the map behind the leading ReLU, as the in-place ReLU of StudioGAN and mimicry does."""
    head_bias: bool = True
    """Bias of the last linear layer; the released 32 px network has none."""

    @classmethod
    def at(cls, resolution: int) -> Self:
        channels, downs = nearest(D_CHANNELS, resolution)
        return cls(channels=channels, downs=min(downs, halvings(resolution)))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("width", "channels")
        blocks = len(self.channels)
        rule = f"must be at most the {blocks} blocks of discriminator.channels"
        self.require(0 <= self.downs <= blocks, "downs", rule)
        joinable = self.labels == "projection" or blocks > JOIN_AFTER
        self.require(joinable, "labels", f"needs more than {JOIN_AFTER} blocks in D")

    def check(self, resolution: int, n_classes: int) -> None:
        labelled = self.labels == "projection" or n_classes > 0
        self.require(labelled, "labels", "needs classes: images in a folder for each class")
        check_resolution(self, resolution, 2**self.downs)


G_CHANNELS = {
    32: (4, 4, 4, 4),
    48: (8, 4, 2, 1),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
}
D_CHANNELS = {
    32: ((2, 2, 2, 2), 2),
    48: ((1, 2, 4, 8, 16), 4),
    64: ((1, 2, 4, 8, 16), 5),
    128: ((1, 2, 4, 8, 16, 16), 5),
    256: ((1, 2, 4, 8, 8, 16, 16), 6),
}
"""Multiples and halvings by resolution: of the paper at 48 pixels, of sngan_projection elsewhere."""

JOIN_AFTER = 3
JOINED_DIM = 128
"""The concat discriminator joins an embedding of 128 dimensions after its third block."""


def g_norm(channels: int, n_classes: int, eps: float) -> BatchNorm2d:
    """Batch norm, with a table of gains and of biases a class if there are classes."""
    if not n_classes:
        return BatchNorm2d(channels, eps)
    return ConditionalBatchNorm2d(channels, ClassTable(n_classes, channels), ClassTable(n_classes, channels), eps)


def start_conditional_norms(network: nn.Module) -> None:
    """Tables of gains and biases start at 1 (as 1 + 0) and 0 for every class."""
    for module in network.modules():
        if isinstance(module, ClassTable):
            nn.init.zeros_(module.weight)


def widen_block_weights(blocks: nn.ModuleList) -> None:
    """Glorot's gain is sqrt(2) in the two 3x3 convolutions of every block, and 1 elsewhere."""
    for block in blocks:
        for conv in (block.conv1, block.conv2):
            conv.weight.mul_(math.sqrt(2))  # type: ignore[operator, union-attr]


class SNGANGenerator(Generator):
    config: SNGANGeneratorConfig

    def __init__(self, config: SNGANGeneratorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        c = [m * config.width for m in config.channels]
        self.base = first_side(config.channels, resolution)
        self.linear = PLAIN.linear(config.dim_z, c[0] * self.base**2)
        norm = (n_classes, config.bn_eps)
        self.blocks = nn.ModuleList(
            GBlock(i, o, g_norm(i, *norm), g_norm(o, *norm), PLAIN, config.upsampling) for i, o in itertools.pairwise(c)
        )
        self.norm = BatchNorm2d(c[-1], config.bn_eps)
        self.to_rgb = PLAIN.conv(c[-1], 3, 3)
        prepare(self, "xavier", self._adjust)

    def _adjust(self) -> None:
        widen_block_weights(self.blocks)
        start_conditional_norms(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(self, z, (self.dim_z,), y)
        h = first_map(self.linear(z), self.base)  # (N, C, S, S)
        for block in self.blocks:
            h = self.call_block(block, h, y)
        return torch.tanh(self.to_rgb(F.relu(self.norm(h), inplace=True)))


class SNGANDiscriminator(Discriminator):
    """With logits (N,)."""

    config: SNGANDiscriminatorConfig

    def __init__(self, config: SNGANDiscriminatorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        built_from = parts(config.stabilizer, config.sn_eps, config.bn_eps)
        concat = n_classes > 0 and config.labels == "concat"
        c = [3, *(m * config.width for m in config.channels)]
        self.blocks = nn.ModuleList(
            self._block(k, i + JOINED_DIM * (concat and k == JOIN_AFTER), o, built_from)
            for k, (i, o) in enumerate(itertools.pairwise(c))
        )
        self.joined = built_from.layers.embedding(n_classes, JOINED_DIM) if concat else None
        projected = 0 if concat else n_classes
        self.head = ProjectionHead(c[-1], projected, built_from.layers, config.head_bias, config.dropout)
        prepare(self, "xavier", lambda: widen_block_weights(self.blocks))

    def _block(self, k: int, inputs: int, outputs: int, built_from: Parts) -> DBlock:
        """Thin: the width between the two convolutions is the input's, but in the first block the output's."""
        hidden = outputs if k == 0 else inputs
        down = k < self.config.downs
        skip_relu = self.config.skip_relu
        return DBlock(inputs, hidden, outputs, down=down, first=k == 0, parts=built_from, skip_relu=skip_relu)

    def forward(self, x: Tensor, y: Tensor | None = None, keys: Tensor | None = None) -> Tensor:
        check_inputs(self, x, (3, self.resolution, self.resolution), y)
        h = x.contiguous(memory_format=self.memory_format)
        for k, block in enumerate(self.blocks):
            if self.joined is not None and k == JOIN_AFTER:
                embedded = self.joined(need_labels(y)).to(h.dtype)[:, :, None, None]
                h = torch.cat([h, embedded.expand(-1, -1, *h.shape[2:])], 1)  # (N, C + 128, H, W)
            h = block(h)
        return self.head(h, None if self.joined is not None else y, keys)

    def stages(self) -> list[list[nn.Module]]:
        return [[block] for block in self.blocks]


CNN_CHANNELS = (8, 4, 2, 1)
"""Multiples of width in the plain generator: the paper's table 3, four by four or six by six, doubled three times."""


@dataclass(frozen=True, kw_only=True)
class SNGANCNNGeneratorConfig(GeneratorConfig):
    width: int = 64
    """Channels of the last map; the first has eight times as many."""
    bn_eps: float = 2e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("width", "bn_eps")

    def check(self, resolution: int, n_classes: int) -> None:
        check_resolution(self, resolution, 2 ** (len(CNN_CHANNELS) - 1))


@dataclass(frozen=True, kw_only=True)
class SNGANCNNDiscriminatorConfig(ComparedConfig):
    width: int = 64
    """Channels of the first map."""
    channels: tuple[int, ...] = (1, 2, 4, 8)
    """Multiples of width: of the first map, then after each halving."""

    @classmethod
    def at(cls, resolution: int) -> Self:
        return cls(channels=cls.channels[: 1 + halvings(resolution)])

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("width", "channels")

    def check(self, resolution: int, n_classes: int) -> None:
        check_resolution(self, resolution, 2 ** (len(self.channels) - 1))

    def features(self, resolution: int) -> int:
        """Dimensions of the last map, flattened."""
        return self.channels[-1] * self.width * (resolution >> (len(self.channels) - 1)) ** 2


class SNGANCNNGenerator(Generator):
    config: SNGANCNNGeneratorConfig

    def __init__(self, config: SNGANCNNGeneratorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        c = [m * config.width for m in CNN_CHANNELS]
        self.base = first_side(CNN_CHANNELS, resolution)
        self.linear = PLAIN.linear(config.dim_z, c[0] * self.base**2)
        self.convs = nn.ModuleList(nn.ConvTranspose2d(i, o, 4, 2, 1) for i, o in itertools.pairwise(c))
        self.norms = nn.ModuleList(g_norm(o, n_classes, config.bn_eps) for o in c[1:])
        self.to_rgb = PLAIN.conv(c[-1], 3, 3)
        prepare(self, "normal", lambda: start_conditional_norms(self))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(self, z, (self.dim_z,), y)
        h = first_map(self.linear(z), self.base)  # (N, 8 width, S, S)
        for i in range(len(self.convs)):
            h = self.call_block(self._stage, i, h, y)
        return torch.tanh(self.to_rgb(h))

    def _stage(self, i: int, h: Tensor, y: Tensor | None) -> Tensor:
        """(N, I, H, W) -> (N, O, 2H, 2W)."""
        return F.relu(self.norms[i](self.convs[i](h), y), inplace=True)


class SNGANCNNDiscriminator(Discriminator):
    """With logits (N,), by a projection of the flattened last map."""

    config: SNGANCNNDiscriminatorConfig

    def __init__(self, config: SNGANCNNDiscriminatorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        built_from = parts(config.stabilizer, config.sn_eps, config.bn_eps)
        layers, c = built_from.layers, [m * config.width for m in config.channels]
        shapes = [(3, c[0], 3), *(s for i, o in itertools.pairwise(c) for s in ((i, i, 4), (i, o, 3)))]
        self.convs = nn.ModuleList(layers.conv(i, o, size, stride=2 if size == 4 else 1) for i, o, size in shapes)
        # Not on the image's own layer, as in DCGAN.
        norms = [built_from.norm(o) for _, o, _ in shapes[1:]]
        self.norms = nn.ModuleList([nn.Identity(), *norms])
        features = config.features(resolution)
        self.linear = layers.linear(features, 1)
        self.embedding = layers.embedding(n_classes, features) if n_classes else None
        prepare(self, "normal")

    def forward(self, x: Tensor, y: Tensor | None = None, keys: Tensor | None = None) -> Tensor:
        check_inputs(self, x, (3, self.resolution, self.resolution), y)
        h = x.contiguous(memory_format=self.memory_format)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = F.leaky_relu(norm(conv(h)), LEAK, inplace=True)
        with torch.autocast(h.device.type, enabled=False):
            flat = drop(h.float().flatten(1), self.config.dropout, keys)
            logits: Tensor = self.linear(flat)[:, 0]
            return logits if self.embedding is None else logits + (self.embedding(need_labels(y)) * flat).sum(1)

    def stages(self) -> list[list[nn.Module]]:
        """Single convolutions with their norms."""
        return [list(pair) for pair in zip(self.convs, self.norms, strict=True)]
