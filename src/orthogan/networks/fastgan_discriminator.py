"""FastGAN's discriminator (Liu, Zhu, Song and Elgammal 2021), with the decoders that it is regularised by.

It is published for 256, 512 and 1024 pixels. Below 256 the leading blocks are left out, so that the last maps have 8 to
15 pixels a side at any resolution, and what is 128 pixels there is half of the side. Classes, which FastGAN does not
have, are seen by projections (Miyato and Koyama 2018).
"""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.networks.base import Discriminator, DiscriminatorConfig
from orthogan.networks.common import SMALLEST, check_doublings, check_inputs, halvings, prepare
from orthogan.networks.fastgan import MOST_DOUBLINGS, Gate, UpBlock, draw_normal_weights
from orthogan.nn.classes import need_labels
from orthogan.nn.layers import Layers
from orthogan.nn.norm import BatchNorm2d
from orthogan.nn.resample import halve
from orthogan.nn.spectral import spectral

LEAK = 0.2
BLOCKS = 5
"""Of the branch of the whole image, at most; further halvings are its stem's."""
SMALL_HALVINGS = 4
"""Of the branch of the small image, at most."""
GATE_SPAN = 3
"""A map gates the one that has been halved so many times more: 256 to 32 pixels, 128 to 16, 64 to 8."""
WINDOW = 4
"""Side of the part of the last map that a logit sees."""


@dataclass(frozen=True, kw_only=True)
class FastGANDiscriminatorConfig(DiscriminatorConfig):
    width: int = 64
    """Channel multiplier, ndf in the code (FastGAN 64)."""
    decoders: bool = False
    """Build the decoders (FastGAN does), which regularizers.d_reconstruction trains and nothing else uses."""
    bn_eps: float = 1e-5
    sn_eps: float = 1e-12

    @property
    def offers(self) -> frozenset[str]:  # type: ignore[override]
        """Reconstructions, if there are decoders."""
        return frozenset({"reconstructions"} if self.decoders else ())

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("width", "bn_eps", "sn_eps")

    def check(self, resolution: int, n_classes: int) -> None:
        check_doublings(self, resolution, MOST_DOUBLINGS)
        one_map = halvings(resolution, 2 * SMALLEST) == 0
        self.require(not (self.decoders and one_map), "decoders", "need 16 pixels or more, for the parts of an image")


