"""mimicry: SN-GAN, its class-conditional form and SAGAN, with bilinear doubling."""

from orthogan.interop.biggan_pytorch import attention, attention_of_d, d_block, projection, shape_of_d
from orthogan.interop.foreign import (
    Foreign,
    Hints,
    Layer,
    Part,
    affine,
    below,
    layer,
    moments,
    multiples,
    numbered,
    side_after,
    square_root,
    stem_of,
)
from orthogan.networks import biggan, sngan
from orthogan.networks.biggan import BigGANDiscriminatorConfig, BigGANGeneratorConfig
from orthogan.networks.sngan import SNGANDiscriminatorConfig, SNGANGeneratorConfig

PROJECT = "mimicry"
BN_EPS, SN_EPS = 1e-5, 1e-12
G_ATTENTION = {5: 2, 7: 3}
"""After how many blocks attention comes in SAGAN's generators, by the number of the last norm."""
D_PLACE = 1
"""The block of SAGAN's discriminators, counted from 0, that attention comes after."""
DOUBLING = "its maps are doubled bilinearly: generator.upsampling is bilinear"
SKIP = "its discriminator's skips begin behind a ReLU that works in place: discriminator.skip_relu is on"


def generator(foreign: Foreign, hints: Hints) -> Part:
    last = numbered(foreign.tensors, "block")[-1] + 1
    names = [f"block{k}" for k in range(2, last)]
    shapes = [foreign.shape(stem_of(foreign, f"{name}.c1"), 4) for name in names]
    channels = (shapes[0][1], *(shape[0] for shape in shapes))
    rows, dim_z = foreign.shape(stem_of(foreign, "l1"), 2)
    base = square_root(foreign, rows, channels[0], "l1")
    table = "block2.b1.embed.weight"
    n_classes = foreign.shape(table, 2)[0] if table in foreign else 0
    eps = hints.bn_eps or BN_EPS
    ours = below("linear", layer(foreign, "l1"))
    for i, name in enumerate(names):
        of_block = d_block(foreign, name, ("c1", "c2", "c_sc"))
        for norm in (1, 2):
            found = class_norm(foreign, f"{name}.b{norm}") if n_classes else affine(foreign, f"{name}.b{norm}")
            of_block |= below(f"norm{norm}", found)
        ours |= below(f"blocks.{i}", of_block)
    ours |= below("norm", affine(foreign, f"b{last}")) | below("to_rgb", layer(foreign, f"c{last}"))
    side = side_after(foreign, base, len(names))
    if "l1.weight_orig" not in foreign:
        width, m = multiples(channels, sngan.G_CHANNELS.values())
        plain = SNGANGeneratorConfig(width=width, channels=m, dim_z=dim_z, upsampling="bilinear", bn_eps=eps)
        return Part(PROJECT, plain, side, n_classes, ours, remarks=(DOUBLING,))
    place = G_ATTENTION.get(last) if foreign.has("attn_block") else None
    if place is not None:
        ours |= attention(foreign, "attn_block")
    width, m = multiples(channels, biggan.G_CHANNELS.values())
    config = BigGANGeneratorConfig(
        width=width,
        channels=m,
        attention=0 if place is None else base << place,
        dim_z=dim_z,
        skip_z=False,
        shared_embedding=False,
        upsampling="bilinear",
        bn_eps=eps,
        sn_eps=SN_EPS,
        init="xavier",
    )
    return Part(PROJECT, config, side, n_classes, ours, remarks=(DOUBLING,))


def class_norm(foreign: Foreign, name: str) -> Layer:
    """A table of gains, then biases, a class. The gains are whole there, and added to 1 here."""
    table = foreign.take(f"{name}.embed.weight")
    gains, biases = table.chunk(2, dim=1)
    return moments(foreign, name) | {"gain.weight": (gains - 1).contiguous(), "shift.weight": biases.contiguous()}


def discriminator(foreign: Foreign, hints: Hints) -> Part:
    blocks = len(numbered(foreign.tensors, "block"))
    names = [f"block{k + 1}" for k in range(blocks)]
    channels = tuple(foreign.shape(stem_of(foreign, f"{name}.c2"), 4)[0] for name in names)
    head = next((k for k in range(blocks, blocks + 3) if foreign.has(f"l{k}")), None)
    if head is None or not foreign.has("block1.c1") or "block1.c1.weight" in foreign:
        raise foreign.refuse("no spectral norm, or no last layer: not SN-GAN's or SAGAN's discriminator")
    rows = dict(sngan.D_CHANNELS)
    # 48 and 64 pixels have the same channels, and another number of the last layer.
    rows.pop(64 if head == blocks else 48)
    width, m, downs, side = shape_of_d(foreign, channels, rows, hints.resolution)
    ours: Layer = {}
    for i, name in enumerate(names):
        ours |= below(f"blocks.{i}", d_block(foreign, name, ("c1", "c2", "c_sc")))
    found, n_classes = projection(foreign, f"l{head}", "l_y")
    ours |= found
    if foreign.has("attn_block"):
        config = BigGANDiscriminatorConfig(
            width=width,
            channels=m,
            downs=downs,
            attention=attention_of_d(foreign, D_PLACE, side, downs),
            wide=False,
            skip_relu=True,
            sn_eps=SN_EPS,
            init="xavier",
        )
        return Part(PROJECT, config, side, n_classes, ours | attention(foreign, "attn_block"), remarks=(SKIP,))
    plain = SNGANDiscriminatorConfig(width=width, channels=m, downs=downs, skip_relu=True, sn_eps=SN_EPS)
    return Part(PROJECT, plain, side, n_classes, ours, remarks=(SKIP,))
