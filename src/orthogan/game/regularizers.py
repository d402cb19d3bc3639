"""Regularisers as plug-ins of the step. A regulariser says what it touches by the method it overrides."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from orthogan.config import RegularizerConfig


class Regularizer:
    """Base: touches nothing. `network` is the one that has just had its backward pass."""

    def on_grads(self, network: nn.Module) -> None:
        """Change gradients once per update, after all micro-batches and the averaging over processes."""


class OrthogonalRegularization(Regularizer):
    """beta * ||W W^T * (1 - I)||_F^2 over the rows of every matrix (BigGAN, equation 3), by its exact derivative.

    Raw weights of two or more dimensions, the class embedding left out. BigGAN-PyTorch applies half this derivative:
    its strength s is a beta of s / 2, which `scale=0.5` gives.
    """

    def __init__(self, beta: float, scale: float = 1.0):
        self.beta = beta * scale

    def matrices(self, network: nn.Module) -> Iterator[nn.Parameter]:
        tables = {id(p) for m in network.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        return (p for p in network.parameters() if p.ndim >= 2 and id(p) not in tables)

    def penalty(self, weight: Tensor) -> Tensor:
        """The penalty of one weight, a scalar. Only its derivative is used in training."""
        return self.beta * off_diagonal_gram(weight.flatten(1)).square().sum()

    @torch.no_grad()
    def on_grads(self, network: nn.Module) -> None:
        for weight in self.matrices(network):
            gradient = 4 * self.beta * off_diagonal_product(weight.detach().flatten(1).float())
            assert weight.grad is not None
            weight.grad += gradient.view_as(weight).to(weight.grad.dtype)


def off_diagonal_gram(rows: Tensor) -> Tensor:
    """W W^T with its diagonal set to 0: (R, C) -> (R, R)."""
    gram = rows @ rows.T
    return gram - gram.diag().diag()


def off_diagonal_product(rows: Tensor) -> Tensor:
    """(W W^T with its diagonal set to 0) W: (R, C) -> (R, C), through the smaller of the two Gram matrices."""
    tall = rows.shape[0] > rows.shape[1]
    product = rows @ (rows.T @ rows) if tall else (rows @ rows.T) @ rows
    return product - rows.square().sum(1, keepdim=True) * rows


def of_generator(config: RegularizerConfig) -> list[Regularizer]:
    """The regularisers of G that a run's settings ask for."""
    scale = {"paper": 1.0, "biggan-pytorch": 0.5}[config.g_ortho_form]
    return [OrthogonalRegularization(config.g_ortho, scale)] if config.g_ortho else []