class Builder:
    """Makes the layers of this network, all of which have spectral norm and no bias."""

    def __init__(self, config: FastGANDiscriminatorConfig):
        self.layers: Layers = spectral(config.sn_eps)
        self.bn_eps = config.bn_eps

    def norm(self, channels: int) -> BatchNorm2d:
        return BatchNorm2d(channels, self.bn_eps)

    def conv(self, inputs: int, outputs: int, size: int) -> list[nn.Module]:
        """With its leaky ReLU. (N, I, H, W) -> (N, O, H, W), or of size 4 (N, O, H / 2, W / 2)."""
        stride = 2 if size == 4 else 1
        return [self.layers.conv(inputs, outputs, size, stride=stride, bias=False), nn.LeakyReLU(LEAK, inplace=True)]

    def normed_conv(self, inputs: int, outputs: int, size: int) -> list[nn.Module]:
        """With a batch norm between it and its leaky ReLU."""
        conv, leak = self.conv(inputs, outputs, size)
        return [conv, self.norm(outputs), leak]

    def stem(self, outputs: int, times: int) -> nn.Sequential:
        """From the image, halved 0, 1 or 2 times."""
        if times < 2:
            return nn.Sequential(*self.conv(3, outputs, 4 if times else 3))
        hidden = max(1, outputs // 2)
        return nn.Sequential(*self.conv(3, hidden, 4), *self.normed_conv(hidden, outputs, 4))


class DownBlock(nn.Module):
    """The mean of conv4 of stride 2, conv3 and of 2x2 mean, conv1; norm and leaky ReLU after each convolution.

    (N, I, H, W) -> (N, O, H / 2, W / 2).
    """

    def __init__(self, inputs: int, outputs: int, builder: Builder):
        super().__init__()
        self.main = nn.Sequential(*builder.normed_conv(inputs, outputs, 4), *builder.normed_conv(outputs, outputs, 3))
        self.direct = nn.Sequential(*builder.normed_conv(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        both: Tensor = self.main(x) + self.direct(halve(x))
        return both / 2


class WindowHead(nn.Module):
    """Features (N, C, S, S) and y -> logits (N, (S - 3)^2), one for each window of 4x4 pixels: conv4.

    With classes, plus <embedding(y), mean of the window>. Float32 whatever the autocast.
    """

    def __init__(self, channels: int, n_classes: int, layers: Layers):
        super().__init__()
        self.conv = layers.conv(channels, 1, WINDOW, padding=0, bias=False)
        self.embedding = layers.embedding(n_classes, channels) if n_classes else None

    def forward(self, h: Tensor, y: Tensor | None) -> Tensor:
        h = h.float()
        with torch.autocast(h.device.type, enabled=False):
            logits: Tensor = self.conv(h)
            if self.embedding is not None:
                products = (self.embedding(need_labels(y))[:, :, None, None] * h).sum(1, keepdim=True)
                logits = logits + F.avg_pool2d(products, WINDOW, stride=1)
            return logits.flatten(1)


class Decoder(nn.Module):
    """A map (N, I, S, S) -> an image (N, 3, S', S') in [-1, 1], doubled up to four times."""

    def __init__(self, inputs: int, width: int, doublings: int, builder: Builder):
        super().__init__()
        outputs = (2 * width, width, width, max(1, width // 2))[SMALL_HALVINGS - doublings :]
        c = [inputs, *outputs]
        self.blocks = nn.Sequential(
            *(UpBlock(i, o, builder.norm(2 * o), builder.layers) for i, o in itertools.pairwise(c))
        )
        self.to_rgb = builder.layers.conv(c[-1], 3, 3, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        return torch.tanh(self.to_rgb(self.blocks(h)))


class FastGANDiscriminator(Discriminator):
    """With logits (N, K): those of the whole image, then as many of it at 128 pixels or half of its side; 25 each.

    For its second half FastGAN gives it what its generator's second head makes of fakes at 128 pixels; here real and
    fake images alike are resized by nearest neighbour, as FastGAN does with real ones.
    """

    config: FastGANDiscriminatorConfig

    def __init__(self, config: FastGANDiscriminatorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        builder, width = Builder(config), config.width
        times = halvings(resolution, 2 * SMALLEST)
        blocks, small_times = min(times, BLOCKS), min(max(times - 1, 0), SMALL_HALVINGS)
        self.small_side = (resolution >> times) << small_times
        c = [max(1, 8 * width >> k) for k in reversed(range(blocks + 1))]
        self.stem = builder.stem(c[0], times - blocks)
        self.blocks = nn.ModuleList(DownBlock(i, o, builder) for i, o in itertools.pairwise(c))
        self.gates = nn.ModuleList(Gate(i, o, builder.layers) for i, o in zip(c, c[GATE_SPAN:], strict=False))
        self.joint = nn.Sequential(*builder.normed_conv(8 * width, 16 * width, 1))
        self.head = WindowHead(16 * width, n_classes, builder.layers)
        self.small = self._small_branch(small_times, builder)
        self.small_head = WindowHead(4 * width, n_classes, builder.layers)
        if config.decoders:
            self.decoder, self.small_decoder, self.part_decoder = (
                Decoder(m * width, width, small_times, builder) for m in (8, 4, 4)
            )
        prepare(self, None, lambda: draw_normal_weights(self))

    def _small_branch(self, times: int, builder: Builder) -> nn.Sequential:
        c = [max(1, 4 * self.config.width >> k) for k in reversed(range(max(times, 1)))]
        halving = [layer for i, o in itertools.pairwise(c) for layer in builder.normed_conv(i, o, 4)]
        return nn.Sequential(*builder.stem(c[0], min(times, 1)), *halving)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(self, x, (3, self.resolution, self.resolution), y)
        whole = self.head(self.joint(self.maps(x)[-1]), y)
        return torch.cat([whole, self.small_head(self.small(self.shrunk(x)), y)], 1)

    def stages(self) -> list[list[nn.Module]]:
        """Of the whole image, each with its gate; of the small image the stem goes with the first."""
        stages: list[list[nn.Module]] = [[self.stem, self.small[0]], *([block] for block in self.blocks)]
        for i, gate in enumerate(self.gates, start=GATE_SPAN):
            stages[i].append(gate)
        return stages

    def maps(self, x: Tensor) -> list[Tensor]:
        """The maps (N, C, S, S) of the whole image: C doubles and S halves, to 8 times the width and 8 to 15 pixels."""
        maps: list[Tensor] = [self.stem(x.contiguous(memory_format=self.memory_format))]
        for k, block in enumerate(self.blocks, start=1):
            h, gate = block(maps[-1]), k - GATE_SPAN
            maps.append(h * self.gates[gate](maps[gate]) if gate >= 0 else h)
        return maps

    def shrunk(self, x: Tensor) -> Tensor:
        """At the side of the small image, by nearest neighbour. (N, 3, H, W) -> (N, 3, S, S)."""
        x = x.contiguous(memory_format=self.memory_format)
        return F.interpolate(x, (self.small_side, self.small_side), mode="nearest")

    def reconstruct(self, x: Tensor, parts: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Pairs (target, reconstruction), each (N, 3, S, S), S the side of the small image, by the decoders.

        Of the whole from its last map, of the whole from the small image, and of a part from what the last map but one
        has there: `parts` (N,) from 0 to 3 number quadrants, in reading order.
        """
        small, part = self.shrunk(x), self.shrunk(quadrants(x, parts))
        *_, detailed, last = self.maps(x)
        return [
            (small, self.decoder(last)),
            (small, self.small_decoder(self.small(small))),
            (part, self.part_decoder(quadrants(detailed, parts))),
        ]


def quadrants(x: Tensor, parts: Tensor) -> Tensor:
    """Of each image the quadrant of this number: 0 and 1 above, 2 and 3 below. (N, C, 2H, 2W) -> (N, C, H, W)."""
    n, c, height, width = x.shape
    cut = x.reshape(n, c, 2, height // 2, 2, width // 2)
    return cut[torch.arange(n, device=x.device), :, parts // 2, :, parts % 2]
