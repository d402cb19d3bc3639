"""SN-GAN (Miyato, Kataoka, Koyama and Yoshida 2018) with the conditioning of Miyato and Koyama (2018).

The residual networks of 32 to 256 pixels and the DCGAN-style ones of 32 and 48 pixels (the paper's table 3). Only D is
stabilised; G has plain weights, batch norm, and class-conditional batch norm if there are classes. Presets are in
`orthogan.presets`.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from orthogan.config import NetworkConfig
from orthogan.networks.common import check_inputs, check_positive, check_resolution, prepare
from orthogan.nn.blocks import DBlock, GBlock
from orthogan.nn.classes import ClassTable, ProjectionHead, need_labels
from orthogan.nn.layers import PLAIN
from orthogan.nn.norm import BatchNorm2d, ConditionalBatchNorm2d
from orthogan.nn.stabilizers import Parts, Stabilizer, parts
from orthogan.settings import check_choices, require

LEAK = 0.1
"""Slope of the plain networks' leaky ReLU."""


def check_sn_eps(config: "SNGANConfig | SNGANCNNConfig") -> None:
    """Only D can have spectral norm here: without it its eps is read by nobody."""
    unused = config.stabilizer != "spectral-norm" and config.sn_eps != type(config).sn_eps
    rule = f"only network.stabilizer spectral-norm reads it, not {config.stabilizer}; leave it out"
    require(not unused, "network.sn_eps", config.sn_eps, rule)


@dataclass(frozen=True, kw_only=True)
class SNGANConfig(NetworkConfig):
    width: int = 64
    """Channel multiplier."""
    g_channels: tuple[int, ...] = (16, 16, 8, 4, 2, 1)
    """Multiples of width in G: of the first map, then after each doubling block."""
    d_channels: tuple[int, ...] = (1, 2, 4, 8, 16, 16)
    """Multiples of width in D after each block."""
    d_downs: int = 5
    """How many of D's blocks, from the first, halve the map."""
    dim_z: int = 128
    """Dimensions of the latent."""
    d_labels: Literal["projection", "concat"] = "projection"
    """How D sees the class: by a projection at its end, or by an embedding joined to its third block's map."""
    head_bias: bool = True
    """Bias of D's last linear layer; the released 32 px network has none."""
    stabilizer: Stabilizer = "spectral-norm"
    """What keeps D in bounds: one of the methods that the paper compares."""
    bn_eps: float = 2e-5
    sn_eps: float = 1e-12

    def __post_init__(self) -> None:
        check_choices(self, "network.")
        check_positive(self, "resolution", "width", "g_channels", "d_channels", "dim_z", "bn_eps", "sn_eps")
        require(self.n_classes >= 0, "network.n_classes", self.n_classes, "must not be negative")
        check_sn_eps(self)
        blocks = len(self.d_channels)
        rule = f"must be at most the {blocks} blocks of network.d_channels"
        require(0 <= self.d_downs <= blocks, "network.d_downs", self.d_downs, rule)
        labelled = self.d_labels == "projection" or self.n_classes > 0
        require(labelled, "network.d_labels", self.d_labels, "needs classes: images in a folder for each class")
        joinable = self.d_labels == "projection" or blocks > JOIN_AFTER
        require(joinable, "network.d_labels", self.d_labels, f"needs more than {JOIN_AFTER} blocks in D")
        check_resolution(self.resolution, 2 ** max(len(self.g_channels) - 1, self.d_downs))

    @property
    def base(self) -> int:
        """Side of G's first map."""
        return self.resolution >> (len(self.g_channels) - 1)


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


