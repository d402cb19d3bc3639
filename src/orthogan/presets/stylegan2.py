"""StyleGAN2-ADA (Karras et al. 2020), in the configuration `auto` of its code for one GPU."""

from orthogan.presets.base import STYLEGAN2, Preset, Settings, both

SIDES = (32, 64, 128, 256, 512, 1024)


def at(resolution: int) -> Preset:
    """What `auto` makes of a size."""
    batch = min(4096 // resolution, 32)
    auto: Settings = {
        "resolution": resolution,
        **both(channel_base=32768 if resolution >= 512 else 16384),
        "generator.dim_z": 512,
        "generator.dim_w": 512,
        "generator.mapping_layers": 2,
        "generator.mixing": 0.9,
        "discriminator.mbstd_group": min(batch, 4),
        "augment.kind": "ada",
        "augment.pipe": "bgc",
        "augment.target": 0.6,
        "regularizers.d_r1.strength": 0.0002 * resolution**2 / batch,
        "regularizers.d_r1.interval": 16,
        "regularizers.g_path_length.strength": 2.0,
        "regularizers.g_path_length.interval": 4,
        "optimizer.g_lr": 2e-3 if resolution >= 1024 else 2.5e-3,
        "optimizer.d_lr": 2e-3 if resolution >= 1024 else 2.5e-3,
        "optimizer.beta1": 0.0,
        "optimizer.beta2": 0.99,
        "optimizer.lazy": True,
        "fake_classes": "data",
        "ema.decay": None,
        "ema.halflife_images": batch * 10_000 / 32,
        "ema.rampup": 0.05,
        "loss": "non-saturating",
        "batch": batch,
        "d_steps": 1,
        "images": 25_000_000 // batch * batch,
    }
    return Preset(
        f"StyleGAN2-ADA at {resolution} px: adaptive augmentation, lazy R1 and path length.",
        STYLEGAN2,
        {"StyleGAN2-ADA": auto},
    )


PRESETS: dict[str, Preset] = {f"stylegan2-ada-{side}": at(side) for side in SIDES}
