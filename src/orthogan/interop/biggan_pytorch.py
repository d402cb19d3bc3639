"""BigGAN-PyTorch (Brock): BigGAN and BigGAN-deep, with their names of tensors, and what others share with them."""

from collections.abc import Callable

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
    multiples,
    scalar,
    side_after,
    square_root,
)
from orthogan.networks import biggan
from orthogan.networks.biggan import BigGANDiscriminatorConfig, BigGANGeneratorConfig
from orthogan.networks.biggan_deep import BigGANDeepDiscriminatorConfig, BigGANDeepGeneratorConfig

PROJECT = "BigGAN-PyTorch"
LAST_EPS = 1e-5
"""The last norm does not read BN_eps there."""
SN_EPS = 1e-6
"""Of its launch scripts."""
DEEP_D_CHANNELS = {
    32: ((4, 4, 4, 4), 2),
    64: ((1, 2, 4, 8, 16), 4),
    128: ((1, 2, 4, 8, 16, 16), 5),
    256: ((1, 2, 4, 8, 8, 16, 16), 6),
    512: ((1, 1, 2, 4, 8, 8, 16, 16), 7),
}
"""Multiples and halvings of the deep discriminators by resolution, there and in StudioGAN."""


def attention(
    foreign: Foreign, name: str, convs: tuple[str, ...] = ("theta", "phi", "g", "o"), gain: str = "gamma"
) -> Layer:
    """Our self-attention, from convolutions by these names."""
    found = {"gamma": scalar(foreign.take(f"{name}.{gain}"), foreign, f"{name}.{gain}")}
    for ours, theirs in zip(("theta", "phi", "g", "o"), convs, strict=True):
        found |= below(ours, layer(foreign, f"{name}.{theirs}"))
    return below("attention", found)


def conditional(foreign: Foreign, name: str) -> Layer:
    """A conditional batch norm: gain and bias are modules, of which the gain is added to 1 here and there."""
    gain, shift = layer(foreign, f"{name}.gain"), layer(foreign, f"{name}.bias")
    return moments(foreign, name) | below("gain", gain) | below("shift", shift)


def one_attention(foreign: Foreign, found: list[int]) -> int | None:
    """The only place of attention, or None."""
    if len(found) > 1:
        raise foreign.refuse(f"self-attention after {len(found)} blocks; networks here have one at most")
    return found[0] if found else None


