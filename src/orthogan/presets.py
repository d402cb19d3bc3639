"""Named runs: settings by path over a base, grouped by the source that states them.

`get` gives the whole configuration of one, `sources` says of each of its values whose it is.
"""

from dataclasses import dataclass
from typing import Any

from orthogan.config import RunConfig
from orthogan.errors import unknown
from orthogan.formats import from_json, to_json
from orthogan.settings import flatten, nested, override

Run = RunConfig[Any, Any]
Settings = dict[str, Any]
"""Values by path, such as {"optimizer.g_lr": 5e-05}."""

SOURCES = {
    "BigGAN": "the paper: Brock, Donahue and Simonyan 2019",
    "BigGAN-PyTorch": "ajbrock/BigGAN-PyTorch, its networks and launch scripts",
    "BigGAN weights": "the networks that were released with weights on TensorFlow Hub",
    "StudioGAN": "POSTECH-CVLab/PyTorch-StudioGAN, its configurations",
    "compare_gan": "google/compare_gan",
    "SAGAN": "the paper: Zhang, Goodfellow, Metaxas and Odena 2019",
    "SAGAN code": "brain-research/self-attention-gan",
    "SN-GAN": "the paper: Miyato, Kataoka, Koyama and Yoshida 2018",
    "sngan_projection": "pfnet-research/sngan_projection, the code of SN-GAN and of the projection discriminator",
    "orthogan": "our choice or default, where those are silent or differ",
}
"""Names of the sources, as `presets show` prints them, and what they are."""

Networks = tuple[str, str]
"""Names of a generator and of a discriminator."""

BIGGAN: Networks = ("biggan", "biggan")
BIGGAN_DEEP: Networks = ("biggan-deep", "biggan-deep")
SNGAN: Networks = ("sngan", "sngan")
SNGAN_CNN: Networks = ("sngan-cnn", "sngan-cnn")

OF_NETWORKS = {BIGGAN: "BigGAN", BIGGAN_DEEP: "BigGAN", SNGAN: "sngan_projection", SNGAN_CNN: "SN-GAN"}
"""Whose the values are that the networks of a publication have without being told."""


def both(**settings: Any) -> Settings:
    """Settings of the generator and of the discriminator."""
    return {f"{role}.{name}": value for name, value in settings.items() for role in ("generator", "discriminator")}


@dataclass(frozen=True)
class Preset:
    """A named run. Settings that neither it nor its base names are the defaults of their configuration class."""

    what: str
    """One line."""
    base: str | Networks
    """The preset that this one changes, or the networks that it starts from."""
    settings: dict[str, Settings]
    """What it changes, by the name of the source."""

    @property
    def changes(self) -> Settings:
        return {path: value for stated in self.settings.values() for path, value in stated.items()}


BIGGAN_TRAINING: Settings = {
    "data.crop": "center",
    "data.resize": "area",
    "data.mirror": False,
    "optimizer.g_lr": 5e-5,
    "optimizer.d_lr": 2e-4,
    "optimizer.beta1": 0.0,
    "optimizer.beta2": 0.999,
    "regularizers.g_ortho.strength": 1e-4,
    "ema.decay": 0.9999,
    "loss": "hinge",
    "images": 165_000 * 2 * 2048,
    "batch": 2048,
    "d_steps": 2,
}
EVERY_1000_BATCHES: Settings = {
    "cadence.log_images": 40_960,
    "cadence.sheet_images": 2_048_000,
    "cadence.checkpoint_images": 2_048_000,
}


def table1(batch: int, iterations: int, width: int = 96, **generator: Any) -> Preset:
    """A row of BigGAN's Table 1 without orthogonal regularisation; z has 128 dimensions where it is not split."""
    switches = {"shared embedding": "shared_embedding", "split z": "skip_z"}
    on = [name for name, setting in switches.items() if generator.get(setting, True)]
    return Preset(
        f"Row of BigGAN's Table 1: batch {batch}, ch {width}, {', '.join(on) or 'nothing added'}.",
        "biggan-128",
        {
            "BigGAN": {
                **both(width=width),
                **{f"generator.{name}": value for name, value in generator.items()},
                "regularizers.g_ortho.strength": 0.0,
                "batch": batch,
                "images": iterations * 2 * batch,
            }
        },
    )


PLAIN: Settings = {"shared_embedding": False, "skip_z": False, "dim_z": 128}

