"""The families, by name: one literal table. A new network is one file and one line here."""

from dataclasses import dataclass

from torch import nn

from orthogan.config import NetworkConfig
from orthogan.networks.biggan import BigGANConfig, BigGANDiscriminator, BigGANGenerator


@dataclass(frozen=True)
class Family:
    """A configuration class and the two networks that are built from it."""

    config: type[NetworkConfig]
    generator: type[nn.Module]
    discriminator: type[nn.Module]


FAMILIES = {
    "biggan": Family(BigGANConfig, BigGANGenerator, BigGANDiscriminator),
}


def family_of(config: NetworkConfig) -> str:
    """The name under which a configuration's class stands in the table."""
    return next(name for name, family in FAMILIES.items() if family.config is type(config))


def build_generator(config: NetworkConfig) -> nn.Module:
    return FAMILIES[family_of(config)].generator(config)


def build_discriminator(config: NetworkConfig) -> nn.Module:
    return FAMILIES[family_of(config)].discriminator(config)
