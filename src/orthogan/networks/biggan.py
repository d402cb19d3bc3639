"""BigGAN (Brock, Donahue and Simonyan 2019, Large Scale GAN Training for High Fidelity Natural Image Synthesis).

Generator and projection discriminator for any resolution that is a small base times a power of two. Channels are
multiples of `width`, ch in the paper. With per-class tables and an unsplit z it is SAGAN's network (Zhang et al. 2019).
Presets for 32 to 512 pixels are in `orthogan.presets`.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.networks.base import Discriminator, Generator, GeneratorConfig, StabilizedConfig
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
from orthogan.nn.blocks import DBlock, GBlock, SelfAttention
from orthogan.nn.classes import ClassTable, ProjectionHead
from orthogan.nn.initializers import Init
from orthogan.nn.norm import BatchNorm2d, ConditionalBatchNorm2d
from orthogan.nn.resample import Upsampling
from orthogan.nn.spectral import spectral
from orthogan.nn.stabilizers import Parts, parts


@dataclass(frozen=True, kw_only=True)
class BigGANGeneratorConfig(GeneratorConfig):
    width: int = 96
    """Channel multiplier, ch in the paper."""
    channels: tuple[int, ...] = (16, 16, 8, 4, 2, 1)
    """Multiples of width: of the first map, then after each doubling block."""
    attention: int = 0
    """Resolution of the map with self-attention; 0 for none."""
    dim_z: int = 120
    """Dimensions of the latent."""
    skip_z: bool = True
    """Split z into one chunk for the first layer and one for the norms of each block."""
    shared_embedding: bool = True
    """One class embedding for all norms, instead of a table of gains and biases in each."""
    shared_dim: int = 128
    """Dimensions of the shared embedding."""
    upsampling: Upsampling = "nearest"
    """How maps are doubled: nearest, as published, or bilinear, as in mimicry."""
    bn_eps: float = 1e-4
    last_bn_eps: float | None = None
    """Eps of the last norm, where it is another (BigGAN-PyTorch: always 1e-5)."""
    sn_eps: float = 1e-4
    init: Init = "orthogonal"

    @classmethod
    def at(cls, resolution: int) -> Self:
        channels = from_four(nearest(G_CHANNELS, resolution), resolution)
        # The paper's chunks of 20.
        return cls(channels=channels, attention=G_ATTENTION.get(resolution, 0), dim_z=20 * len(channels))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("width", "channels", "shared_dim", "bn_eps", "sn_eps")
        self.require(self.last_bn_eps is None or self.last_bn_eps > 0, "last_bn_eps", "must be positive")
        slots = len(self.channels)
        below = self.dim_z // slots * slots
        near = " or ".join(str(d) for d in (below, below + slots) if d)
        rule = f"cannot be split evenly among the first layer and {slots - 1} blocks: try {near}"
        self.require(not self.skip_z or self.dim_z % slots == 0, "dim_z", rule)

    def check(self, resolution: int, n_classes: int) -> None:
        check_resolution(self, resolution, 2 ** (len(self.channels) - 1))
        check_attention(self, self.attention, self.maps(resolution))
        rule = "needs generator.shared_embedding, whose output the chunks of z join"
        self.require(self.shared_embedding or not self.skip_z or n_classes == 0, "skip_z", rule)

    def maps(self, resolution: int) -> dict[int, int]:
        """Channels of the map after each block, by its side."""
        base = first_side(self.channels, resolution)
        return {base << i: m * self.width for i, m in enumerate(self.channels) if i}

    @property
    def dim_chunk(self) -> int:
        """Dimensions of z that the first layer sees, and of each further chunk when z is split."""
        return self.dim_z // len(self.channels) if self.skip_z else self.dim_z


@dataclass(frozen=True, kw_only=True)
class BigGANDiscriminatorConfig(StabilizedConfig):
    width: int = 96
    """Channel multiplier, ch in the paper."""
    channels: tuple[int, ...] = (1, 2, 4, 8, 16, 16)
    """Multiples of width after each block."""
    downs: int = 5
    """How many of the blocks, from the first, halve the map."""
    attention: int = 0
    """Resolution of the map with self-attention; 0 for none."""
    wide: bool = True
    """Width between a block's two convolutions: the output's, or of thin blocks, as in SN-GAN, the input's."""
    skip_relu: bool = False
    """Let skips take the map behind the leading ReLU, as the in-place ReLU of StudioGAN and mimicry does."""
    init: Init = "orthogonal"

    @classmethod
    def at(cls, resolution: int) -> Self:
        channels, downs = nearest(D_CHANNELS, resolution)
        attention = D_ATTENTION.get(resolution, 0)
        return cls(channels=channels, downs=min(downs, halvings(resolution)), attention=attention)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("width", "channels")
        rule = f"must be at most the {len(self.channels)} blocks of discriminator.channels"
        self.require(0 <= self.downs <= len(self.channels), "downs", rule)

    def check(self, resolution: int, n_classes: int) -> None:
        check_resolution(self, resolution, 2**self.downs)
        check_attention(self, self.attention, self.maps(resolution))

    def maps(self, resolution: int) -> dict[int, int]:
        """Channels of the map after each block, by its side; of several blocks on one map, of the first."""
        maps: dict[int, int] = {}
        for i, m in enumerate(self.channels, start=1):
            maps.setdefault(resolution >> min(i, self.downs), m * self.width)
        return maps


