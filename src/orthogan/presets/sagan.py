"""SAGAN (Zhang, Goodfellow, Metaxas and Odena 2019)."""

from orthogan.presets.base import BIGGAN, Preset, both

PRESETS: dict[str, Preset] = {
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
}