class SNGANGenerator(nn.Module):
    """z (N, dim_z) and y -> images (N, 3, R, R) in [-1, 1]; y as in BigGANGenerator."""

    memory_format: torch.memory_format = torch.channels_last

    def __init__(self, config: SNGANConfig):
        super().__init__()
        self.config = config
        c = [m * config.width for m in config.g_channels]
        self.first_channels = c[0]
        self.linear = PLAIN.linear(config.dim_z, c[0] * config.base**2)
        norm = (config.n_classes, config.bn_eps)
        self.blocks = nn.ModuleList(
            GBlock(i, o, g_norm(i, *norm), g_norm(o, *norm), PLAIN) for i, o in itertools.pairwise(c)
        )
        self.norm = BatchNorm2d(c[-1], config.bn_eps)
        self.to_rgb = PLAIN.conv(c[-1], 3, 3)
        self.checkpoint_blocks = False
        prepare(self, "xavier", self._adjust)

    def _adjust(self) -> None:
        widen_block_weights(self.blocks)
        start_conditional_norms(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(z, (self.config.dim_z,), y, self.config)
        h = self.linear(z).view(len(z), self.first_channels, self.config.base, self.config.base)
        h = h.contiguous(memory_format=self.memory_format)
        for block in self.blocks:
            h = checkpoint(block, h, y, use_reentrant=False) if self.checkpoint_blocks else block(h, y)
        return torch.tanh(self.to_rgb(F.relu(self.norm(h), inplace=True)))


class SNGANDiscriminator(nn.Module):
    """Images (N, 3, R, R) in [-1, 1] and y (N,) -> logits (N,)."""

    memory_format: torch.memory_format = torch.channels_last

    def __init__(self, config: SNGANConfig):
        super().__init__()
        self.config = config
        built_from = parts(config.stabilizer, config.sn_eps, config.bn_eps)
        concat = config.n_classes > 0 and config.d_labels == "concat"
        c = [3, *(m * config.width for m in config.d_channels)]
        self.blocks = nn.ModuleList(
            self._block(k, i + JOINED_DIM * (concat and k == JOIN_AFTER), o, built_from)
            for k, (i, o) in enumerate(itertools.pairwise(c))
        )
        self.joined = built_from.layers.embedding(config.n_classes, JOINED_DIM) if concat else None
        projected = 0 if concat else config.n_classes
        self.head = ProjectionHead(c[-1], projected, built_from.layers, bias=config.head_bias)
        prepare(self, "xavier", lambda: widen_block_weights(self.blocks))

    def _block(self, k: int, inputs: int, outputs: int, built_from: Parts) -> DBlock:
        """Thin: the width between the two convolutions is the input's, but in the first block the output's."""
        hidden = outputs if k == 0 else inputs
        down = k < self.config.d_downs
        return DBlock(inputs, hidden, outputs, down=down, first=k == 0, parts=built_from)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(x, (3, self.config.resolution, self.config.resolution), y, self.config)
        h = x.contiguous(memory_format=self.memory_format)
        for k, block in enumerate(self.blocks):
            if self.joined is not None and k == JOIN_AFTER:
                embedded = self.joined(need_labels(y)).to(h.dtype)[:, :, None, None]
                h = torch.cat([h, embedded.expand(-1, -1, *h.shape[2:])], 1)
            h = block(h)
        return self.head(h, None if self.joined is not None else y)


@dataclass(frozen=True, kw_only=True)
class SNGANCNNConfig(NetworkConfig):
    """The paper's table 3: four by four or six by six, doubled three times."""

    width: int = 64
    """Channels of G's last map and of D's first."""
    d_channels: tuple[int, ...] = (1, 2, 4, 8)
    """Multiples of width in D: of the first map, then after each halving. G has 8, 4, 2, 1."""
    dim_z: int = 128
    """Dimensions of the latent."""
    stabilizer: Stabilizer = "spectral-norm"
    """What keeps D in bounds: one of the methods that the paper compares."""
    bn_eps: float = 2e-5
    sn_eps: float = 1e-12

    def __post_init__(self) -> None:
        check_choices(self, "network.")
        check_positive(self, "resolution", "width", "d_channels", "dim_z", "bn_eps", "sn_eps")
        require(self.n_classes >= 0, "network.n_classes", self.n_classes, "must not be negative")
        check_sn_eps(self)
        check_resolution(self.resolution, 2 ** max(3, len(self.d_channels) - 1))

    @property
    def base(self) -> int:
        """Side of G's first map."""
        return self.resolution // 8

    @property
    def d_features(self) -> int:
        """Dimensions of D's last map, flattened."""
        return self.d_channels[-1] * self.width * (self.resolution >> (len(self.d_channels) - 1)) ** 2


class SNGANCNNGenerator(nn.Module):
    """z (N, dim_z) and y -> images (N, 3, R, R) in [-1, 1]; y as in BigGANGenerator."""

    memory_format: torch.memory_format = torch.channels_last

    def __init__(self, config: SNGANCNNConfig):
        super().__init__()
        self.config = config
        c = [m * config.width for m in (8, 4, 2, 1)]
        self.first_channels = c[0]
        self.linear = PLAIN.linear(config.dim_z, c[0] * config.base**2)
        self.convs = nn.ModuleList(nn.ConvTranspose2d(i, o, 4, 2, 1) for i, o in itertools.pairwise(c))
        self.norms = nn.ModuleList(g_norm(o, config.n_classes, config.bn_eps) for o in c[1:])
        self.to_rgb = PLAIN.conv(c[-1], 3, 3)
        self.checkpoint_blocks = False
        prepare(self, "normal", lambda: start_conditional_norms(self))

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(z, (self.config.dim_z,), y, self.config)
        h = self.linear(z).view(len(z), self.first_channels, self.config.base, self.config.base)
        h = h.contiguous(memory_format=self.memory_format)
        for i in range(len(self.convs)):
            h = (
                checkpoint(self._stage, i, h, y, use_reentrant=False)
                if self.checkpoint_blocks
                else self._stage(i, h, y)
            )
        return torch.tanh(self.to_rgb(h))

    def _stage(self, i: int, h: Tensor, y: Tensor | None) -> Tensor:
        return F.relu(self.norms[i](self.convs[i](h), y), inplace=True)


class SNGANCNNDiscriminator(nn.Module):
    """Images (N, 3, R, R) in [-1, 1] and y (N,) -> logits (N,), by a projection of the flattened last map."""

    memory_format: torch.memory_format = torch.channels_last

    def __init__(self, config: SNGANCNNConfig):
        super().__init__()
        self.config = config
        built_from = parts(config.stabilizer, config.sn_eps, config.bn_eps)
        layers, c = built_from.layers, [m * config.width for m in config.d_channels]
        shapes = [(3, c[0], 3), *(s for i, o in itertools.pairwise(c) for s in ((i, i, 4), (i, o, 3)))]
        self.convs = nn.ModuleList(layers.conv(i, o, size, stride=2 if size == 4 else 1) for i, o, size in shapes)
        # Not on the image's own layer, as in DCGAN.
        norms = [built_from.norm(o) for _, o, _ in shapes[1:]]
        self.norms = nn.ModuleList([nn.Identity(), *norms])
        self.linear = layers.linear(config.d_features, 1)
        self.embedding = layers.embedding(config.n_classes, config.d_features) if config.n_classes else None
        prepare(self, "normal")

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(x, (3, self.config.resolution, self.config.resolution), y, self.config)
        h = x.contiguous(memory_format=self.memory_format)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = F.leaky_relu(norm(conv(h)), LEAK, inplace=True)
        with torch.autocast(h.device.type, enabled=False):
            flat = h.float().flatten(1)
            logits: Tensor = self.linear(flat)[:, 0]
            return logits if self.embedding is None else logits + (self.embedding(need_labels(y)) * flat).sum(1)