G_CHANNELS = {
    32: (4, 4, 4, 4),
    64: (16, 16, 8, 4, 2),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
D_CHANNELS = {
    32: ((4, 4, 4, 4), 2),
    64: ((1, 2, 4, 8, 16), 4),
    128: ((1, 2, 4, 8, 16, 16), 5),
    256: ((1, 2, 4, 8, 8, 16, 16), 6),
    512: ((1, 1, 2, 4, 8, 8, 16, 16), 7),
}
"""Multiples and halvings by resolution: of the paper from 128 pixels on, below of BigGAN-PyTorch."""
G_ATTENTION = {64: 64, 128: 64, 256: 128, 512: 64}
D_ATTENTION = {64: 32, 128: 64, 256: 64, 512: 64}


class BigGANGenerator(Generator):
    config: BigGANGeneratorConfig

    def __init__(self, config: BigGANGeneratorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        self._layers = layers = spectral(config.sn_eps)
        c = [m * config.width for m in config.channels]
        self.base = first_side(config.channels, resolution)
        # Without spectral norm: BigGAN-PyTorch found that it sometimes cripples G here.
        shared = n_classes > 0 and config.shared_embedding
        self.embedding = ClassTable(n_classes, config.shared_dim) if shared else None
        self.linear = layers.linear(config.dim_chunk, c[0] * self.base**2)
        self.blocks = nn.ModuleList(
            GBlock(i, o, self._norm(i), self._norm(o), layers, config.upsampling) for i, o in itertools.pairwise(c)
        )
        at = config.attention
        self.attention = SelfAttention(config.maps(resolution)[at], layers) if at else None
        self.norm = BatchNorm2d(c[-1], config.last_bn_eps or config.bn_eps)
        self.to_rgb = layers.conv(c[-1], 3, 3)
        prepare(self, config.init)

    @property
    def dim_condition(self) -> int:
        """Dimensions of the vector that conditions a norm: shared embedding, then a chunk of z."""
        config = self.config
        return (config.shared_dim if self.n_classes else 0) + (config.dim_chunk if config.skip_z else 0)

    def _norm(self, channels: int) -> BatchNorm2d:
        config = self.config
        if self.n_classes and not config.shared_embedding:
            tables = [ClassTable(self.n_classes, channels) for _ in range(2)]
            return ConditionalBatchNorm2d(channels, tables[0], tables[1], config.bn_eps)
        if self.dim_condition == 0:
            return BatchNorm2d(channels, config.bn_eps)
        maps = [self._layers.linear(self.dim_condition, channels, bias=False) for _ in range(2)]
        return ConditionalBatchNorm2d(channels, maps[0], maps[1], config.bn_eps)

    def conditions(self, z: Tensor, y: Tensor | None) -> Iterator[Tensor | None]:
        """What the first layer sees, (N, dim_chunk), then what conditions the norms of each block.

        That is (N, dim_condition), or y itself where each norm has tables of its own, or None.
        """
        chunks = z.split(self.config.dim_chunk, 1)  # each (N, dim_chunk)
        yield chunks[0]
        shared = y if self.embedding is None else self.embedding(y)  # (N, shared_dim), or y
        for i in range(len(self.blocks)):
            if not self.config.skip_z:
                yield shared
            elif shared is None:
                yield chunks[i + 1]
            else:
                yield torch.cat([shared, chunks[i + 1].to(shared.dtype)], 1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(self, z, (self.dim_z,), y)
        first, *conditions = self.conditions(z, y)
        h = first_map(self.linear(first), self.base)  # (N, C, S, S)
        for i, condition in enumerate(conditions):
            h = self.call_block(self._stage, i, h, condition)
        return torch.tanh(self.to_rgb(F.relu(self.norm(h), inplace=True)))

    def _stage(self, i: int, h: Tensor, condition: Tensor | None) -> Tensor:
        h = self.blocks[i](h, condition)
        return self.attention(h) if self.attention is not None and h.shape[2] == self.config.attention else h


class BigGANDiscriminator(Discriminator):
    """With logits (N,)."""

    config: BigGANDiscriminatorConfig

    def __init__(self, config: BigGANDiscriminatorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        built_from = parts(config.stabilizer, config.sn_eps, config.bn_eps)
        layers = built_from.layers
        c = [3, *(m * config.width for m in config.channels)]
        self.blocks = nn.ModuleList(self._block(k, i, o, built_from) for k, (i, o) in enumerate(itertools.pairwise(c)))
        at = config.attention
        self.attention = SelfAttention(config.maps(resolution)[at], layers) if at else None
        self.attention_after = list(config.maps(resolution)).index(at) if at else -1
        self.head = ProjectionHead(c[-1], n_classes, layers, dropout=config.dropout)
        prepare(self, config.init)

    def _block(self, k: int, inputs: int, outputs: int, built_from: Parts) -> DBlock:
        config = self.config
        hidden = outputs if config.wide or k == 0 else inputs
        down = k < config.downs
        return DBlock(inputs, hidden, outputs, down=down, first=k == 0, parts=built_from, skip_relu=config.skip_relu)

    def forward(self, x: Tensor, y: Tensor | None = None, keys: Tensor | None = None) -> Tensor:
        check_inputs(self, x, (3, self.resolution, self.resolution), y)
        h = x.contiguous(memory_format=self.memory_format)
        for i, block in enumerate(self.blocks):
            h = block(h)
            if self.attention is not None and i == self.attention_after:
                h = self.attention(h)
        return self.head(h, y, keys)

    def stages(self) -> list[list[nn.Module]]:
        stages: list[list[nn.Module]] = [[block] for block in self.blocks]
        if self.attention is not None:
            stages[self.attention_after].append(self.attention)
        return stages
