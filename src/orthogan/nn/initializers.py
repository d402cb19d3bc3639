"""Initial weights by name. Biases start at 0, as in the TensorFlow originals."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from orthogan.nn.frozen import unfrozen_modules

Init = Literal["orthogonal", "normal", "xavier"]

SCHEMES: dict[str, Callable[[Tensor], object]] = {
    "orthogonal": nn.init.orthogonal_,
    "normal": lambda weight: nn.init.normal_(weight, std=0.02),
    "xavier": nn.init.xavier_uniform_,
}


def initialize(network: nn.Module, scheme: Init) -> None:
    """Initialise every convolution, linear layer and embedding of a network but those of its frozen parts."""
    for module in unfrozen_modules(network):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
            SCHEMES[scheme](module.weight)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
