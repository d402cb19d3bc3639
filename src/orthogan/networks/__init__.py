"""Generators and discriminators by name: two tables. A new network is one file and one line here.

Any generator may play any discriminator; the side of the images and the classes are said once for both.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from orthogan.errors import unknown
from orthogan.networks.base import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    Network,
    NetworkConfig,
)
from orthogan.networks.biggan import (
    BigGANDiscriminator,
    BigGANDiscriminatorConfig,
    BigGANGenerator,
    BigGANGeneratorConfig,
)
from orthogan.networks.biggan_deep import (
    BigGANDeepDiscriminator,
    BigGANDeepDiscriminatorConfig,
    BigGANDeepGenerator,
    BigGANDeepGeneratorConfig,
)
from orthogan.networks.fastgan import FastGANGenerator, FastGANGeneratorConfig
from orthogan.networks.fastgan_discriminator import FastGANDiscriminator, FastGANDiscriminatorConfig
from orthogan.networks.projected import ProjectedDiscriminator, ProjectedDiscriminatorConfig
from orthogan.networks.sngan import (
    SNGANCNNDiscriminator,
    SNGANCNNDiscriminatorConfig,
    SNGANCNNGenerator,
    SNGANCNNGeneratorConfig,
    SNGANDiscriminator,
    SNGANDiscriminatorConfig,
    SNGANGenerator,
    SNGANGeneratorConfig,
)
from orthogan.networks.stylegan2 import StyleGAN2Generator, StyleGAN2GeneratorConfig
from orthogan.networks.stylegan2_discriminator import StyleGAN2Discriminator, StyleGAN2DiscriminatorConfig

Config = TypeVar("Config", bound=NetworkConfig)
Built = TypeVar("Built", bound=Network)


@dataclass(frozen=True)
class Row(Generic[Config, Built]):
    """A network, and settings of it so small at 16 pixels that a step takes milliseconds, for the tests."""

    network: Callable[[Any, int, int], Built]
    """From the settings, the resolution and the number of classes."""
    tiny: Config

    @property
    def config(self) -> type[Config]:
        """The class of its settings."""
        return type(self.tiny)


GENERATORS: dict[str, Row[GeneratorConfig, Generator]] = {
    "biggan": Row(
        BigGANGenerator, BigGANGeneratorConfig(width=4, channels=(4, 4, 2), attention=8, dim_z=12, shared_dim=6)
    ),
    "biggan-deep": Row(
        BigGANDeepGenerator, BigGANDeepGeneratorConfig(width=8, channels=(4, 2, 1), attention=8, dim_z=12, shared_dim=6)
    ),
    "sngan": Row(SNGANGenerator, SNGANGeneratorConfig(width=4, channels=(4, 2, 1), dim_z=12)),
    "sngan-cnn": Row(SNGANCNNGenerator, SNGANCNNGeneratorConfig(width=4, dim_z=12)),
    "fastgan": Row(FastGANGenerator, FastGANGeneratorConfig(width=1, dim_z=12, tanh=True)),
    "stylegan2": Row(StyleGAN2Generator, StyleGAN2GeneratorConfig(channel_max=8, mapping_layers=2, dim_z=12, dim_w=6)),
}
DISCRIMINATORS: dict[str, Row[DiscriminatorConfig, Discriminator]] = {
    "biggan": Row(BigGANDiscriminator, BigGANDiscriminatorConfig(width=4, channels=(2, 4, 4), downs=2, attention=8)),
    "biggan-deep": Row(
        BigGANDeepDiscriminator, BigGANDeepDiscriminatorConfig(width=8, channels=(1, 2, 2), attention=8)
    ),
    "sngan": Row(SNGANDiscriminator, SNGANDiscriminatorConfig(width=4, channels=(1, 2, 2, 4), downs=2)),
    "sngan-cnn": Row(SNGANCNNDiscriminator, SNGANCNNDiscriminatorConfig(width=4)),
    "fastgan": Row(FastGANDiscriminator, FastGANDiscriminatorConfig(width=2)),
    "projected": Row(
        ProjectedDiscriminator,
        ProjectedDiscriminatorConfig(
            features="test_efficientnet", weights="random", size=32, ccm_channels=4, discriminators=2, max_channels=16
        ),
    ),
    "stylegan2": Row(StyleGAN2Discriminator, StyleGAN2DiscriminatorConfig(channel_max=8)),
}


def table(role: str) -> Mapping[str, Row[Any, Any]]:
    """The networks that may play the `generator`, or the `discriminator`."""
    tables: dict[str, Mapping[str, Row[Any, Any]]] = {"generator": GENERATORS, "discriminator": DISCRIMINATORS}
    return tables[role]


def find(role: str, name: str) -> Row[Any, Any]:
    """A row by name. An unknown name is an error that offers the nearest one."""
    if name not in table(role):
        raise unknown(role, name, table(role))
    return table(role)[name]


def family_of(config: NetworkConfig) -> str:
    """The name under which the class of these settings stands in its table."""
    for name, row in table(config.role).items():
        if row.config is type(config):
            return name
    raise TypeError(f"{type(config).__name__} is not in the table of {config.role}s")


def build_generator(config: GeneratorConfig, resolution: int, n_classes: int) -> Generator:
    return GENERATORS[family_of(config)].network(config, resolution, n_classes)


def build_discriminator(config: DiscriminatorConfig, resolution: int, n_classes: int) -> Discriminator:
    return DISCRIMINATORS[family_of(config)].network(config, resolution, n_classes)
