"""SN-GAN (Miyato, Kataoka, Koyama and Yoshida 2018) and the projection discriminator (Miyato and Koyama 2018)."""

from orthogan.presets.base import SNGAN, SNGAN_CNN, Preset, both

PRESETS: dict[str, Preset] = {
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
}
