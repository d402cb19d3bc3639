"""StyleGAN2 in the form of StyleGAN2-ADA's and Projected GAN's snapshots: generator and discriminator."""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from orthogan.interop.foreign import MOST_SIDE, Foreign, Hints, Layer, Part, below, layer, numbered, scalar
from orthogan.networks.stylegan2 import StyleGAN2GeneratorConfig
from orthogan.networks.stylegan2_discriminator import StyleGAN2DiscriminatorConfig

PROJECT = "StyleGAN2-ADA"
CLAMP, LR_MULT, GROUP = 256.0, 0.01, 4
"""What these settings are where a file does not state them."""
NOTE = "tested against its published names and shapes, not against its code"


def generator(foreign: Foreign, hints: Hints) -> Part:
    sides = sides_of(foreign, "synthesis.")
    channels = [foreign.shape(f"synthesis.b{s}.conv1.weight", 4)[0] for s in sides]
    base, most = channel_rule(foreign, sides, channels)
    layers = foreign.count("mapping.fc{}")
    (dim_w,) = foreign.shape("mapping.w_avg", 1)
    n_classes = foreign.shape("mapping.embed.weight", 2)[1] if foreign.has("mapping.embed") else 0
    inputs = foreign.shape("mapping.fc0.weight", 2)[1]
    config = StyleGAN2GeneratorConfig(
        channel_base=base,
        channel_max=most,
        conv_clamp=clamp(hints, "synthesis.b4.conv1.conv_clamp"),
        dim_z=inputs - (dim_w if n_classes else 0),
        dim_w=dim_w,
        mapping_layers=layers,
        mapping_lr_mult=lr_mult(foreign, hints),
    )
    ours: dict[str, Tensor] = {"const": foreign.take("synthesis.b4.const"), "mean.mean": foreign.take("mapping.w_avg")}
    ours |= mapping(foreign, layers, n_classes)
    for k, side in enumerate(sides):
        name = f"synthesis.b{side}"
        check_filter(foreign, f"{name}.resample_filter")
        if side > sides[0]:
            ours |= below(f"blocks.{k}.up", styled(foreign, f"{name}.conv0"))
        ours |= below(f"blocks.{k}.conv", styled(foreign, f"{name}.conv1"))
        ours |= below(f"blocks.{k}.to_rgb", modulated(foreign, f"{name}.torgb"))
    return Part(PROJECT, config, sides[-1], n_classes, ours, remarks=(NOTE,))


def sides_of(foreign: Foreign, prefix: str) -> list[int]:
    """4, 8, 16, ... as far as there are blocks."""
    names = [name.removeprefix(prefix) for name in foreign.tensors if name.startswith(prefix)]
    sides = numbered(names, "b")
    if sides != [4 << i for i in range(len(sides))] or len(sides) < 2 or sides[-1] > MOST_SIDE:
        raise foreign.refuse(f"its blocks are of {sides} pixels, not of 4, 8, 16 and so on")
    return sides


def channel_rule(foreign: Foreign, sides: Sequence[int], channels: Sequence[int]) -> tuple[int, int]:
    """channel_base and channel_max: channels times side, and the most, that make these channels."""
    most = max(channels)
    base = next((c * s for s, c in zip(sides, channels, strict=True) if c < most), most * sides[-1])
    if [min(base // s, most) for s in sides] != list(channels):
        raise foreign.refuse(f"its channels {tuple(channels)} do not halve with each doubling")
    return base, most


def clamp(hints: Hints, name: str) -> float:
    """The bound of a layer; a file with settings that does not state it has none."""
    stated = hints.attributes.get(name, 0.0 if hints.attributes else CLAMP)
    return float(stated)


def lr_mult(foreign: Foreign, hints: Hints) -> float:
    """The share of the learning rate, by which weights are multiplied where they are used."""
    gain = hints.attributes.get("mapping.fc0.weight_gain")
    if not isinstance(gain, int | float):
        return LR_MULT
    found = float(gain) * math.sqrt(foreign.shape("mapping.fc0.weight", 2)[1])
    return float(f"{found:.6g}")


def mapping(foreign: Foreign, layers: int, n_classes: int) -> Layer:
    found = below("embedding", layer(foreign, "mapping.embed")) if n_classes else {}
    for i in range(layers):
        found |= below(f"layers.{i}", layer(foreign, f"mapping.fc{i}"))
    return below("mapping", found)


def modulated(foreign: Foreign, name: str) -> Layer:
    return layer(foreign, name) | below("style", layer(foreign, f"{name}.affine"))


def styled(foreign: Foreign, name: str) -> Layer:
    """A modulated convolution and its noise."""
    check_filter(foreign, f"{name}.resample_filter")
    strength = scalar(foreign.take(f"{name}.noise_strength"), foreign, f"{name}.noise_strength")
    noise = {"strength": strength, "const": foreign.take(f"{name}.noise_const")}
    return below("conv", modulated(foreign, name)) | below("noise", noise)


def check_filter(foreign: Foreign, name: str) -> None:
    """The low-pass filter is the published one, which is not stored here."""
    if name in foreign:
        line = torch.tensor([1.0, 3, 3, 1]) / 8
        stored = foreign.take(name)
        if stored.shape != (4, 4) or not torch.allclose(stored, torch.outer(line, line), atol=1e-5):
            raise foreign.refuse(f"{name} is another filter than [1, 3, 3, 1]")


def discriminator(foreign: Foreign, hints: Hints) -> Part:
    sides = sides_of(foreign, "")
    # A block's first convolution keeps the channels of its map, the second takes on those of the next smaller one.
    channels = [foreign.shape(f"b{s}.conv0.weight", 4)[0] for s in sides[1:]]
    last, joined = foreign.shape("b4.conv.weight", 4)[:2]
    base, most = channel_rule(foreign, sides, [last, *channels])
    skip = foreign.has(f"b{sides[-1]}.skip")
    n_classes = foreign.shape("mapping.embed.weight", 2)[1] if foreign.has("mapping.embed") else 0
    group = hints.attributes.get("b4.mbstd.group_size", GROUP)
    config = StyleGAN2DiscriminatorConfig(
        channel_base=base,
        channel_max=most,
        conv_clamp=clamp(hints, f"b{sides[-1]}.conv0.conv_clamp"),
        architecture="resnet" if skip else "orig",
        mbstd_group=(group if isinstance(group, int) else GROUP) if joined > last else 0,
    )
    ours = below("from_rgb", convolution(foreign, f"b{sides[-1]}.fromrgb"))
    for k, side in enumerate(reversed(sides[1:])):
        check_filter(foreign, f"b{side}.resample_filter")
        convs = itertools.chain((("conv1", "conv0"), ("conv2", "conv1")), [("skip", "skip")] if skip else [])
        for ours_name, theirs in convs:
            ours |= below(f"blocks.{k}.{ours_name}", convolution(foreign, f"b{side}.{theirs}"))
    ours |= below("conv", convolution(foreign, "b4.conv"))
    ours |= below("linear", layer(foreign, "b4.fc")) | below("out", layer(foreign, "b4.out"))
    if n_classes:
        ours |= mapping(foreign, foreign.count("mapping.fc{}"), n_classes)
    return Part(PROJECT, config, sides[-1], n_classes, ours, remarks=(NOTE,))


def convolution(foreign: Foreign, name: str) -> Layer:
    check_filter(foreign, f"{name}.resample_filter")
    return layer(foreign, name)
