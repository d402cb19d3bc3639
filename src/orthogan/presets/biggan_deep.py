"""BigGAN-deep (Brock, Donahue and Simonyan 2019)."""

from orthogan.presets.base import BIGGAN_DEEP, Preset
from orthogan.presets.biggan import BIGGAN_TRAINING, EVERY_1000_BATCHES

PRESETS: dict[str, Preset] = {
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
}
