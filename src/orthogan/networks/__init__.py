"""The families, by name: one literal table. A new network is one file and one line here."""

from dataclasses import dataclass

from torch import nn

from orthogan.config import NetworkConfig
from orthogan.networks.biggan import BigGANConfig, BigGANDiscriminator, BigGANGenerator
from orthogan.networks.biggan_deep import BigGANDeepConfig, BigGANDeepDiscriminator, BigGANDeepGenerator
from orthogan.networks.sngan import (
    SNGANCNNConfig,
    SNGANCNNDiscriminator,
    SNGANCNNGenerator,
    SNGANConfig,
    SNGANDiscriminator,
    SNGANGenerator,
)


@dataclass(frozen=True)
class Family:
    """A configuration class and the two networks that are built from it."""

    config: type[NetworkConfig]
    generator: type[nn.Module]
    discriminator: type[nn.Module]


FAMILIES = {
    "biggan": Family(BigGANConfig, BigGANGenerator, BigGANDiscriminator),
    "biggan-deep": Family(BigGANDeepConfig, BigGANDeepGenerator, BigGANDeepDiscriminator),
    "sngan": Family(SNGANConfig, SNGANGenerator, SNGANDiscriminator),
    "sngan-cnn": Family(SNGANCNNConfig, SNGANCNNGenerator, SNGANCNNDiscriminator),
}


def family_of(config: NetworkConfig) -> str:
    """The name under which a configuration's class stands in the table."""
    for name, family in FAMILIES.items():
        if family.config is type(config):
            return name
    raise TypeError(f"{type(config).__name__} is not in the table of families")


def build_generator(config: NetworkConfig) -> nn.Module:
    return FAMILIES[family_of(config)].generator(config)


def build_discriminator(config: NetworkConfig) -> nn.Module:
    return FAMILIES[family_of(config)].discriminator(config)
