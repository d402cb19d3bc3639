"""Projected GAN (Sauer, Chitta, Müller and Geiger 2021): FastGAN's generator, its small blocks, and StyleGAN2's."""

from orthogan.presets.base import PROJECTED_BIGGAN, PROJECTED_FASTGAN, PROJECTED_STYLEGAN2, Networks, Preset, Settings

SIDES = (32, 64, 128, 256, 512, 1024)

TRAINING: Settings = {
    "discriminator.features": "efficientnet-lite1",
    "discriminator.projection": "ccm+csm",
    "discriminator.mixing": "paper",
    "discriminator.discriminators": 4,
    "augment.kind": "diffaugment",
    "augment.policy": "color,translation,cutout",
    "augment.cutout": 0.2,
    "optimizer.g_lr": 2e-4,
    "optimizer.d_lr": 2e-4,
    "optimizer.beta1": 0.0,
    "optimizer.beta2": 0.99,
    "loss": "hinge",
    "batch": 64,
    "d_steps": 1,
    "images": 10_000_000,
}
OF_CODE: Settings = {
    "data.mirror": True,
    "fake_classes": "data",
    "ema.decay": None,
    "ema.halflife_images": 20_000.0,
    "ema.rampup": 0.05,
}
"""What the paper does not say. The half-life is 312.5 updates of 64 images."""

PAPER: Settings = {
    "generator.width": 64,
    "generator.blocks": "alternating",
    "generator.normalize_z": False,
}
RELEASED: Settings = {
    "generator.width": 128,
    "generator.normalize_z": True,
    "discriminator.features": "efficientnet-lite0",
    "discriminator.mixing": "released",
}
STYLEGAN2: Settings = {
    "generator.dim_z": 64,
    "generator.dim_w": 128,
    "generator.mapping_layers": 2,
    "generator.mixing": 0.0,
    "generator.channel_base": 32768,
    "discriminator.features": "efficientnet-lite0",
    "discriminator.mixing": "released",
    "discriminator.separable": True,
    "optimizer.g_lr": 2e-3,
    "optimizer.d_lr": 2e-3,
}


SMALL: Settings = {
    "generator.width": 16,
    "discriminator.features": "efficientnet-lite0",
    "discriminator.mixing": "released",
    "discriminator.discriminators": 1,
    "discriminator.separable": True,
    "augment.kind": "diffaugment",
    "augment.policy": "translation,cutout",
    "optimizer.g_lr": 4e-4,
    "optimizer.d_lr": 1e-4,
    "optimizer.beta1": 0.0,
    "optimizer.beta2": 0.99,
    "ema.decay": 0.995,
    "cadence.log_images": 1_000,
    "cadence.sheet_images": 8_000,
    "cadence.checkpoint_images": 8_000,
    "images": 80_000,
    "batch": 16,
    "d_steps": 1,
}
"""One small and slow discriminator: four of them win at once, and all samples then share one palette."""

OF_SIDE: dict[int, Settings] = {
    32: {"generator.channels": (8, 8, 4, 2), "generator.dim_z": 64, "discriminator.size": 64},
    64: {"generator.channels": (8, 8, 4, 2, 1), "generator.dim_z": 80, "discriminator.size": 96},
    128: {"generator.channels": (8, 8, 8, 4, 2, 1), "generator.dim_z": 96, "discriminator.size": 160},
}


def small(resolution: int) -> Preset:
    """For a few hundred to a few thousand pictures and two cores."""
    return Preset(
        f"A small BigGAN at {resolution} px against a projected discriminator, for a folder on a processor.",
        PROJECTED_BIGGAN,
        {"orthogan": {"resolution": resolution, **SMALL, **OF_SIDE[resolution]}},
    )


def at(resolution: int, what: str, networks: Networks, paper: Settings, code: Settings) -> Preset:
    size = {"resolution": resolution, "images": TRAINING["images"] // TRAINING["batch"] * TRAINING["batch"]}
    return Preset(
        f"Projected GAN at {resolution} px, {what}.",
        networks,
        {"Projected GAN": TRAINING | size | paper, "projected-gan": OF_CODE | code},
    )


PRESETS: dict[str, Preset] = {
    **{f"projected-small-{side}": small(side) for side in OF_SIDE},
    **{
        f"projected-{side}": at(side, "as the paper has it: FastGAN's G, blocks in turns", PROJECTED_FASTGAN, PAPER, {})
        for side in SIDES
    },
    **{
        f"projected-released-{side}": at(
            side, "as its code has it: all blocks big", PROJECTED_FASTGAN, {}, RELEASED | {"generator.blocks": "big"}
        )
        for side in SIDES
    },
    **{
        f"projected-lite-{side}": at(
            side,
            "its code's small G, for fewer than 10,000 images",
            PROJECTED_FASTGAN,
            {},
            RELEASED | {"generator.blocks": "small"},
        )
        for side in SIDES
    },
    **{
        f"projected-stylegan2-{side}": at(
            side, "with StyleGAN2's G and separable discriminators", PROJECTED_STYLEGAN2, {}, STYLEGAN2
        )
        for side in SIDES
    },
}
