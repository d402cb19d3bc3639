"""BigGAN (Brock, Donahue and Simonyan 2019, Large Scale GAN Training for High Fidelity Natural Image Synthesis).

Generator and projection discriminator for any resolution that is a small base times a power of two. Channels are
multiples of `width`, ch in the paper. With per-class tables and an unsplit z it is SAGAN's network (Zhang et al. 2019).
Presets for 32 to 512 pixels are in `orthogan.presets`.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from orthogan.config import NetworkConfig
from orthogan.networks.common import check_attention, check_inputs, check_positive, check_resolution, prepare
from orthogan.nn.blocks import DBlock, GBlock, SelfAttention
from orthogan.nn.classes import ClassTable, ProjectionHead
from orthogan.nn.initializers import Init
from orthogan.nn.norm import BatchNorm2d, ConditionalBatchNorm2d
from orthogan.nn.spectral import spectral
from orthogan.nn.stabilizers import Stabilizer, parts
from orthogan.settings import check_choices, require


@dataclass(frozen=True, kw_only=True)
class BigGANConfig(NetworkConfig):
    width: int = 96
    """Channel multiplier, ch in the paper."""
    g_channels: tuple[int, ...] = (16, 16, 8, 4, 2, 1)
    """Multiples of width in G: of the first map, then after each doubling block."""
    d_channels: tuple[int, ...] = (1, 2, 4, 8, 16, 16)
    """Multiples of width in D after each block."""
    d_downs: int = 5
    """How many of D's blocks, from the first, halve the map."""
    g_attention: int = 0
    """Resolution at which G has self-attention; 0 for none."""
    d_attention: int = 0
    """Resolution at which D has self-attention; 0 for none."""
    dim_z: int = 120
    """Dimensions of the latent."""
    skip_z: bool = True
    """Split z into one chunk for the first layer and one for the norms of each block."""
    shared_embedding: bool = True
    """One class embedding for all norms, instead of a table of gains and biases in each."""
    shared_dim: int = 128
    """Dimensions of the shared embedding."""
    stabilizer: Stabilizer = "spectral-norm"
    """What keeps D in bounds; G has spectral norm in any case."""
    bn_eps: float = 1e-4
    sn_eps: float = 1e-4
    init: Init = "orthogonal"

    def __post_init__(self) -> None:
        check_choices(self, "network.")
        check_positive(
            self, "resolution", "width", "g_channels", "d_channels", "dim_z", "shared_dim", "bn_eps", "sn_eps"
        )
        require(self.n_classes >= 0, "network.n_classes", self.n_classes, "must not be negative")
        blocks = len(self.d_channels)
        rule = f"must be at most the {blocks} blocks of network.d_channels"
        require(0 <= self.d_downs <= blocks, "network.d_downs", self.d_downs, rule)
        check_resolution(self.resolution, 2 ** max(len(self.g_channels) - 1, self.d_downs))
        check_attention("g_attention", self.g_attention, self.g_maps())
        check_attention("d_attention", self.d_attention, self.d_maps())
        self._check_latent()

    def _check_latent(self) -> None:
        require(
            self.shared_embedding or not self.skip_z or self.n_classes == 0,
            "network.skip_z",
            self.skip_z,
            "needs network.shared_embedding, whose output the chunks of z join",
        )
        slots = len(self.g_channels)
        below = self.dim_z // slots * slots
        near = " or ".join(str(d) for d in (below, below + slots) if d)
        require(
            not self.skip_z or self.dim_z % slots == 0,
            "network.dim_z",
            self.dim_z,
            f"cannot be split evenly among the first layer and {slots - 1} blocks: try {near}",
        )

    @property
    def base(self) -> int:
        """Side of G's first map."""
        return self.resolution >> (len(self.g_channels) - 1)

    def g_maps(self) -> dict[int, int]:
        """Channels of the map after each block of G, by its side."""
        return {self.base << i: m * self.width for i, m in enumerate(self.g_channels) if i}

    def d_maps(self) -> dict[int, int]:
        """Channels of the map after each block of D, by its side; of several blocks on one map, of the first."""
        maps: dict[int, int] = {}
        for i, m in enumerate(self.d_channels, start=1):
            maps.setdefault(self.resolution >> min(i, self.d_downs), m * self.width)
        return maps

    @property
    def dim_chunk(self) -> int:
        """Dimensions of z that the first layer sees, and of each further chunk when z is split."""
        return self.dim_z // len(self.g_channels) if self.skip_z else self.dim_z

    @property
    def dim_condition(self) -> int:
        """Dimensions of the vector that conditions a norm: shared embedding, then a chunk of z."""
        return (self.shared_dim if self.n_classes else 0) + (self.dim_chunk if self.skip_z else 0)


