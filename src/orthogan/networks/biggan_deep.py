"""BigGAN-deep (Brock, Donahue and Simonyan 2019, appendix B): bottlenecks, twice the depth, and a whole z.

Channels are multiples of `width`, ch in the paper. Presets for 128, 256 and 512 pixels are in `orthogan.presets`.
"""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from orthogan.config import NetworkConfig
from orthogan.networks.common import check_attention, check_inputs, check_positive, check_resolution, prepare
from orthogan.nn.blocks import SelfAttention
from orthogan.nn.classes import ClassTable, ProjectionHead
from orthogan.nn.initializers import Init
from orthogan.nn.layers import Layers
from orthogan.nn.norm import BatchNorm2d, ConditionalBatchNorm2d
from orthogan.nn.resample import double, halve
from orthogan.nn.spectral import spectral
from orthogan.nn.stabilizers import Parts, Stabilizer, parts
from orthogan.settings import check_choices, require


@dataclass(frozen=True, kw_only=True)
class BigGANDeepConfig(NetworkConfig):
    width: int = 128
    """Channel multiplier, ch in the paper."""
    g_channels: tuple[int, ...] = (16, 16, 8, 4, 2, 1)
    """Multiples of width in G: of the first map, then after each stage of two blocks, which doubles it."""
    d_channels: tuple[int, ...] = (1, 2, 4, 8, 16, 16)
    """Multiples of width in D: of the first convolution, then after each stage of two blocks."""
    d_downs: int | None = None
    """How many of D's stages, from the first, halve the map; all if left out."""
    g_attention: int = 0
    """Resolution at which G has self-attention; 0 for none."""
    d_attention: int = 0
    """Resolution at which D has self-attention; 0 for none."""
    dim_z: int = 128
    """Dimensions of the latent, all of which go to every norm."""
    shared_dim: int = 128
    """Dimensions of the class embedding."""
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
        falls = all(i >= o for i, o in itertools.pairwise(self.g_channels))
        require(falls, "network.g_channels", self.g_channels, "must not grow: skips drop channels")
        grows = all(i <= o for i, o in itertools.pairwise(self.d_channels))
        require(grows, "network.d_channels", self.d_channels, "must not fall: skips add channels")
        require(self.width % 4 == 0, "network.width", self.width, "must be a multiple of 4, the bottleneck's ratio")
        stages = len(self.d_channels) - 1
        rule = f"must be at most the {stages} stages of network.d_channels"
        require(0 <= self.d_halvings <= stages, "network.d_downs", self.d_downs, rule)
        check_resolution(self.resolution, 2 ** max(len(self.g_channels) - 1, self.d_halvings))
        check_attention("g_attention", self.g_attention, self.g_maps())
        check_attention("d_attention", self.d_attention, self.d_maps())

    @property
    def d_halvings(self) -> int:
        """Stages of D that halve the map."""
        return len(self.d_channels) - 1 if self.d_downs is None else self.d_downs

    @property
    def base(self) -> int:
        """Side of G's first map."""
        return self.resolution >> (len(self.g_channels) - 1)

    def g_maps(self) -> dict[int, int]:
        """Channels of the map after each stage of G, by its side."""
        return {self.base << i: m * self.width for i, m in enumerate(self.g_channels) if i}

    def d_maps(self) -> dict[int, int]:
        """Channels of the map after each stage of D, by its side; of several stages on one map, of the first."""
        maps: dict[int, int] = {}
        for i, m in enumerate(self.d_channels[1:], start=1):
            maps.setdefault(self.resolution >> min(i, self.d_halvings), m * self.width)
        return maps

    @property
    def dim_condition(self) -> int:
        """Dimensions of what conditions the first layer and every norm: class embedding, then z."""
        return (self.shared_dim if self.n_classes else 0) + self.dim_z


