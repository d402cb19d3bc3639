"""BigGAN (Brock, Donahue and Simonyan 2019) with its authors' and StudioGAN's variants, and the paper's Table 1."""

from typing import Any

from orthogan.presets.base import BIGGAN, Preset, Settings, both

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
    "cadence.spectra_images": 409_600,
    "cadence.sheet_images": 2_048_000,
    "cadence.checkpoint_images": 2_048_000,
}

PRESETS: dict[str, Preset] = {
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

TABLE1: dict[str, Preset] = {
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
"""The paper's Table 1, from the second row down."""
