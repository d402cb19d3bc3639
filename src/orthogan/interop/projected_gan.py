"""Projected GAN: FastGAN's generators, with and without classes. Its StyleGAN2 is in `stylegan2`."""

import math
from typing import Literal

from torch import Tensor

from orthogan.interop.foreign import (
    Foreign,
    Hints,
    Layer,
    Part,
    affine,
    below,
    layer,
    moments,
    numbered,
    scalar,
)
from orthogan.networks.fastgan import GATES, MULTIPLES, FastGANGeneratorConfig

PROJECT = "Projected GAN"
BN_EPS, SN_EPS = 1e-5, 1e-12
UNUSED = 256
"""The code builds the level of 256 pixels for images of 128, too, and does not use it."""


def generator(foreign: Foreign, hints: Hints) -> Part:
    sides = [
        side for side in numbered({n.removeprefix("synthesis.") for n in foreign.tensors}, "feat_") if side <= 1024
    ]
    conditional = "synthesis.embed.weight" in foreign
    dim_z, first, _, _ = foreign.shape("synthesis.init.init.0.weight_orig", 4)
    width = first // 2 // MULTIPLES[0]
    rgb = foreign.shape("synthesis.to_big.weight_orig", 4)[1]
    channels = {4 << i: int(m * width) for i, m in enumerate(MULTIPLES)}
    side = max((s for s in sides if channels.get(s) == rgb), default=0)
    # 32 and 64 pixels have the same channels; smaller images than 128 are not made.
    if side not in (128, 256, 512, 1024) or (side != max(sides) and (side, max(sides)) != (128, UNUSED)):
        raise foreign.refuse("its levels are not those of FastGAN at 128, 256, 512 or 1024 pixels")
    doubled = [8 << i for i in range((side // 8).bit_length())]
    big = [is_big(foreign, s, conditional) for s in doubled]
    config = FastGANGeneratorConfig(
        width=width,
        dim_z=dim_z,
        blocks=kinds(foreign, big),
        normalize_z=True,
        head_bias=True,
        bn_eps=hints.bn_eps or BN_EPS,
        sn_eps=SN_EPS,
    )
    ours = below("first", first_map(foreign)) | below("first_norm", affine(foreign, "synthesis.init.init.1"))
    n_classes = 0
    if conditional:
        ours["embedding.weight"] = foreign.take("synthesis.embed.weight")
        n_classes = len(ours["embedding.weight"])
    for k, (s, with_noise) in enumerate(zip(doubled, big, strict=True)):
        block = class_block if conditional else plain_block
        ours |= below(f"blocks.{k}", block(foreign, f"synthesis.feat_{s}", with_noise))
    gated = [s for s in doubled if s >= 64][:GATES]
    for i, s in enumerate(gated):
        for n, theirs in ((1, 1), (2, 3)):
            ours |= below(f"gates.{i}.conv{n}", layer(foreign, f"synthesis.se_{s}.main.{theirs}"))
    ours |= below("to_rgb", layer(foreign, "synthesis.to_big"))
    if side < UNUSED:
        unused = (f"synthesis.feat_{UNUSED}.", f"synthesis.se_{UNUSED}.")
        foreign.drop(*(name for name in foreign.tensors if name.startswith(unused)))
    remarks = (f"its table has {n_classes} classes, however many it was trained with",) if conditional else ()
    return Part(PROJECT, config, side, n_classes, ours, remarks=remarks)


def is_big(foreign: Foreign, side: int, conditional: bool) -> bool:
    """Whether a level is one of two convolutions with noise."""
    return f"synthesis.feat_{side}.{'conv2' if conditional else '5'}.weight_orig" in foreign


def kinds(foreign: Foreign, big: list[bool]) -> Literal["big", "small", "alternating"]:
    if all(big):
        return "big"
    if not any(big):
        return "small"
    if big == [not k % 2 for k in range(len(big))]:
        return "alternating"
    raise foreign.refuse("its big and small blocks are in an order that is not known")


def first_map(foreign: Foreign) -> Layer:
    """A transposed convolution, whose first two axes are ours exchanged."""
    name = "synthesis.init.init.0"
    inputs, outputs, *window = foreign.shape(f"{name}.weight_orig", 4)
    found = layer(foreign, name)
    found["weight"] = found["weight"].transpose(0, 1).contiguous()
    # PyTorch's matrix has a row an output, too, and its other axes in the order that ours have.
    if found["v"].numel() != inputs * math.prod(window) or found["u"].numel() != outputs:
        raise foreign.refuse("the singular vectors of the first layer do not fit it")
    return found


def plain_block(foreign: Foreign, name: str, big: bool) -> Layer:
    if not big:
        return below("conv", layer(foreign, f"{name}.1")) | below("norm", affine(foreign, f"{name}.2"))
    found: dict[str, Tensor] = {}
    for n, (conv, noise, norm) in enumerate(((1, 2, 3), (5, 6, 7))):
        found |= below(f"conv{n + 1}", layer(foreign, f"{name}.{conv}"))
        found |= below(f"noises.{n}", strength(foreign, f"{name}.{noise}"))
        found |= below(f"norm{n + 1}", affine(foreign, f"{name}.{norm}"))
    return found


def class_block(foreign: Foreign, name: str, big: bool) -> Layer:
    if not big:
        return below("conv", layer(foreign, f"{name}.conv")) | below("norm", class_norm(foreign, f"{name}.bn"))
    found = below("noises.0", strength(foreign, f"{name}.noise"))
    for n in (1, 2):
        found |= below(f"conv{n}", layer(foreign, f"{name}.conv{n}"))
        found |= below(f"norm{n}", class_norm(foreign, f"{name}.bn{n}"))
    return found


def class_norm(foreign: Foreign, name: str) -> Layer:
    gain, shift = layer(foreign, f"{name}.gain"), layer(foreign, f"{name}.bias")
    return moments(foreign, name) | below("gain", gain) | below("shift", shift)


def strength(foreign: Foreign, name: str) -> Layer:
    return {"strength": scalar(foreign.take(f"{name}.weight"), foreign, f"{name}.weight")}
