"""FastGAN (Liu, Zhu, Song and Elgammal 2021), as forks of its code have it, at every size."""

from orthogan.presets.base import FASTGAN, Preset, Settings

SIDES = (32, 64, 128, 256, 512, 1024)

TRAINING: Settings = {
    "generator.init": "normal",
    "generator.width": 64,
    "generator.dim_z": 256,
    "generator.blocks": "alternating",
    "generator.normalize_z": False,
    "generator.head_bias": False,
    "discriminator.width": 64,
    "discriminator.decoders": True,
    "augment.kind": "diffaugment",
    "augment.policy": "color,translation",
    "regularizers.d_reconstruction.strength": 8.0,  # summed over its batch of 8 there, a mean here
    "data.crop": "stretch",
    "data.mirror": True,
    "optimizer.g_lr": 2e-4,
    "optimizer.d_lr": 2e-4,
    "optimizer.beta1": 0.5,
    "optimizer.beta2": 0.999,
    "ema.decay": 0.999,
    "loss": "hinge",
    "batch": 8,
    "d_steps": 1,
    "images": 50_000 * 8,
}


def at(resolution: int) -> Preset:
    """At a size; FastGAN itself is for 256 pixels and more."""
    size: Settings = {"resolution": resolution, "generator.tanh": resolution == 1024}
    return Preset(
        f"FastGAN at {resolution} px with its own D, whose decoders reconstruct the real images.",
        FASTGAN,
        {"FastGAN": TRAINING | size},
    )


PRESETS: dict[str, Preset] = {f"fastgan-{side}": at(side) for side in SIDES}
