"""The discriminator of Projected GAN (Sauer, Chitta, Müller and Geiger 2021).

Images go through a pretrained network and random mixing, both fixed; small discriminators, trained, judge the maps.
Where the paper and its released code differ, the defaults are the paper's, and `mixing` has both; but the loss is the
mean over the logits of all discriminators, as released, where the paper adds theirs up.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.features import backbones
from orthogan.networks.base import Discriminator, DiscriminatorConfig
from orthogan.networks.common import check_inputs, prepare
from orthogan.nn.classes import ClassTable
from orthogan.nn.frozen import Frozen
from orthogan.nn.norm import BatchNorm2d
from orthogan.nn.projection import CrossChannelMixing, CrossScaleMixing
from orthogan.nn.spectral import spectral
from orthogan.nn.stabilizers import Parts, no_norm

GRID = backbones.STRIDES[-1]
"""Sides of images that all maps divide are multiples of this."""
NOMINAL_SIDE = 256
"""Blocks and channels are reckoned for images of this side, whatever theirs, as in the released code."""
CHANNELS = {64: 64, 32: 128, 16: 256, 8: 512}
"""Of a map by its nominal side. Blocks halve the map until it is nominally the last of these."""
LAST = 4
"""Side of the last convolution, which has no padding."""
CLASS_DIM, MAP_DIM = 128, 64
"""Of the embedding of a class, and of what is multiplied with it at each position."""
LEAK = 0.2
GROUPS = 8
NORM_EPS = 1e-5

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": partial(BatchNorm2d, eps=NORM_EPS),
    "group": partial(nn.GroupNorm, GROUPS, eps=NORM_EPS),
    "none": no_norm,
}


def nominal_side(side: int) -> int:
    """256 from 128 pixels on; below, less by as much as the images are smaller, for the last map needs 4 pixels."""
    return min(NOMINAL_SIDE, 2 ** (1 + int(math.log2(side))))


@dataclass(frozen=True, kw_only=True)
class ProjectedDiscriminatorConfig(DiscriminatorConfig):
    features: str = "efficientnet-lite1"
    """Pretrained network: efficientnet-lite1 (published), lite0 (released) or lite2 to lite4, or timm's such as
    resnet18."""
    weights: str = ""
    """File of its weights: the published .pth of efficientnet-lite0 to 2, a safetensors or a .pth of tensors of timm's
    others; nothing for the usual place, or the word random."""
    size: int = 224
    """Pixels a side to which smaller images are enlarged, and for vision transformers all resized; published 224."""
    projection: Literal["none", "ccm", "ccm+csm"] = "ccm+csm"
    """Random mixing of the features across channels (ccm) and scales (csm); published both."""
    mixing: Literal["paper", "released"] = "paper"
    """Its law: 3x3 across scales and Kaiming's normal weights (paper), or 1x1 and PyTorch's initial ones (released)."""
    ccm_channels: int = 64
    """Channels of the shallowest mixed map, the deeper ones having 2, 4 and 8 times as many; published 64."""
    discriminators: int = 4
    """How many of the four maps are judged, from the shallowest; published 4."""
    separable: bool = False
    """Blocks of depthwise and 1x1 convolutions, with 15 times fewer weights, published for a StyleGAN2 generator."""
    patch: bool = False
    """One block a discriminator, so that each logit sees a small patch; in the released code, but not used there."""
    max_channels: int = 512
    """Most channels of a discriminator's maps; published 512."""
    norm: Literal["batch", "group", "none"] = "batch"
    """Norm after each convolution: over the batch (published), over groups of channels in an image, or none."""
    sn_eps: float = 1e-12

    @classmethod
    def at(cls, resolution: int) -> Self:
        return cls() if resolution <= cls.size or resolution % GRID == 0 else cls(size=_up_to_grid(resolution))

    def __post_init__(self) -> None:
        super().__post_init__()
        backbones.check_name(self.features)
        self.require_positive("size", "ccm_channels", "max_channels", "sn_eps")
        above = _up_to_grid(self.size)
        self.require(self.size == above, "size", f"must be a multiple of {GRID}, such as {above}")
        self.require(1 <= self.discriminators <= 4, "discriminators", "must be from 1 to 4")
        fits = self.norm != "group" or self.max_channels % GROUPS == 0
        self.require(fits, "max_channels", f"discriminator.norm group needs a multiple of {GROUPS}")
        for name in ("mixing", "ccm_channels"):
            unread = self.projection == "none" and getattr(self, name) != getattr(type(self), name)
            self.require(not unread, name, "discriminator.projection none does not read it; leave it out")

    def check_present(self) -> None:
        backbones.check_present(self.features, self.weights)

    def check_files(self, resolution: int) -> None:
        self.check_maps(backbones.load(self.features, self.size, self.weights).side(resolution))

    def with_whole_paths(self) -> Self:
        is_path = self.weights not in ("", backbones.RANDOM)
        return replace(self, weights=str(Path(self.weights).expanduser().absolute())) if is_path else self

    @property
    def features_seen(self) -> str | None:
        return None if self.weights == backbones.RANDOM else self.features

    @property
    def remarks(self) -> tuple[str, ...]:
        random = f"the features of D are those of {self.features} with random weights: nothing in it was learnt"
        return (random,) if self.weights == backbones.RANDOM else ()

    def check(self, resolution: int, n_classes: int) -> None:
        if self.features in backbones.NAMED:  # of other networks only their constructor knows the side
            self.check_maps(max(self.size, resolution))

    def check_maps(self, side: int) -> None:
        """Raise `UserError` if the side at which images are seen makes another one meaningless, is no multiple of 32,
        or leaves a last map too small."""
        rule = f"images of {side} pixels are not shrunk to it; give {type(self).size}, or choose a lower resolution"
        self.require(side <= self.size or self.size == type(self).size, "size", rule)
        above = _up_to_grid(side)
        rule = f"images of {side} pixels are not enlarged to it, and need a multiple of {GRID}: give {above}"
        self.require(side == above, "size", rule)
        small = [k for k in range(self.discriminators) if self.last_side(k, side) < LAST]
        if small:
            works = next(s for s in itertools.count(GRID, GRID) if all(self.last_side(k, s) >= LAST for k in small))
            fewer = f"; or take --discriminator.discriminators {small[0]}" if small[0] else ""
            k = small[0] + 1
            self.require(
                False,
                "size",
                f"discriminator {k} would come to a map of {self.last_side(k - 1, side)} pixels a side, and its last "
                f"convolution needs {LAST}: the smallest that works is {works}{fewer}",
            )

    @property
    def maps(self) -> int:
        """How many of the four maps are computed: those that are judged, and for mixing across scales all."""
        return len(backbones.STRIDES) if self.projection == "ccm+csm" else self.discriminators

    def stride(self, k: int) -> int:
        """Of map number k, from 0; mixing across scales doubles the maps."""
        return backbones.STRIDES[k] // (2 if self.projection == "ccm+csm" else 1)

    def blocks(self, k: int, side: int) -> int:
        """How often discriminator number k halves its map."""
        nominal = nominal_side(side) // self.stride(k)
        return 1 if self.patch else max(0, int(math.log2(nominal / min(CHANNELS))))

    def last_side(self, k: int, side: int) -> int:
        """Of discriminator number k's last map, where images are seen at this side."""
        return side // self.stride(k) >> self.blocks(k, side)

    def widths(self, k: int, side: int) -> tuple[int, ...]:
        """Channels of discriminator number k after each block."""
        after = list(CHANNELS.values())[len(CHANNELS) - self.blocks(k, side) :]
        return tuple(min(c, self.max_channels) for c in after)