class GBottleneck(nn.Module):
    """norm, ReLU, conv1 to a quarter; norm, ReLU, [double,] conv3; norm, ReLU, conv3; norm, ReLU, conv1.

    The skip keeps the first channels and has no convolution. (N, I, H, W) -> (N, O, H or 2H, W or 2W).
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
            h = conv(F.relu(norm(h, condition), inplace=True))
        x = x[:, : self.outputs]
        return h + (double(x) if self.up else x)


class DBottleneck(nn.Module):
    """ReLU, conv1 to a quarter of the output; ReLU, conv3; ReLU, conv3; ReLU, [halve,] conv1; norms before the ReLUs.

    The skip keeps x, halved, and adds the missing channels by a 1x1 convolution of it.
    """

    def __init__(self, inputs: int, outputs: int, *, down: bool, parts: Parts):
        super().__init__()
        layers, hidden = parts.layers, outputs // 4
        self.norms = nn.ModuleList(parts.norm(channels) for channels in (inputs, *(hidden,) * 3))
        self.down = down
        self.conv1 = layers.conv(inputs, hidden, 1)
        self.conv2 = layers.conv(hidden, hidden, 3)
        self.conv3 = layers.conv(hidden, hidden, 3)
        self.conv4 = layers.conv(hidden, outputs, 1)
        self.skip = layers.conv(inputs, outputs - inputs, 1) if outputs > inputs else None

    def forward(self, x: Tensor) -> Tensor:
        # This ReLU must not be in place: the skip takes the x before it.
        h = self.conv1(F.relu(self.norms[0](x)))
        h = self.conv2(F.relu(self.norms[1](h), inplace=True))
        h = self.conv3(F.relu(self.norms[2](h), inplace=True))
        h = F.relu(self.norms[3](h), inplace=True)
        h = self.conv4(halve(h) if self.down else h)
        x = halve(x) if self.down else x
        return h + (x if self.skip is None else torch.cat([x, self.skip(x)], 1))


class BigGANDeepGenerator(nn.Module):
    """z (N, dim_z) and y -> images (N, 3, R, R) in [-1, 1]; y as in BigGANGenerator."""

    memory_format: torch.memory_format = torch.channels_last

    def __init__(self, config: BigGANDeepConfig):
        super().__init__()
        self.config = config
        self._layers = layers = spectral(config.sn_eps)
        c = [m * config.width for m in config.g_channels]
        self.first_channels = c[0]
        self.embedding = ClassTable(config.n_classes, config.shared_dim) if config.n_classes else None
        self.linear = layers.linear(config.dim_condition, c[0] * config.base**2)
        pairs = [pair for i, o in itertools.pairwise(c) for pair in ((i, i, False), (i, o, True))]
        self.blocks = nn.ModuleList(GBottleneck(i, o, self._norms(i), up=up, layers=layers) for i, o, up in pairs)
        at = config.g_attention
        self.attention = SelfAttention(config.g_maps()[at], layers) if at else None
        self.norm = BatchNorm2d(c[-1], config.bn_eps)
        self.to_rgb = layers.conv(c[-1], 3, 3)
        self.checkpoint_blocks = False
        prepare(self, config.init)

    def _norms(self, inputs: int) -> list[BatchNorm2d]:
        return [self._norm(channels) for channels in (inputs, *(inputs // 4,) * 3)]

    def _norm(self, channels: int) -> BatchNorm2d:
        maps = [self._layers.linear(self.config.dim_condition, channels, bias=False) for _ in range(2)]
        return ConditionalBatchNorm2d(channels, maps[0], maps[1], self.config.bn_eps)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(z, (self.config.dim_z,), y, self.config)
        # Class first, then z, as in BigGAN-PyTorch; the TensorFlow weights have z first.
        condition = z if self.embedding is None else torch.cat([self.embedding(y), z], 1)
        h = self.linear(condition).view(len(z), self.first_channels, self.config.base, self.config.base)
        h = h.contiguous(memory_format=self.memory_format)
        for i in range(len(self.blocks)):
            if self.checkpoint_blocks:
                h = checkpoint(self._stage, i, h, condition, use_reentrant=False)
            else:
                h = self._stage(i, h, condition)
        return torch.tanh(self.to_rgb(F.relu(self.norm(h), inplace=True)))

    def _stage(self, i: int, h: Tensor, condition: Tensor) -> Tensor:
        h = self.blocks[i](h, condition)
        ends_at_attention = i % 2 == 1 and h.shape[2] == self.config.g_attention
        return self.attention(h) if self.attention is not None and ends_at_attention else h


class BigGANDeepDiscriminator(nn.Module):
    """Images (N, 3, R, R) in [-1, 1] and y (N,) -> logits (N,)."""

    memory_format: torch.memory_format = torch.channels_last

    def __init__(self, config: BigGANDeepConfig):
        super().__init__()
        self.config = config
        built_from = parts(config.stabilizer, config.sn_eps, config.bn_eps)
        layers = built_from.layers
        c = [m * config.width for m in config.d_channels]
        self.stem = layers.conv(3, c[0], 3)
        stages = enumerate(itertools.pairwise(c))
        pairs = [pair for k, (i, o) in stages for pair in ((i, o, k < config.d_halvings), (o, o, False))]
        self.blocks = nn.ModuleList(DBottleneck(i, o, down=down, parts=built_from) for i, o, down in pairs)
        at = config.d_attention
        self.attention = SelfAttention(config.d_maps()[at], layers) if at else None
        # At the end of the first stage on its map: 2 blocks a stage, counted from 0.
        self.attention_after = 2 * (config.resolution // at).bit_length() - 3 if at else -1
        self.head = ProjectionHead(c[-1], config.n_classes, layers)
        prepare(self, config.init)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(x, (3, self.config.resolution, self.config.resolution), y, self.config)
        h = self.stem(x.contiguous(memory_format=self.memory_format))
        for i, block in enumerate(self.blocks):
            h = block(h)
            if self.attention is not None and i == self.attention_after:
                h = self.attention(h)
        return self.head(h, y)
