"""The generator of StyleGAN2 (Karras et al. 2020), in the configurations of StyleGAN2-ADA and of Projected GAN.

Mapping, modulated convolutions with noise, and an image that is the sum of what each resolution adds ("skip"). Its
discriminator is in `stylegan2_discriminator`. Presets are in `orthogan.presets`.
"""

from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.networks.base import GeneratorConfig, NetworkConfig, StyleGenerator
from orthogan.networks.common import SMALLEST, check_doublings, check_inputs, halvings
from orthogan.nn.classes import need_labels
from orthogan.nn.equalized import GAIN, EqualizedLinear, activate, limit, normalized
from orthogan.nn.fir import upsample
from orthogan.nn.modulated import ModulatedConv2d, StyledConv
from orthogan.nn.noise import MIXED_LATENT, MIXING, MODES, Noise, keys, normals, uniforms
from orthogan.nn.standing import BatchMean

LARGE = 512
"""From here on the published networks have twice the channels."""


def sides(resolution: int) -> list[int]:
    """Sides of the maps, each twice the one before; the first from 4 to 7."""
    times = halvings(resolution, SMALLEST)
    return [resolution >> (times - i) for i in range(times + 1)]


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Config(NetworkConfig):
    """What the settings of both players have."""

    channel_base: int = 32768
    """Channels of a map times its side (32768; 16384 in StyleGAN2-ADA below 512 px), as far as channel_max allows."""
    channel_max: int = 512
    """Most channels of a map."""
    conv_clamp: float = 256.0
    """Bound of what convolutions put out (StyleGAN2-ADA 256); 0 none."""

    @classmethod
    def at(cls, resolution: int) -> Self:
        return cls(channel_base=32768 if resolution >= LARGE else 16384)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("channel_base", "channel_max")
        self.require(self.conv_clamp >= 0, "conv_clamp", "must not be negative")

    def check(self, resolution: int, n_classes: int) -> None:
        check_doublings(self, resolution)
        self.require(self.channel_base >= resolution, "channel_base", f"must be at least the resolution, {resolution}")

    def channels(self, side: int) -> int:
        """Of the maps of a side."""
        return min(self.channel_base // side, self.channel_max)


@dataclass(frozen=True, kw_only=True)
class StyleGAN2GeneratorConfig(StyleGAN2Config, GeneratorConfig):
    offers = frozenset({"w"})

    dim_z: int = 512
    """Dimensions of the latent (StyleGAN2 512, Projected GAN 64)."""
    dim_w: int = 512
    """Dimensions of the intermediate latent (StyleGAN2 512, Projected GAN 128)."""
    mapping_layers: int = 8
    """Linear layers from z to w (StyleGAN2 8; StyleGAN2-ADA's auto and Projected GAN 2)."""
    mapping_lr_mult: float = 0.01
    """Learning rate of those layers as a share of the others'."""
    mixing: float = 0.9
    """Share of the training images whose last layers have the w of a second latent (StyleGAN2 0.9; Projected GAN 0)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("dim_w", "mapping_layers", "mapping_lr_mult")
        self.require(0 <= self.mixing <= 1, "mixing", "must be in [0, 1]")
        rule = "styles are mixed with those of normal latents: set generator.mixing 0 or leave it out"
        self.require(self.latent == "normal" or not self.mixing, "latent", rule)


class Mapping(nn.Module):
    """z (N, dim_z) and y -> w (N, dim_w), float32. Without `dim_z`, from y alone."""

    def __init__(self, dim_z: int, dim_w: int, n_classes: int, layers: int, lr_mult: float):
        super().__init__()
        self.embedding = EqualizedLinear(n_classes, dim_w) if n_classes else None
        inputs = [dim_z + (dim_w if n_classes else 0)] + [dim_w] * (layers - 1)
        self.layers = nn.ModuleList(EqualizedLinear(i, dim_w, lr_mult=lr_mult) for i in inputs)

    def forward(self, z: Tensor | None, y: Tensor | None) -> Tensor:
        parts = [] if z is None else [normalized(z.float())]
        with torch.autocast(self.layers[0].weight.device.type, enabled=False):  # type: ignore[arg-type]
            if self.embedding is not None:
                parts.append(normalized(self.embedding(self._weights(need_labels(y)))))
            h = torch.cat(parts, 1)
            for layer in self.layers:
                h = activate(GAIN * layer(h))
        return h

    def _weights(self, y: Tensor) -> Tensor:
        """Class indices (N,) as weights (N, n_classes)."""
        assert self.embedding is not None
        return y.float() if y.is_floating_point() else F.one_hot(y, self.embedding.in_features).float()


class SynthesisBlock(nn.Module):
    """A resolution: one styled convolution or, behind one that doubles, a second; and its share of the image.

    `layer` is the number of its first convolution.
    """

    def __init__(self, config: StyleGAN2GeneratorConfig, side: int, *, layer: int, first: bool):
        super().__init__()
        channels, dim_w, clamp = config.channels(side), config.dim_w, config.conv_clamp
        self.clamp, self.layer = clamp, layer
        self.up = (
            None
            if first
            else StyledConv(config.channels(side // 2), channels, dim_w, side=side, layer=layer, clamp=clamp, up=True)
        )
        second = layer if first else layer + 1
        self.conv = StyledConv(channels, channels, dim_w, side=side, layer=second, clamp=clamp)
        self.to_rgb = ModulatedConv2d(channels, 3, 1, dim_w, demodulate=False)

    def forward(self, x: Tensor, image: Tensor | None, w: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """The map, the image so far (None at first) and w (N, L, D) -> both at this resolution."""
        at = self.layer
        if self.up is not None:
            x, at = self.up(x, w[:, at], noise), at + 1  # (N, C, H, W), twice the side
        x = self.conv(x, w[:, at], noise)
        added = limit(self.to_rgb(x, w[:, at + 1]), self.clamp).float()  # (N, 3, H, W)
        return x, added if image is None else upsample(image) + added


class StyleGAN2Generator(StyleGenerator):
    """Images of no bound, around [-1, 1]. Every layer has noise inside; the noise of an image comes from its latent.

    Published training mixes styles of a micro-batch at one layer. Here each image has a layer of its own, which does
    not depend on how a batch is split.
    """

    noise_modes = MODES
    class_columns = "last"
    config: StyleGAN2GeneratorConfig

    def __init__(self, config: StyleGAN2GeneratorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        self.mapping = Mapping(config.dim_z, config.dim_w, n_classes, config.mapping_layers, config.mapping_lr_mult)
        self.mean = BatchMean(config.dim_w)
        first, *doubled = sides(resolution)
        self.const = nn.Parameter(torch.randn(config.channels(first), first, first))
        self.blocks = nn.ModuleList([SynthesisBlock(config, first, layer=0, first=True)])
        for i, side in enumerate(doubled):
            self.blocks.append(SynthesisBlock(config, side, layer=2 * i + 1, first=False))
        self.n_styles = 2 * len(self.blocks)
        """L, the number of layers that have a w: each convolution, and the last image's."""

    def styles(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(self, z, (self.dim_z,), y)
        w = self.mean(self.mapping(z, y))[:, None].expand(-1, self.n_styles, -1)  # (N, L, D)
        return self._mixed(w, keys(z), y) if self.training and self.config.mixing else w

    def _mixed(self, w: Tensor, of: Tensor, y: Tensor | None) -> Tensor:
        """With the w of a second latent from a layer on, in the share `mixing` of the images."""
        other = self.mapping(normals(of, MIXED_LATENT, self.dim_z), y)[:, None]  # (N, 1, D)
        coin, place = uniforms(of, MIXING, 2).unbind(1)
        start = torch.where(coin < self.config.mixing, 1 + (place * (self.n_styles - 1)).long(), self.n_styles)
        layers = torch.arange(self.n_styles, device=w.device)
        return torch.where((layers >= start[:, None])[..., None], other, w)

    def mean_style(self) -> Tensor:
        return self.mean.mean

    def synthesize(self, w: Tensor, noise: Noise) -> Tensor:
        x = self.const.expand(w.shape[0], -1, -1, -1).contiguous(memory_format=self.memory_format)
        image = None
        for block in self.blocks:
            x, image = self.call_block(block, x, image, w, noise)
        assert image is not None
        return image
