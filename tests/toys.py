"""A generator and a discriminator as somebody else would add them: one file, and a line in each table."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from orthogan.networks import Row
from orthogan.networks.base import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from orthogan.nn.apart import Coupling
from orthogan.nn.classes import look_up


@dataclass(frozen=True, kw_only=True)
class ToyGeneratorConfig(GeneratorConfig):
    dim_z: int = 5
    sharpness: float = 1.0
    """Factor before the tanh."""


class ToyGenerator(Generator):
    """One linear layer, no norm, no truncation."""

    truncation = "none"
    config: ToyGeneratorConfig

    def __init__(self, config: ToyGeneratorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        self.linear = nn.Linear(config.dim_z, 3 * resolution**2)
        self.table = nn.Embedding(n_classes, 3 * resolution**2) if n_classes else None

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.linear(z)
        if self.table is not None:
            assert y is not None
            h = h + look_up(self.table, y)
        return torch.tanh(self.config.sharpness * h).view(-1, 3, self.resolution, self.resolution)


@dataclass(frozen=True, kw_only=True)
class ToyDiscriminatorConfig(DiscriminatorConfig):
    patches: int = 4
    """Logits of an image."""


class Centre(Coupling):
    def couple(self, x: Tensor) -> Tensor:
        return x + 0.1 * (x - x.mean(0))


class ToyDiscriminator(Discriminator):
    """Several logits an image, each seeing how far the image is from the mean of its batch."""

    config: ToyDiscriminatorConfig

    def __init__(self, config: ToyDiscriminatorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        self.centre = Centre()
        self.linear = nn.Linear(3 * resolution**2, config.patches)
        self.table = nn.Embedding(n_classes, config.patches) if n_classes else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        logits: Tensor = self.linear(self.centre(x).flatten(1))  # (N, patches)
        return logits if self.table is None else logits + self.table(y)


GENERATOR = Row(ToyGenerator, ToyGeneratorConfig())
DISCRIMINATOR = Row(ToyDiscriminator, ToyDiscriminatorConfig())