def _up_to_grid(side: int) -> int:
    return -(-side // GRID) * GRID


def block(inputs: int, outputs: int, parts: Parts, separable: bool) -> list[nn.Module]:
    """(N, inputs, S, S) -> (N, outputs, S / 2, S / 2)."""
    if not separable:
        return [parts.layers.conv(inputs, outputs, 4, stride=2), *_norm_and_leak(outputs, parts)]
    depthwise = parts.layers.conv(inputs, inputs, 3, groups=inputs, bias=False)
    pointwise = parts.layers.conv(inputs, outputs, 1, bias=False)
    return [depthwise, pointwise, *_norm_and_leak(outputs, parts), nn.AvgPool2d(2)]


def patch_block(inputs: int, outputs: int, parts: Parts, separable: bool) -> list[nn.Module]:
    """A block and a 1x1 convolution."""
    pointwise = parts.layers.conv(outputs, outputs, 1, bias=False)
    return [*block(inputs, outputs, parts, separable), pointwise, *_norm_and_leak(outputs, parts)]


def _norm_and_leak(channels: int, parts: Parts) -> list[nn.Module]:
    return [parts.norm(channels), nn.LeakyReLU(LEAK, inplace=True)]


class Head(nn.Module):
    """(N, C, S, S) and y -> logits (N, (S - 3)^2): one map, or with classes the product of 64 and the class's vector.

    In float32 whatever the autocast: bf16 would round logits to 3 digits.
    """

    def __init__(self, channels: int, n_classes: int, parts: Parts):
        super().__init__()
        self.conv = parts.layers.conv(channels, MAP_DIM if n_classes else 1, LAST, padding=0, bias=False)
        self.table = ClassTable(n_classes, CLASS_DIM) if n_classes else None
        self.linear = nn.Linear(CLASS_DIM, MAP_DIM) if n_classes else None

    def forward(self, h: Tensor, y: Tensor | None) -> Tensor:
        with torch.autocast(h.device.type, enabled=False):
            logits: Tensor = self.conv(h.float())
            if self.table is not None and self.linear is not None:
                of_class = F.leaky_relu(self.linear(self.table(y)), LEAK)
                logits = (logits * of_class[:, :, None, None]).sum(1) / math.sqrt(MAP_DIM)
            return logits.flatten(1)


class MiniDiscriminator(nn.Module):
    """One feature map (N, C, S, S) and y -> its logits (N, K)."""

    def __init__(self, blocks: list[nn.Module], head: Head):
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.head = head

    def forward(self, h: Tensor, y: Tensor | None) -> Tensor:
        logits: Tensor = self.head(self.blocks(h), y)
        return logits


class ProjectedDiscriminator(Discriminator):
    """With logits (N, K), those of all discriminators one after another."""

    config: ProjectedDiscriminatorConfig

    def __init__(self, config: ProjectedDiscriminatorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        features = backbones.load(config.features, config.size, config.weights)
        side = features.side(resolution)
        config.check_maps(side)
        self.features = Frozen(features, features.identity)
        self.projection, channels = projection(config, features.channels)
        parts = Parts(spectral(config.sn_eps), NORMS[config.norm])
        self.discriminators = nn.ModuleList(
            self._discriminator(channels[k], config.widths(k, side), parts) for k in range(config.discriminators)
        )
        prepare(self, None)

    def _discriminator(self, channels: int, widths: tuple[int, ...], parts: Parts) -> MiniDiscriminator:
        make = patch_block if self.config.patch else block
        pairs = list(itertools.pairwise((channels, *widths)))
        blocks = [layer for i, o in pairs for layer in make(i, o, parts, self.config.separable)]
        return MiniDiscriminator(blocks, Head((channels, *widths)[-1], self.n_classes, parts))

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        check_inputs(self, x, (3, self.resolution, self.resolution), y)
        seen = self.features(x.contiguous(memory_format=self.memory_format), self.config.maps)
        maps = self.projection(seen)
        # Some of the deeper maps that mixing across scales needs may have no discriminator.
        return torch.cat([judge(h, y) for judge, h in zip(self.discriminators, maps, strict=False)], 1)

    def stages(self) -> list[list[nn.Module]]:
        """None: what an image passes first, the pretrained network and the mixing, is frozen already."""
        return []


def projection(config: ProjectedDiscriminatorConfig, channels: tuple[int, ...]) -> tuple[nn.Module, tuple[int, ...]]:
    """The mixing of maps with these channels, and the channels that come out of it."""
    if config.projection == "none":
        return nn.Identity(), channels
    across_channels = CrossChannelMixing(channels, config.ccm_channels, config.mixing)
    if config.projection == "ccm":
        return Frozen(across_channels), across_channels.channels
    across_scales = CrossScaleMixing(across_channels.channels, config.mixing)
    return Frozen(nn.Sequential(across_channels, across_scales)), across_scales.channels