class BigGANGenerator(nn.Module):
    """z (N, dim_z) and y -> images (N, 3, R, R) in [-1, 1].

    y is class indices (N,), or weights (N, n_classes) that mix classes, or None in a generator without classes.
    """

    memory_format: torch.memory_format = torch.channels_last
    """Layout of the feature maps; convolutions are fastest in this one, on processors and on GPUs."""

    def __init__(self, config: BigGANConfig):
        super().__init__()
        self.config = config
        self._layers = layers = spectral(config.sn_eps)
        c = [m * config.width for m in config.g_channels]
        self.first_channels = c[0]
        # Without spectral norm: BigGAN-PyTorch found that it sometimes cripples G here.
        shared = config.n_classes > 0 and config.shared_embedding
        self.embedding = ClassTable(config.n_classes, config.shared_dim) if shared else None
        self.linear = layers.linear(config.dim_chunk, c[0] * config.base**2)
        self.blocks = nn.ModuleList(
            GBlock(i, o, self._norm(i), self._norm(o), layers) for i, o in itertools.pairwise(c)
        )
        at = config.g_attention
        self.attention = SelfAttention(config.g_maps()[at], layers) if at else None
        self.norm = BatchNorm2d(c[-1], config.bn_eps)
        self.to_rgb = layers.conv(c[-1], 3, 3)
        self.checkpoint_blocks = False
        prepare(self, config.init)

    def _norm(self, channels: int) -> BatchNorm2d:
        config = self.config
        if config.n_classes and not config.shared_embedding:
            tables = [ClassTable(config.n_classes, channels) for _ in range(2)]
            return ConditionalBatchNorm2d(channels, tables[0], tables[1], config.bn_eps)
        if config.dim_condition == 0:
            return BatchNorm2d(channels, config.bn_eps)
        maps = [self._layers.linear(config.dim_condition, channels, bias=False) for _ in range(2)]
        return ConditionalBatchNorm2d(channels, maps[0], maps[1], config.bn_eps)

    def conditions(self, z: Tensor, y: Tensor | None) -> Iterator[Tensor | None]:
        """What the first layer sees, then what conditions the norms of each block."""
        chunks = z.split(self.config.dim_chunk, 1)
        yield chunks[0]
        shared = y if self.embedding is None else self.embedding(y)
        for i in range(len(self.blocks)):
            if not self.config.skip_z:
                yield shared
            elif shared is None:
                yield chunks[i + 1]
            else:
                yield torch.cat([shared, chunks[i + 1].to(shared.dtype)], 1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(z, (self.config.dim_z,), y, self.config)
        first, *conditions = self.conditions(z, y)
        # Channels first in the linear layer's output, as in BigGAN-PyTorch; the TensorFlow weights have them last.
        h = self.linear(first).view(len(z), self.first_channels, self.config.base, self.config.base)
        h = h.contiguous(memory_format=self.memory_format)
        for i, condition in enumerate(conditions):
            if self.checkpoint_blocks:
                h = checkpoint(self._stage, i, h, condition, use_reentrant=False)
            else:
                h = self._stage(i, h, condition)
        return torch.tanh(self.to_rgb(F.relu(self.norm(h), inplace=True)))

    def _stage(self, i: int, h: Tensor, condition: Tensor | None) -> Tensor:
        h = self.blocks[i](h, condition)
        return self.attention(h) if self.attention is not None and h.shape[2] == self.config.g_attention else h


class BigGANDiscriminator(nn.Module):
    """Images (N, 3, R, R) in [-1, 1] and y (N,) -> logits (N,)."""

    memory_format: torch.memory_format = torch.channels_last

    def __init__(self, config: BigGANConfig):
        super().__init__()
        self.config = config
        built_from = parts(config.stabilizer, config.sn_eps, config.bn_eps)
        layers = built_from.layers
        c = [3, *(m * config.width for m in config.d_channels)]
        self.blocks = nn.ModuleList(
            DBlock(i, o, o, down=k < config.d_downs, first=k == 0, parts=built_from)
            for k, (i, o) in enumerate(itertools.pairwise(c))
        )
        at = config.d_attention
        self.attention = SelfAttention(config.d_maps()[at], layers) if at else None
        self.attention_after = config.resolution.bit_length() - at.bit_length() - 1 if at else -1
        self.head = ProjectionHead(c[-1], config.n_classes, layers)
        prepare(self, config.init)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(x, (3, self.config.resolution, self.config.resolution), y, self.config)
        h = x.contiguous(memory_format=self.memory_format)
        for i, block in enumerate(self.blocks):
            h = block(h)
            if self.attention is not None and i == self.attention_after:
                h = self.attention(h)
        return self.head(h, y)
