"""Small runs of our own, for a processor or one GPU."""

from orthogan.presets.base import BIGGAN, Preset, both

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
}
