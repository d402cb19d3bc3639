"""pytorch-pretrained-BigGAN (Hugging Face): the released BigGAN-deep generators with their standing statistics."""

import torch
from torch import Tensor

from orthogan.interop.biggan_pytorch import attention, deep_block, deep_channels, one_attention, side_of_stage
from orthogan.interop.foreign import (
    Foreign,
    Hints,
    Layer,
    Part,
    below,
    layer,
    multiples,
    numbered,
    reordered_columns,
    reordered_rows,
    side_after,
    square_root,
)
from orthogan.networks import biggan
from orthogan.networks.biggan_deep import BigGANDeepGeneratorConfig

PROJECT = "pytorch-pretrained-BigGAN"
EPS = 1e-4
CONVS = ("snconv1x1_theta", "snconv1x1_phi", "snconv1x1_g", "snconv1x1_o_conv")
MOST_ROWS = 10_001


def generator(foreign: Foreign, hints: Hints) -> Part:
    """Statistics are rows, one for each truncation from 0 to 1 in equal steps. Conditions are (z, class) there."""
    layers = numbered(foreign.tensors, "generator.layers.")
    attended = [i for i in layers if f"generator.layers.{i}.gamma" in foreign]
    place = one_attention(foreign, attended)
    names = [f"generator.layers.{i}" for i in layers if i != place]
    channels = deep_channels(foreign, [f"{name}.conv_{{}}.weight_orig" for name in names], first=0)
    shared_dim, n_classes = foreign.shape("embeddings.weight", 2)
    rows, dim_condition = foreign.shape("generator.gen_z.weight_orig", 2)
    base = square_root(foreign, rows, channels[0], "generator.gen_z")
    dim_z = dim_condition - shared_dim
    classes_first = torch.cat([torch.arange(dim_z, dim_condition), torch.arange(dim_z)])
    eps = hints.bn_eps or float(hints.attributes.get("eps", EPS))
    width, m = multiples(channels, biggan.G_CHANNELS.values())
    config = BigGANDeepGeneratorConfig(
        width=width,
        channels=m,
        attention=side_of_stage(foreign, base, place),
        dim_z=dim_z,
        latent="normal",
        shared_dim=shared_dim,
        rgb_channels=foreign.shape("generator.conv_to_rgb.weight_orig", 4)[0],
        bn_eps=eps,
        sn_eps=EPS,
    )
    # The first map is (height, width, channels) there.
    order = torch.arange(rows).view(base, base, channels[0]).permute(2, 0, 1).flatten()
    first = reordered_rows(layer(foreign, "generator.gen_z"), order)
    ours = {"embedding.weight": foreign.take("embeddings.weight").t().contiguous()}
    ours |= below("linear", reordered_columns(first, classes_first))
    statistics = Statistics(foreign)

    def conditional(foreign: Foreign, name: str) -> Layer:
        gain, shift = (reordered_columns(layer(foreign, f"{name}.{n}"), classes_first) for n in ("scale", "offset"))
        return statistics.last(name) | below("gain", gain) | below("shift", shift)

    for i, name in enumerate(names):
        ours |= below(f"blocks.{i}", deep_block(foreign, name, "conv_{}", "bn_{}", first=0, conditional=conditional))
    if place is not None:
        ours |= attention(foreign, f"generator.layers.{place}", CONVS)
    last = {"weight": foreign.take("generator.bn.weight"), "bias": foreign.take("generator.bn.bias")}
    ours |= below("norm", last | statistics.last("generator.bn"))
    ours |= below("to_rgb", layer(foreign, "generator.conv_to_rgb"))
    side = side_after(foreign, base, len(names) // 2)
    thresholds = tuple(i / (statistics.count - 1) for i in range(statistics.count))
    remarks = (f"statistics of {statistics.count} truncations: --form scaled --truncation 0.4, or any from 0 to 1",)
    return Part(PROJECT, config, side, n_classes, ours, statistics.rows, thresholds, is_average=True, remarks=remarks)


class Statistics:
    """The rows of all norms, in the order in which our network has the norms."""

    def __init__(self, foreign: Foreign):
        self.foreign = foreign
        self.count = foreign.shape("generator.bn.running_means", 2)[0]
        if not 2 <= self.count <= MOST_ROWS:
            raise foreign.refuse(f"{self.count} rows of statistics")
        self.rows: dict[str, Tensor] = {}
        self._norms = 0

    def last(self, name: str) -> Layer:
        """Keep the rows of the next norm; returns those of no truncation, the last ones."""
        found = {}
        for ours, theirs in (("var", "running_vars"), ("mean", "running_means")):
            rows = self.foreign.take(f"{name}.{theirs}")
            if rows.ndim != 2 or len(rows) != self.count:
                raise self.foreign.refuse(f"{name}.{theirs} has not {self.count} rows")
            if ours == "var" and bool((rows < 0).any()):
                raise self.foreign.refuse(f"{name} has a negative variance")
            self.rows[f"{self._norms}.{ours}"] = rows
            found[ours] = rows[-1].clone()
        self._norms += 1
        return found
