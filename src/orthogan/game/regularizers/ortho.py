"""BigGAN's orthogonal regularisation (Brock et al. 2019, equation 3), by its derivative."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from orthogan.game.regularizers.base import Regularizer, Settings
from orthogan.nn.classes import ClassTable


@dataclass(frozen=True, kw_only=True)
class OrthoSettings(Settings):
    example: ClassVar[str] = "1e-4"

    strength: float = 0.0
    """beta of BigGAN's equation 3 (the paper: 1e-4, of G); 0 leaves it out."""
    form: Literal["paper", "biggan-pytorch"] = "paper"
    """The exact derivative of the paper's penalty without embeddings, or BigGAN-PyTorch's: half of it, and D's
    embedding and tables of gains and biases too."""


class OrthogonalRegularization(Regularizer):
    """strength * ||W W^T * (1 - I)||_F^2 over the rows of every matrix.

    Raw weights of two or more dimensions, embeddings of classes left out.
    """

    def __init__(self, settings: Settings):
        self.settings = settings

    def matrices(self, network: nn.Module, trained: Sequence[nn.Parameter]) -> Iterator[nn.Parameter]:
        tables = {id(p) for m in network.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        return (p for p in trained if p.ndim >= 2 and id(p) not in tables)

    def derivative(self, rows: Tensor) -> Tensor:
        """Of the penalty of a weight (R, C), in its shape."""
        return 4 * self.settings.strength * off_diagonal_product(rows)

    @torch.no_grad()
    def on_grads(self, network: nn.Module, trained: Sequence[nn.Parameter]) -> None:
        for weight in self.matrices(network, trained):
            assert weight.grad is not None
            gradient = self.derivative(weight.detach().flatten(1).float())
            weight.grad += gradient.view_as(weight).to(weight.grad.dtype)


class BigGANPytorchRegularization(OrthogonalRegularization):
    """As BigGAN-PyTorch applies it (utils.ortho): half the derivative, so that a strength s is a beta of s / 2.

    Of the embeddings only the one that G's norms share is left out: tables of gains and biases and D's embedding are
    regularised.
    """

    def derivative(self, rows: Tensor) -> Tensor:
        return super().derivative(rows) / 2

    def matrices(self, network: nn.Module, trained: Sequence[nn.Parameter]) -> Iterator[nn.Parameter]:
        # D's is not a ClassTable but a layer, with spectral norm.
        shared = {id(m.weight) for m in network.children() if isinstance(m, ClassTable)}
        return (p for p in trained if p.ndim >= 2 and id(p) not in shared)


FORMS = {"paper": OrthogonalRegularization, "biggan-pytorch": BigGANPytorchRegularization}


def in_form(settings: OrthoSettings) -> Regularizer:
    """The rule in the form that its settings name."""
    return FORMS[settings.form](settings)


def off_diagonal_gram(rows: Tensor) -> Tensor:
    """W W^T with its diagonal set to 0: (R, C) -> (R, R)."""
    gram = rows @ rows.T
    return gram - gram.diag().diag()


def off_diagonal_product(rows: Tensor) -> Tensor:
    """(W W^T with its diagonal set to 0) W: (R, C) -> (R, C), through the smaller of the two Gram matrices."""
    if rows.shape[0] <= rows.shape[1]:
        return off_diagonal_gram(rows) @ rows
    return rows @ (rows.T @ rows) - rows.square().sum(1, keepdim=True) * rows