def side_of_stage(foreign: Foreign, base: int, blocks_before: int | None) -> int:
    """Side of the map that attention is on behind so many blocks of a deep generator; 0 for none."""
    if blocks_before is None:
        return 0
    if blocks_before % 2 or not blocks_before:
        raise foreign.refuse("self-attention inside a stage of two blocks")
    return base << (blocks_before // 2)


def shape_of_d(
    foreign: Foreign, channels: tuple[int, ...], rows: dict[int, tuple[tuple[int, ...], int]], resolution: int | None
) -> tuple[int, tuple[int, ...], int, int]:
    """Width, multiples, halvings and resolution of a discriminator, which only a published row of channels tells."""
    for side, (row, downs) in rows.items():
        width = channels[0] // row[0]
        if width and len(row) == len(channels) and tuple(m * width for m in row) == channels:
            if resolution not in (None, side):
                raise foreign.refuse(f"its channels are those of {side} pixels, the generator's {resolution}")
            return width, row, downs, side
    raise foreign.refuse(f"its channels {channels} are not those of a published discriminator of any resolution")


def generator(foreign: Foreign, hints: Hints) -> Part:
    blocks = foreign.count("blocks.{}")
    shapes = [foreign.shape(f"blocks.{i}.0.conv1.weight", 4) for i in range(blocks)]
    channels = (shapes[0][1], *(shape[0] for shape in shapes))
    rows, dim_chunk = foreign.shape("linear.weight", 2)
    base = square_root(foreign, rows, channels[0], "linear")
    columns = foreign.shape("blocks.0.0.bn1.gain.weight", 2)
    shared = "shared.weight" in foreign
    n_classes, shared_dim = foreign.shape("shared.weight", 2) if shared else (columns[0], 128)
    skip_z = shared and columns[1] != shared_dim
    place = one_attention(foreign, [i for i in range(blocks) if foreign.has(f"blocks.{i}.1")])
    width, m = multiples(channels, biggan.G_CHANNELS.values())
    eps = hints.bn_eps or LAST_EPS
    config = BigGANGeneratorConfig(
        width=width,
        channels=m,
        attention=0 if place is None else base << (place + 1),
        dim_z=dim_chunk * (blocks + 1) if skip_z else dim_chunk,
        skip_z=skip_z,
        shared_embedding=shared,
        shared_dim=shared_dim,
        bn_eps=eps,
        last_bn_eps=None if eps == LAST_EPS else LAST_EPS,
        sn_eps=SN_EPS,
    )
    ours: dict[str, Tensor] = {"embedding.weight": foreign.take("shared.weight")} if shared else {}
    ours |= below("linear", layer(foreign, "linear"))
    for i in range(blocks):
        of_block = below("conv1", layer(foreign, f"blocks.{i}.0.conv1"))
        of_block |= below("conv2", layer(foreign, f"blocks.{i}.0.conv2"))
        of_block |= below("skip", layer(foreign, f"blocks.{i}.0.conv_sc"))
        for norm in (1, 2):
            of_block |= below(f"norm{norm}", conditional(foreign, f"blocks.{i}.0.bn{norm}"))
        ours |= below(f"blocks.{i}", of_block)
    if place is not None:
        ours |= attention(foreign, f"blocks.{place}.1")
    ours |= last_layers(foreign)
    return Part(PROJECT, config, side_after(foreign, base, blocks), n_classes, ours)


def last_layers(foreign: Foreign) -> dict[str, Tensor]:
    norm = below("norm", affine(foreign, "output_layer.0", gain="gain"))
    return norm | below("to_rgb", layer(foreign, "output_layer.2"))


def deep_generator(foreign: Foreign, hints: Hints) -> Part:
    blocks = foreign.count("blocks.{}")
    channels = deep_channels(foreign, [f"blocks.{i}.0.conv{{}}.weight" for i in range(blocks)])
    rows, dim_condition = foreign.shape("linear.weight", 2)
    base = square_root(foreign, rows, channels[0], "linear")
    n_classes, shared_dim = foreign.shape("shared.weight", 2)
    place = one_attention(foreign, [i for i in range(blocks) if foreign.has(f"blocks.{i}.1")])
    width, m = multiples(channels, biggan.G_CHANNELS.values())
    eps = hints.bn_eps or LAST_EPS
    config = BigGANDeepGeneratorConfig(
        width=width,
        channels=m,
        attention=side_of_stage(foreign, base, None if place is None else place + 1),
        dim_z=dim_condition - shared_dim,
        shared_dim=shared_dim,
        bn_eps=eps,
        last_bn_eps=None if eps == LAST_EPS else LAST_EPS,
        sn_eps=SN_EPS,
    )
    ours = {"embedding.weight": foreign.take("shared.weight")} | below("linear", layer(foreign, "linear"))
    for i in range(blocks):
        ours |= below(f"blocks.{i}", deep_block(foreign, f"blocks.{i}.0", "conv{}", "bn{}"))
    if place is not None:
        ours |= attention(foreign, f"blocks.{place}.1")
    ours |= last_layers(foreign)
    return Part(PROJECT, config, side_after(foreign, base, blocks // 2), n_classes, ours)


def deep_channels(foreign: Foreign, weights: list[str], first: int = 1) -> tuple[int, ...]:
    """Channels of the first map and after each stage of two blocks; the first weight of a block has number `first`."""
    if not weights or len(weights) % 2:
        raise foreign.refuse(f"{len(weights)} blocks, not stages of two")
    before = [foreign.shape(name.format(first), 4)[1] for name in weights[::2]]
    after = [foreign.shape(name.format(first + 3), 4)[0] for name in weights[1::2]]
    return (before[0], *after)


def deep_block(
    foreign: Foreign,
    name: str,
    conv: str,
    norm: str,
    first: int = 1,
    conditional: Callable[[Foreign, str], Layer] = conditional,
) -> Layer:
    """Four convolutions and four norms, which are counted from `first` in the foreign block."""
    found: Layer = {}
    for k in range(4):
        found |= below(f"conv{k + 1}", layer(foreign, f"{name}.{conv.format(k + first)}"))
        found |= below(f"norms.{k}", conditional(foreign, f"{name}.{norm.format(k + first)}"))
    return found


def discriminator(foreign: Foreign, hints: Hints) -> Part:
    blocks = foreign.count("blocks.{}")
    shapes = [foreign.shape(f"blocks.{i}.0.conv1.weight", 4) for i in range(blocks)]
    channels = tuple(foreign.shape(f"blocks.{i}.0.conv2.weight", 4)[0] for i in range(blocks))
    width, m, downs, side = shape_of_d(foreign, channels, biggan.D_CHANNELS, hints.resolution)
    place = one_attention(foreign, [i for i in range(blocks) if foreign.has(f"blocks.{i}.1")])
    config = BigGANDiscriminatorConfig(
        width=width,
        channels=m,
        downs=downs,
        attention=attention_of_d(foreign, place, side, downs),
        wide=all(shape[0] == c for shape, c in zip(shapes, channels, strict=True)),
        sn_eps=SN_EPS,
    )
    ours: dict[str, Tensor] = {}
    for i in range(blocks):
        ours |= below(f"blocks.{i}", d_block(foreign, f"blocks.{i}.0", ("conv1", "conv2", "conv_sc")))
    if place is not None:
        ours |= attention(foreign, f"blocks.{place}.1")
    head, n_classes = projection(foreign, "linear", "embed")
    return Part(PROJECT, config, side, n_classes, ours | head)


def attention_of_d(foreign: Foreign, place: int | None, side: int, downs: int) -> int:
    """Side of the map that attention is on, behind the first block that makes such a map."""
    if place is None:
        return 0
    if place >= downs:
        raise foreign.refuse(f"self-attention after block {place}, which does not halve its map")
    return side >> (place + 1)


def d_block(foreign: Foreign, name: str, convs: tuple[str, str, str]) -> Layer:
    """Two convolutions and, where there is one, that of the skip."""
    found: Layer = {}
    for ours, theirs in zip(("conv1", "conv2", "skip"), convs, strict=True):
        if ours != "skip" or foreign.has(f"{name}.{theirs}"):
            found |= below(ours, layer(foreign, f"{name}.{theirs}"))
    return found


def projection(foreign: Foreign, linear: str, embedding: str) -> tuple[Layer, int]:
    """The head, and its number of classes."""
    head = layer(foreign, linear)
    if len(head["weight"]) != 1:
        raise foreign.refuse(f"{linear} has {len(head['weight'])} outputs, not one logit")
    table = layer(foreign, embedding) if foreign.has(embedding) else {}
    n_classes = len(table["weight"]) if table else 0
    return below("head.linear", head) | below("head.embedding", table), n_classes


def deep_discriminator(foreign: Foreign, hints: Hints) -> Part:
    stages = foreign.count("blocks.{}")
    names = [f"blocks.{s}.{b}" for s in range(stages) for b in range(2)]
    channels = deep_channels(foreign, [f"{name}.conv{{}}.weight" for name in names])
    width, m, downs, side = shape_of_d(foreign, channels, DEEP_D_CHANNELS, hints.resolution)
    place = one_attention(foreign, [s for s in range(stages) if foreign.has(f"blocks.{s}.2")])
    config = BigGANDeepDiscriminatorConfig(
        width=width, channels=m, downs=downs, attention=attention_of_d(foreign, place, side, downs), sn_eps=SN_EPS
    )
    ours = below("stem", layer(foreign, "input_conv"))
    for i, name in enumerate(names):
        ours |= below(f"blocks.{i}", deep_d_block(foreign, name, "conv{}", "conv_sc"))
    if place is not None:
        ours |= attention(foreign, f"blocks.{place}.2")
    head, n_classes = projection(foreign, "linear", "embed")
    return Part(PROJECT, config, side, n_classes, ours | head)


def deep_d_block(foreign: Foreign, name: str, conv: str, skip: str) -> Layer:
    found: Layer = {}
    for k in range(1, 5):
        found |= below(f"conv{k}", layer(foreign, f"{name}.{conv.format(k)}"))
    return found | (below("skip", layer(foreign, f"{name}.{skip}")) if foreign.has(f"{name}.{skip}") else {})
