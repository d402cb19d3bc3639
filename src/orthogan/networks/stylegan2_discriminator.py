"""The discriminator of StyleGAN2 (Karras et al. 2020) and of StyleGAN2-ADA, with the deviation of a minibatch."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from orthogan.networks.base import Discriminator, DiscriminatorConfig
from orthogan.networks.common import check_inputs
from orthogan.networks.stylegan2 import Mapping, StyleGAN2Config, sides
from orthogan.nn.apart import Coupling
from orthogan.nn.equalized import GAIN, EqualizedConv2d, EqualizedLinear, activate

MAPPING_LAYERS, MAPPING_LR_MULT = 8, 0.01
"""Of the mapping of classes, in every published configuration."""


@dataclass(frozen=True, kw_only=True)
class StyleGAN2DiscriminatorConfig(StyleGAN2Config, DiscriminatorConfig):
    architecture: Literal["resnet", "orig"] = "resnet"
    """Blocks with a skip, or plain ones as in StyleGAN2-ADA's cifar configuration."""
    mbstd_group: int = 4
    """Images over which the minibatch deviation is taken (4; StyleGAN2-ADA's paper256 8, cifar 32); 0 leaves it out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.mbstd_group >= 0, "mbstd_group", "must not be negative")


class DiscriminatorBlock(nn.Module):
    """Two 3x3 convolutions, the second of which halves the map; with a skip, the sum with it over sqrt(2).

    (N, I, H, W) -> (N, O, H / 2, W / 2).
    """

    def __init__(self, inputs: int, outputs: int, *, skip: bool, clamp: float):
        super().__init__()
        share = math.sqrt(0.5) if skip else 1.0
        self.clamp, self.clamp_of_second = clamp, clamp * share
        self.conv1 = EqualizedConv2d(inputs, inputs, 3, gain=GAIN)
        self.conv2 = EqualizedConv2d(inputs, outputs, 3, down=True, gain=GAIN * share)
        self.skip = EqualizedConv2d(inputs, outputs, 1, down=True, bias=False, gain=share) if skip else None

    def forward(self, x: Tensor) -> Tensor:
        h = activate(self.conv1(x), self.clamp)  # (N, I, H, W)
        h = activate(self.conv2(h), self.clamp_of_second)  # (N, O, H / 2, W / 2)
        return h if self.skip is None else h + self.skip(x)


def group_size(n: int, most: int) -> int:
    """The largest divisor of a batch's size up to `most`."""
    return max(size for size in range(1, min(n, most) + 1) if n % size == 0)


class MinibatchDeviation(Coupling):
    """Adds a channel of the deviation over groups of up to `most` images. (N, C, H, W) -> (N, C + 1, H, W).

    There are M = N / G groups, and image i is in group i mod M. The deviation of each feature over the group, and its
    mean over features. Published groups are of `most` images or of the batch, which must then be divisible; here G is
    the largest divisor of N up to `most`.
    """

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def couple(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        grouped = x.float().unflatten(0, (group_size(n, self.most), -1))  # (G, M, C, H, W)
        deviation = torch.sqrt(grouped.var(0, correction=0) + 1e-8).mean((1, 2, 3))  # (M,)
        channel = deviation.repeat(len(grouped)).to(x.dtype)[:, None, None, None]  # (N, 1, 1, 1)
        return torch.cat([x, channel.expand(-1, 1, height, width)], 1)


class StyleGAN2Discriminator(Discriminator):
    """With logits (N,); with classes a scalar product with a mapping of the class. Everything behind the last
    convolution is in float32, whatever the autocast."""

    config: StyleGAN2DiscriminatorConfig

    def __init__(self, config: StyleGAN2DiscriminatorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        last, *_ = maps = sides(resolution)
        channels = [config.channels(side) for side in reversed(maps)]
        top, clamp = channels[-1], config.conv_clamp
        self.from_rgb = EqualizedConv2d(3, channels[0], 1, gain=GAIN)
        skip = config.architecture == "resnet"
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(i, o, skip=skip, clamp=clamp) for i, o in itertools.pairwise(channels)
        )
        self.deviation = MinibatchDeviation(config.mbstd_group) if config.mbstd_group else None
        self.conv = EqualizedConv2d(top + (config.mbstd_group > 0), top, 3, gain=GAIN)
        self.linear = EqualizedLinear(top * last**2, top)
        self.mapping = Mapping(0, top, n_classes, MAPPING_LAYERS, MAPPING_LR_MULT) if n_classes else None
        self.out = EqualizedLinear(top, top if n_classes else 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(self, x, (3, self.resolution, self.resolution), y)
        clamp = self.config.conv_clamp
        h = x.contiguous(memory_format=self.memory_format)
        h = activate(self.from_rgb(h), clamp)
        for block in self.blocks:
            h = block(h)
        if self.deviation is not None:
            h = self.deviation(h)
        h = activate(self.conv(h), clamp).float()  # (N, C, S, S), S from 4 to 7
        with torch.autocast(h.device.type, enabled=False):
            features = self.out(activate(GAIN * self.linear(h.flatten(1))))  # (N, C), without classes (N, 1)
            if self.mapping is None:
                return features[:, 0]
            logits: Tensor = (features * self.mapping(None, y)).sum(1) / math.sqrt(features.shape[1])
            return logits

    def stages(self) -> list[list[nn.Module]]:
        """Blocks, the first with the convolution of the image."""
        stages: list[list[nn.Module]] = [[block] for block in self.blocks]
        stages[0].insert(0, self.from_rgb)
        return stages
