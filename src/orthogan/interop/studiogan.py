"""StudioGAN: BigGAN, and BigGAN-deep in the form that it calls legacy, with spectral norm in both players."""

from torch import Tensor

from orthogan.interop.biggan_pytorch import (
    DEEP_D_CHANNELS,
    attention,
    attention_of_d,
    conditional,
    d_block,
    deep_block,
    deep_channels,
    deep_d_block,
    one_attention,
    projection,
    shape_of_d,
    side_of_stage,
)
from orthogan.interop.foreign import Foreign, Hints, Part, affine, below, layer, multiples, side_after, square_root
from orthogan.networks import biggan
from orthogan.networks.biggan import BigGANDiscriminatorConfig, BigGANGeneratorConfig
from orthogan.networks.biggan_deep import BigGANDeepDiscriminatorConfig, BigGANDeepGeneratorConfig

PROJECT = "StudioGAN"
BN_EPS, SN_EPS = 1e-4, 1e-6
CONVS = ("conv1x1_theta", "conv1x1_phi", "conv1x1_g", "conv1x1_attn")
SKIP = "its discriminator's skips begin behind a ReLU that works in place: discriminator.skip_relu is on"


def block_names(foreign: Foreign) -> tuple[list[str], int | None, str]:
    """The residual blocks; after how many of them attention comes, which has a place among them; and its name."""
    names = [f"blocks.{i}.0" for i in range(foreign.count("blocks.{}"))]
    place = one_attention(foreign, [i for i, name in enumerate(names) if f"{name}.sigma" in foreign])
    attended = "" if place is None else names.pop(place)
    return names, place, attended


def generator(foreign: Foreign, hints: Hints) -> Part:
    names, place, attended = block_names(foreign)
    shapes = [foreign.shape(f"{name}.conv2d1.weight_orig", 4) for name in names]
    channels = (shapes[0][1], *(shape[0] for shape in shapes))
    rows, dim_chunk = foreign.shape("linear0.weight_orig", 2)
    base = square_root(foreign, rows, channels[0], "linear0")
    shared = "shared.weight" in foreign
    n_classes, shared_dim = foreign.shape("shared.weight", 2) if shared else (0, 128)
    if not shared and foreign.shape("blocks.0.0.bn1.gain.weight_orig", 2)[1] != dim_chunk:
        raise foreign.refuse("its norms see classes without an embedding: StudioGAN's resnet, which is not imported")
    width, m = multiples(channels, biggan.G_CHANNELS.values())
    config = BigGANGeneratorConfig(
        width=width,
        channels=m,
        attention=0 if place is None else base << place,
        dim_z=dim_chunk * (len(names) + 1),
        shared_dim=shared_dim,
        bn_eps=hints.bn_eps or BN_EPS,
        sn_eps=SN_EPS,
    )
    ours: dict[str, Tensor] = {"embedding.weight": foreign.take("shared.weight")} if shared else {}
    ours |= below("linear", layer(foreign, "linear0"))
    for i, name in enumerate(names):
        of_block = d_block(foreign, name, ("conv2d1", "conv2d2", "conv2d0"))
        for norm in (1, 2):
            of_block |= below(f"norm{norm}", conditional(foreign, f"{name}.bn{norm}"))
        ours |= below(f"blocks.{i}", of_block)
    if attended:
        ours |= attention(foreign, attended, CONVS, "sigma")
    return Part(PROJECT, config, side_after(foreign, base, len(names)), n_classes, ours | last_layers(foreign))


def last_layers(foreign: Foreign) -> dict[str, Tensor]:
    return below("norm", affine(foreign, "bn4")) | below("to_rgb", layer(foreign, "conv2d5"))


def deep_generator(foreign: Foreign, hints: Hints) -> Part:
    if foreign.has("blocks.0.0.conv2d0"):
        raise foreign.refuse("StudioGAN's own BigGAN-deep (deep_studiogan), which is not imported: only the legacy one")
    names, place, attended = block_names(foreign)
    channels = deep_channels(foreign, [f"{name}.conv2d{{}}.weight_orig" for name in names])
    rows, dim_condition = foreign.shape("linear0.weight_orig", 2)
    base = square_root(foreign, rows, channels[0], "linear0")
    shared = "shared.weight" in foreign
    n_classes, shared_dim = foreign.shape("shared.weight", 2) if shared else (0, 128)
    width, m = multiples(channels, biggan.G_CHANNELS.values())
    config = BigGANDeepGeneratorConfig(
        width=width,
        channels=m,
        attention=side_of_stage(foreign, base, place),
        dim_z=dim_condition - (shared_dim if shared else 0),
        shared_dim=shared_dim,
        bn_eps=hints.bn_eps or BN_EPS,
        sn_eps=SN_EPS,
    )
    ours: dict[str, Tensor] = {"embedding.weight": foreign.take("shared.weight")} if shared else {}
    ours |= below("linear", layer(foreign, "linear0"))
    for i, name in enumerate(names):
        ours |= below(f"blocks.{i}", deep_block(foreign, name, "conv2d{}", "bn{}"))
    if attended:
        ours |= attention(foreign, attended, CONVS, "sigma")
    return Part(PROJECT, config, side_after(foreign, base, len(names) // 2), n_classes, ours | last_layers(foreign))


def discriminator(foreign: Foreign, hints: Hints) -> Part:
    names, place, attended = block_names(foreign)
    channels = tuple(foreign.shape(f"{name}.conv2d2.weight_orig", 4)[0] for name in names)
    width, m, downs, side = shape_of_d(foreign, channels, biggan.D_CHANNELS, hints.resolution)
    config = BigGANDiscriminatorConfig(
        width=width,
        channels=m,
        downs=downs,
        attention=attention_of_d(foreign, None if place is None else place - 1, side, downs),
        skip_relu=True,
        sn_eps=SN_EPS,
    )
    ours: dict[str, Tensor] = {}
    for i, name in enumerate(names):
        ours |= below(f"blocks.{i}", d_block(foreign, name, ("conv2d1", "conv2d2", "conv2d0")))
    if attended:
        ours |= attention(foreign, attended, CONVS, "sigma")
    head, n_classes = projection(foreign, "linear1", "embedding")
    return Part(PROJECT, config, side, n_classes, ours | head, remarks=(SKIP,))


def deep_discriminator(foreign: Foreign, hints: Hints) -> Part:
    names, place, attended = block_names(foreign)
    channels = deep_channels(foreign, [f"{name}.conv2d{{}}.weight_orig" for name in names])
    width, m, downs, side = shape_of_d(foreign, channels, DEEP_D_CHANNELS, hints.resolution)
    if place is not None and place % 2:
        raise foreign.refuse("self-attention inside a stage of two blocks")
    config = BigGANDeepDiscriminatorConfig(
        width=width,
        channels=m,
        downs=downs,
        attention=attention_of_d(foreign, None if place is None else place // 2 - 1, side, downs),
        skip_relu=True,
        sn_eps=SN_EPS,
    )
    ours = below("stem", layer(foreign, "input_conv"))
    for i, name in enumerate(names):
        ours |= below(f"blocks.{i}", deep_d_block(foreign, name, "conv2d{}", "conv2d0"))
    if attended:
        ours |= attention(foreign, attended, CONVS, "sigma")
    head, n_classes = projection(foreign, "linear1", "embedding")
    return Part(PROJECT, config, side, n_classes, ours | head, remarks=(SKIP,))