PRESETS: dict[str, Preset] = {
    "digits": Preset(
        "A small BigGAN that draws the MNIST digits after minutes on a processor.",
        BIGGAN,
        {
            "orthogan": {
                "resolution": 32,
                "n_classes": 10,
                **both(width=16),
                "generator.channels": (8, 8, 4, 2),
                "discriminator.channels": (2, 4, 8, 8),
                "discriminator.downs": 2,
                "generator.dim_z": 64,
                "data.source": "digits",
                "optimizer.g_lr": 4e-4,
                "optimizer.d_lr": 4e-4,
                "optimizer.beta2": 0.99,
                "ema.decay": 0.99,
                "cadence.log_images": 1_000,
                "cadence.sheet_images": 8_000,
                "cadence.checkpoint_images": 8_000,
                "images": 24_000,
                "batch": 32,
                "d_steps": 1,
            },
        },
    ),
    "small-32": Preset(
        "A small BigGAN at 32 px for a folder of one's own, with or without classes, on a processor.",
        "digits",
        {
            "orthogan": {
                "n_classes": 0,
                "data.source": "",
                "ema.decay": 0.995,
                "cadence.log_images": 2_000,
                "cadence.sheet_images": 16_000,
                "cadence.checkpoint_images": 16_000,
                "images": 160_000,
            },
        },
    ),
    "small-64": Preset(
        "A small BigGAN at 64 px for a folder of one's own, with or without classes, on a processor or a GPU.",
        "small-32",
        {
            "orthogan": {
                "resolution": 64,
                "generator.channels": (8, 8, 4, 2, 1),
                "discriminator.channels": (1, 2, 4, 8, 8),
                "discriminator.downs": 4,
                "generator.dim_z": 80,
            },
        },
    ),
    "biggan-32": Preset(
        "BigGAN for CIFAR-10 as BigGAN-PyTorch's script trains it (batch 50, 4 D steps, no shared embedding).",
        BIGGAN,
        {
            "BigGAN-PyTorch": {
                "resolution": 32,
                "n_classes": 10,
                **both(width=64),
                "generator.channels": (4, 4, 4, 4),
                "discriminator.channels": (4, 4, 4, 4),
                "discriminator.downs": 2,
                "generator.attention": 0,
                "discriminator.attention": 0,
                "generator.dim_z": 128,
                "generator.skip_z": False,
                "generator.shared_embedding": False,
                **both(bn_eps=1e-5, sn_eps=1e-8, init="normal"),
                "data.mirror": False,
                "optimizer.g_lr": 2e-4,
                "optimizer.d_lr": 2e-4,
                "optimizer.beta1": 0.0,
                "optimizer.beta2": 0.999,
                "optimizer.eps": 1e-8,
                "regularizers.g_ortho.strength": 0.0,
                "ema.decay": 0.9999,
                "ema.start_steps": 1_000,
                "loss": "hinge",
                "images": 125_000 * 4 * 50,
                "batch": 50,
                "d_steps": 4,
            },
        },
    ),
    "biggan-32-studiogan": Preset(
        "BigGAN for CIFAR-10 as StudioGAN builds it: ch 96, split z, attention at 16 px, a narrower D.",
        "biggan-32",
        {
            "StudioGAN": {
                **both(width=96),
                "generator.channels": (4, 4, 4, 4),
                "discriminator.channels": (2, 2, 2, 2),
                "discriminator.downs": 2,
                "generator.attention": 16,
                "discriminator.attention": 16,
                "generator.dim_z": 80,
                "generator.skip_z": True,
                "generator.shared_embedding": True,
                **both(init="orthogonal", sn_eps=1e-6, bn_eps=1e-4),
                "data.mirror": True,
                "optimizer.g_lr": 2e-4,
                "optimizer.d_lr": 2e-4,
                "optimizer.beta1": 0.5,
                "optimizer.beta2": 0.999,
                "optimizer.eps": 1e-6,
                "ema.decay": 0.9999,
                "ema.start_steps": 1_001,  # its g_ema_start is 1000 and counts updates from 0
                "loss": "hinge",
                "batch": 64,
                "d_steps": 5,
                "images": 100_000 * 5 * 64,
            },
        },
    ),
    "biggan-64": Preset(
        "BigGAN at 64 px as BigGAN-PyTorch builds it, with the 128 px run's settings.",
        "biggan-128",
        {
            "BigGAN-PyTorch": {
                "resolution": 64,
                "generator.channels": (16, 16, 8, 4, 2),
                "discriminator.channels": (1, 2, 4, 8, 16),
                "discriminator.downs": 4,
            },
            "orthogan": {"generator.attention": 64, "discriminator.attention": 32},
        },
    ),
    "biggan-128": Preset(
        "BigGAN at 128 px, last of its kind in the paper's Table 1 (ch 96, batch 2048).",
        BIGGAN,
        {
            "BigGAN": {
                "resolution": 128,
                "n_classes": 1000,
                "generator.attention": 64,
                "discriminator.attention": 64,
                **BIGGAN_TRAINING,
            },
            "BigGAN-PyTorch": {"ema.start_steps": 20_000},
            "orthogan": EVERY_1000_BATCHES,
        },
    ),
    "biggan-128-accumulated": Preset(
        "BigGAN at 128 px for 8 GPUs as BigGAN-PyTorch ran it: batch 256 x 8 micro-batches, 1 D step.",
        "biggan-128",
        {
            "BigGAN-PyTorch": {
                **both(sn_eps=1e-6, bn_eps=1e-5),
                "data.resize": "bilinear",
                "optimizer.g_lr": 1e-4,
                "optimizer.d_lr": 4e-4,
                "optimizer.eps": 1e-6,
                "regularizers.g_ortho.strength": 0.0,
                "accumulate": 8,
                "bn_over": "micro-batch",
                "d_steps": 1,
                "images": 138_000 * 2048,
            },
        },
    ),
    "biggan-256": Preset(
        "BigGAN at 256 px: one more block at 16 px in each network, attention of G at 128 px.",
        "biggan-128",
        {
            "BigGAN": {
                "resolution": 256,
                "generator.channels": (16, 16, 8, 8, 4, 2, 1),
                "discriminator.channels": (1, 2, 4, 8, 8, 16, 16),
                "discriminator.downs": 6,
                "generator.attention": 128,
                "generator.dim_z": 140,
            },
        },
    ),
    "biggan-512": Preset(
        "BigGAN at 512 px with the paper's z of 160 dimensions, attention at 64 px in both networks.",
        "biggan-256",
        {
            "BigGAN": {
                "resolution": 512,
                "generator.channels": (16, 16, 8, 8, 4, 2, 1, 1),
                "discriminator.channels": (1, 1, 2, 4, 8, 8, 16, 16),
                "discriminator.downs": 7,
                "generator.attention": 64,
                "generator.dim_z": 160,
            },
        },
    ),
    "biggan-512-released": Preset(
        "BigGAN at 512 px with the z of 128 dimensions that the released weights have.",
        "biggan-512",
        {"BigGAN weights": {"generator.dim_z": 128}},
    ),
    "biggan-deep-32": Preset(
        "BigGAN-deep at 32 px as BigGAN-PyTorch and StudioGAN build it, D halving twice; settings of 128 px.",
        "biggan-deep-128",
        {
            "BigGAN-PyTorch": {
                "resolution": 32,
                "n_classes": 10,
                "generator.channels": (4, 4, 4, 4),
                "discriminator.channels": (4, 4, 4, 4),
                "discriminator.downs": 2,
                "generator.attention": 0,
                "discriminator.attention": 0,
            },
        },
    ),
    "biggan-deep-64": Preset(
        "BigGAN-deep at 64 px with the blocks of compare_gan, without attention; settings of 128 px.",
        "biggan-deep-128",
        {
            "compare_gan": {
                "resolution": 64,
                "generator.channels": (16, 16, 8, 4, 2),
                "discriminator.channels": (2, 4, 8, 16, 16),
            },
            "orthogan": {"generator.attention": 0, "discriminator.attention": 0},
        },
    ),
    "biggan-deep-128": Preset(
        "BigGAN-deep at 128 px, with BigGAN's settings.",
        BIGGAN_DEEP,
        {
            "BigGAN": {
                "resolution": 128,
                "n_classes": 1000,
                "generator.attention": 64,
                "discriminator.attention": 64,
                **BIGGAN_TRAINING,
            },
            "BigGAN-PyTorch": {"ema.start_steps": 20_000},
            "orthogan": EVERY_1000_BATCHES,
        },
    ),
    "biggan-deep-256": Preset(
        "BigGAN-deep at 256 px, both learning rates 2.5e-5.",
        "biggan-deep-128",
        {
            "BigGAN": {
                "resolution": 256,
                "generator.channels": (16, 16, 8, 8, 4, 2, 1),
                "discriminator.channels": (1, 2, 4, 8, 8, 16, 16),
                "optimizer.g_lr": 2.5e-5,
                "optimizer.d_lr": 2.5e-5,
            },
        },
    ),
    "biggan-deep-512": Preset(
        "BigGAN-deep at 512 px, both learning rates 2.5e-5.",
        "biggan-deep-256",
        {
            "BigGAN": {
                "resolution": 512,
                "generator.channels": (16, 16, 8, 8, 4, 2, 1, 1),
                "discriminator.channels": (1, 1, 2, 4, 8, 8, 16, 16),
            },
        },
    ),
    "sagan-128": Preset(
        "SAGAN: ch 64, per-class tables, attention at 32 px as in its code; the paper also has 64.",
        BIGGAN,
        {
            "SAGAN": {
                "resolution": 128,
                "n_classes": 1000,
                **both(width=64),
                "generator.dim_z": 128,
                "generator.skip_z": False,
                "generator.shared_embedding": False,
                "optimizer.g_lr": 1e-4,
                "optimizer.d_lr": 4e-4,
                "optimizer.beta1": 0.0,
                "optimizer.beta2": 0.9,
                "ema.decay": 0.0,
                "loss": "hinge",
                "images": 1_000_000 * 256,
                "batch": 256,
                "d_steps": 1,
            },
            "SAGAN code": {"generator.attention": 32, "discriminator.attention": 32},
            "BigGAN-PyTorch": {**both(bn_eps=1e-5, sn_eps=1e-8, init="xavier")},
        },
    ),
    "sngan-cnn-32": Preset(
        "SN-GAN's plain networks at 32 px, setting C of its table 1, non-saturating loss, no classes.",
        SNGAN_CNN,
        {
            "SN-GAN": {
                "resolution": 32,
                "optimizer.g_lr": 2e-4,
                "optimizer.d_lr": 2e-4,
                "optimizer.beta1": 0.5,
                "optimizer.beta2": 0.999,
                "ema.decay": 0.0,
                "loss": "non-saturating",
                "images": 100_000 * 64,
                "batch": 64,
                "d_steps": 1,
            },
            "sngan_projection": {**both(bn_eps=2e-5), "discriminator.sn_eps": 1e-12},
        },
    ),
    "sngan-cnn-48": Preset(
        "SN-GAN's plain networks at 48 px, as at 32.", "sngan-cnn-32", {"SN-GAN": {"resolution": 48}}
    ),
    "sngan-32": Preset(
        "SN-GAN's residual networks for CIFAR-10 as its code trains them, hinge loss, 5 D steps.",
        SNGAN,
        {
            "sngan_projection": {
                "resolution": 32,
                "n_classes": 10,
                "generator.channels": (4, 4, 4, 4),
                "discriminator.channels": (2, 2, 2, 2),
                "discriminator.downs": 2,
                "discriminator.head_bias": False,
                "data.crop": "center",
                "data.resize": "bilinear",  # of its data sets with images larger than the network
                "data.mirror": False,
                "data.dequantize": True,
                "optimizer.g_lr": 2e-4,
                "optimizer.d_lr": 2e-4,
                "optimizer.beta1": 0.0,
                "optimizer.beta2": 0.9,
                "optimizer.eps": 1e-8,
                "optimizer.decay_from_images": 0,
                "ema.decay": 0.0,
                "loss": "hinge",
                "images": 50_000 * 5 * 64,
                "batch": 64,
                "d_steps": 5,
                "g_batches": 2,
            },
        },
    ),
    "sngan-48": Preset(
        "SN-GAN's residual networks for STL-10 at 48 px, without classes, trained as at 32.",
        "sngan-32",
        {
            "SN-GAN": {
                "resolution": 48,
                "n_classes": 0,
                "generator.channels": (8, 4, 2, 1),
                "discriminator.channels": (1, 2, 4, 8, 16),
                "discriminator.downs": 4,
                "discriminator.head_bias": True,
            },
        },
    ),
    "sngan-64": Preset(
        "SN-GAN with projection at 64 px on ImageNet.",
        "sngan-32",
        {
            "sngan_projection": {
                "resolution": 64,
                "n_classes": 1000,
                "generator.channels": (16, 8, 4, 2, 1),
                "discriminator.channels": (1, 2, 4, 8, 16),
                "discriminator.downs": 5,
                "discriminator.head_bias": True,
                "images": 250_000 * 5 * 64,
                "optimizer.decay_from_images": 200_000 * 5 * 64,
                "g_batches": 1,
            },
        },
    ),
    "sngan-128": Preset(
        "SN-GAN with projection at 128 px on ImageNet, the batch of four GPUs.",
        "sngan-64",
        {
            "sngan_projection": {
                "resolution": 128,
                "generator.channels": (16, 16, 8, 4, 2, 1),
                "discriminator.channels": (1, 2, 4, 8, 16, 16),
                "images": 450_000 * 5 * 64,
                "optimizer.decay_from_images": 400_000 * 5 * 64,
                "g_batches": 2,
            },
        },
    ),
    "sngan-128-small": Preset(
        "The smaller networks of the dog and cat runs at 128 px (143 classes, one GPU's batch of 16).",
        "sngan-128",
        {
            "sngan_projection": {
                "n_classes": 143,
                "generator.channels": (8, 8, 4, 4, 2, 1),
                "discriminator.channels": (1, 2, 4, 4, 8, 8),
                "data.mirror": True,
                "data.random_crop": 0.9,
                "batch": 16,
                "images": 450_000 * 5 * 16,
                "optimizer.decay_from_images": 400_000 * 5 * 16,
            },
        },
    ),
    "sngan-256": Preset(
        "The dog and cat runs at 256 px (143 classes, one GPU's batch of 8).",
        "sngan-128-small",
        {
            "sngan_projection": {
                "resolution": 256,
                **both(width=32),
                "generator.channels": (16, 16, 8, 8, 4, 2, 1),
                "discriminator.channels": (1, 2, 4, 8, 8, 16, 16),
                "discriminator.downs": 6,
                "batch": 8,
                "images": 450_000 * 5 * 8,
                "optimizer.decay_from_images": 400_000 * 5 * 8,
            },
        },
    ),
    # BigGAN's Table 1, from the second row down.
    "table1-512": table1(512, 1_000_000, width=64, **PLAIN),
    "table1-1024": table1(1024, 1_000_000, width=64, **PLAIN),
    "table1-2048": table1(2048, 732_000, width=64, **PLAIN),
    "table1-wide": table1(2048, 295_000, **PLAIN),
    "table1-shared": table1(2048, 185_000, skip_z=False, dim_z=128),
    "table1-skip-z": table1(2048, 152_000),
    "table1-ortho": Preset(
        "Row of BigGAN's Table 1: batch 2048, ch 96, shared embedding, split z, orthogonal regularisation; biggan-128.",
        "biggan-128",
        {},
    ),
    "table1-ch64": Preset(
        "Row of BigGAN's Table 1: batch 2048, ch 64, shared embedding, split z, orthogonal regularisation.",
        "biggan-128",
        {"BigGAN": {**both(width=64), "images": 371_000 * 2 * 2048}},
    ),
}


