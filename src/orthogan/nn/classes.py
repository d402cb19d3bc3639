"""Class labels in a network: indices (N,), or weights (N, n_classes) that mix classes, or none."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.nn.dropout import drop
from orthogan.nn.layers import Layers


class ClassTable(nn.Embedding):
    """A vector a class, without normalisation, for indices or for weights that mix classes."""

    def forward(self, y: Tensor | None) -> Tensor:
        return look_up(self, y)


def look_up(table: nn.Embedding, y: Tensor | None) -> Tensor:
    """Rows of the table for class indices (N,), or their mixture for class weights (N, n_classes)."""
    y = need_labels(y)
    return y.to(table.weight.dtype) @ table.weight if y.is_floating_point() else F.embedding(y, table.weight)


def need_labels(y: Tensor | None) -> Tensor:
    if y is None:
        raise ValueError("this network has classes: it needs labels y")
    return y


class ProjectionHead(nn.Module):
    """Features (N, C, H, W) and y -> logits (N,): Linear(h) + <embedding(y), h>, h = sum over pixels of ReLU(features).

    The projection discriminator of Miyato and Koyama (2018). The sum (not mean) and the logits are float32 whatever
    the autocast: bf16 would round logits to 3 digits. With keys (N,) there is drop-out of h.
    """

    def __init__(self, channels: int, n_classes: int, layers: Layers, bias: bool = True, dropout: float = 0.0):
        super().__init__()
        self.dropout = dropout
        self.linear = layers.linear(channels, 1, bias=bias)
        self.embedding = layers.embedding(n_classes, channels) if n_classes else None

    def forward(self, features: Tensor, y: Tensor | None, keys: Tensor | None = None) -> Tensor:
        # Cast first: the gradient of a cast after the ReLU would come in another layout, which is ten times slower.
        h = drop(F.relu(features.float()).sum((2, 3)), self.dropout, keys)
        with torch.autocast(h.device.type, enabled=False):
            logits: Tensor = self.linear(h)[:, 0]
            return logits if self.embedding is None else logits + (self.embedding(need_labels(y)) * h).sum(1)
