"""Weight normalisation (Salimans and Kingma 2016): direction and length of each row apart."""

from typing import Any

import torch
from torch import Tensor, nn

from orthogan.nn.layers import Conv2d, Embedding, Layers, Linear, Weighted


class WeightNorm(Weighted):
    """The kind that uses g * w / ||w|| for each row w of the weight. `reset_lengths` makes g the rows' lengths."""

    def __init__(self, *shape: int, **options: Any):
        super().__init__(*shape, **options)
        self.length = nn.Parameter(torch.ones(self.weight.shape[0], device=self.weight.device))
        self.reset_lengths()

    @torch.no_grad()
    def reset_lengths(self) -> None:
        """Call it after initialising `weight`, so that training starts from that weight itself."""
        self.length.copy_(self.weight.flatten(1).norm(dim=1))

    def weight_in_use(self) -> Tensor:
        rows = self.weight.flatten(1)
        return (rows * (self.length / rows.norm(dim=1)).unsqueeze(1)).view_as(self.weight)


class WNLinear(WeightNorm, Linear):
    pass


class WNEmbedding(WeightNorm, Embedding):
    pass


class WNConv2d(WeightNorm, Conv2d):
    pass


WEIGHT_NORM = Layers(WNLinear, WNEmbedding, WNConv2d)