def find(name: str) -> Preset:
    """A preset by name. An unknown name is an error that offers the nearest one."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]


def get(name: str) -> Run:
    """The configuration of a preset. An unknown name is an error that offers the nearest one."""
    preset = find(name)
    if isinstance(preset.base, str):
        return override(get(preset.base), preset.changes)
    generator, discriminator = preset.base
    return from_json(nested({"generator.family": generator, "discriminator.family": discriminator, **preset.changes}))


def sources(name: str) -> dict[str, str]:
    """Whose each setting of a preset is: its path -> a name of `SOURCES`."""
    preset = find(name)
    if isinstance(preset.base, str):
        found = sources(preset.base)
    else:
        own = OF_NETWORKS[preset.base]
        of_networks = ("generator.", "discriminator.", "n_classes")
        found = {path: own if path.startswith(of_networks) else "orthogan" for path in flatten(to_json(get(name)))}
    return found | {path: source for source, stated in preset.settings.items() for path in stated}


def origins(name: str) -> list[str]:
    """The sources that a preset and its bases name settings from, the first that is told first; orthogan left out."""
    preset = find(name)
    before = origins(preset.base) if isinstance(preset.base, str) else [OF_NETWORKS[preset.base]]
    left = set(sources(name).values())
    return [source for source in dict.fromkeys([*before, *preset.settings]) if source in left - {"orthogan"}]


def describe(name: str) -> str:
    """One line on a preset."""
    return find(name).what
