"""What a preset is: settings by path over a base, grouped by the source that states them."""

from dataclasses import dataclass
from typing import Any

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
    "Projected GAN": "the paper: Sauer, Chitta, Müller and Geiger 2021",
    "projected-gan": "autonomousvision/projected-gan, its code",
    "FastGAN": "the code of Liu, Zhu, Song and Elgammal 2021, as its forks keep it",
    "StyleGAN2": "the paper: Karras, Laine, Aittala, Hellsten, Lehtinen and Aila 2020",
    "StyleGAN2-ADA": "NVlabs/stylegan2-ada-pytorch: its configurations, as published",
    "orthogan": "our choice or default, where those are silent or differ",
}
"""Names of the sources, as `presets show` prints them, and what they are."""

Networks = tuple[str, str]
"""Names of a generator and of a discriminator."""

BIGGAN: Networks = ("biggan", "biggan")
BIGGAN_DEEP: Networks = ("biggan-deep", "biggan-deep")
SNGAN: Networks = ("sngan", "sngan")
SNGAN_CNN: Networks = ("sngan-cnn", "sngan-cnn")
FASTGAN: Networks = ("fastgan", "fastgan")
STYLEGAN2: Networks = ("stylegan2", "stylegan2")
PROJECTED_FASTGAN: Networks = ("fastgan", "projected")
PROJECTED_STYLEGAN2: Networks = ("stylegan2", "projected")
PROJECTED_BIGGAN: Networks = ("biggan", "projected")

OF_NETWORKS: dict[str, dict[str, str]] = {
    "generator": {
        "biggan": "BigGAN",
        "biggan-deep": "BigGAN",
        "sngan": "sngan_projection",
        "sngan-cnn": "SN-GAN",
        "fastgan": "projected-gan",
        "stylegan2": "StyleGAN2",
    },
    "discriminator": {
        "biggan": "BigGAN",
        "biggan-deep": "BigGAN",
        "sngan": "sngan_projection",
        "sngan-cnn": "SN-GAN",
        "fastgan": "FastGAN",
        "stylegan2": "StyleGAN2",
        "projected": "Projected GAN",
    },
}
"""Whose the values are that a network has without being told."""


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
