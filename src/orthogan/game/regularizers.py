"""Regularisers as plug-ins of the step. A regulariser says what it touches by the method it overrides."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from orthogan.config import RegularizerConfig
from orthogan.nn.classes import ClassTable

Judge = Callable[[Tensor], Tensor]
"""The discriminator at the labels of the real images: images (N, 3, R, R) -> logits (N,), in float32."""


class Regularizer:
    """Base: touches nothing. `network` is the one that is being updated."""

    def on_loss(self, judge: Judge, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor | float:
        """Terms (N,) to add to D's loss, from real and fake images and uniform numbers mix (N,) in [0, 1)."""
        return 0.0

    def on_grads(self, network: nn.Module) -> None:
        """Change gradients once per update, after all micro-batches and the averaging over processes."""

    def on_weights(self, network: nn.Module) -> None:
        """Change weights after the optimiser's step."""


class OrthogonalRegularization(Regularizer):
    """beta * ||W W^T * (1 - I)||_F^2 over the rows of every matrix (BigGAN, equation 3), by its exact derivative.

    Raw weights of two or more dimensions, embeddings of classes left out.
    """

    def __init__(self, beta: float):
        self.beta = beta

    def matrices(self, network: nn.Module) -> Iterator[nn.Parameter]:
        tables = {id(p) for m in network.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        return (p for p in network.parameters() if p.ndim >= 2 and id(p) not in tables)

    def penalty(self, weight: Tensor) -> Tensor:
        """The penalty of one weight, a scalar. Only its derivative is used in training."""
        return self.beta * off_diagonal_gram(weight.flatten(1)).square().sum()

    def derivative(self, rows: Tensor) -> Tensor:
        """Of the penalty of a weight (R, C), in its shape."""
        return 4 * self.beta * off_diagonal_product(rows)

    @torch.no_grad()
    def on_grads(self, network: nn.Module) -> None:
        for weight in self.matrices(network):
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

    def matrices(self, network: nn.Module) -> Iterator[nn.Parameter]:
        # D's is not a ClassTable but a layer, with spectral norm.
        shared = {id(m.weight) for m in network.children() if isinstance(m, ClassTable)}
        return (p for p in network.parameters() if p.ndim >= 2 and id(p) not in shared)


class Orthonormal(OrthogonalRegularization):
    """beta * ||W^T W - I||_F^2, the orthonormal regularisation that SN-GAN was compared with (Brock et al. 2016)."""

    def matrices(self, network: nn.Module) -> Iterator[nn.Parameter]:
        return (p for p in network.parameters() if p.ndim >= 2)

    def penalty(self, weight: Tensor) -> Tensor:
        rows = weight.flatten(1)
        return self.beta * (rows.T @ rows - torch.eye(rows.shape[1]).to(rows)).square().sum()

    def derivative(self, rows: Tensor) -> Tensor:
        tall = rows.shape[0] > rows.shape[1]
        product = rows @ (rows.T @ rows) if tall else (rows @ rows.T) @ rows
        return 4 * self.beta * (product - rows)


class GradientPenalty(Regularizer):
    """weight * (||grad D(x')|| - 1)^2 at x' between a real and a fake image (Gulrajani et al. 2017, equation 3)."""

    def __init__(self, weight: float = 10.0):
        self.weight = weight

    def on_loss(self, judge: Judge, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        between = torch.lerp(fake, real, mix[:, None, None, None]).requires_grad_()
        (gradient,) = torch.autograd.grad(judge(between).sum(), between, create_graph=True)
        return self.weight * (gradient.flatten(1).norm(dim=1) - 1).square()


class Consistency(Regularizer):
    """weight * (D(x) - D(T(x)))^2 on real images x, T a random mirror and shift (Zhang et al. 2020, CR-GAN)."""

    def __init__(self, weight: float = 10.0):
        self.weight = weight

    def on_loss(self, judge: Judge, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        return self.weight * (judge(real) - judge(mirror_and_shift(real, mix))).square()


SHIFT = 4
"""Largest shift of the consistency regularisation, in pixels each way."""


def mirror_and_shift(x: Tensor, mix: Tensor) -> Tensor:
    """Images (N, C, H, W), each mirrored or not and shifted by -SHIFT ... SHIFT pixels, its border repeated.

    The uniform numbers mix (N,) in [0, 1) choose one of the 2 * 9 * 9 transforms of each image.
    """
    span = 2 * SHIFT + 1
    chosen = (mix * 2 * span**2).long()
    mirrored, down, right = chosen // span**2, chosen // span % span - SHIFT, chosen % span - SHIFT
    height, width = x.shape[2:]
    rows = (torch.arange(height, device=x.device) + down[:, None]).clamp(0, height - 1)
    columns = (torch.arange(width, device=x.device) + right[:, None]).clamp(0, width - 1)
    columns = torch.where(mirrored[:, None] == 1, width - 1 - columns, columns)
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return x[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class WeightClipping(Regularizer):
    """Every parameter into [-limit, limit] after each step (Arjovsky et al. 2017)."""

    def __init__(self, limit: float = 0.01):
        self.limit = limit

    @torch.no_grad()
    def on_weights(self, network: nn.Module) -> None:
        torch._foreach_clamp_max_(list(network.parameters()), self.limit)
        torch._foreach_clamp_min_(list(network.parameters()), -self.limit)


def off_diagonal_gram(rows: Tensor) -> Tensor:
    """W W^T with its diagonal set to 0: (R, C) -> (R, R)."""
    gram = rows @ rows.T
    return gram - gram.diag().diag()


def off_diagonal_product(rows: Tensor) -> Tensor:
    """(W W^T with its diagonal set to 0) W: (R, C) -> (R, C), through the smaller of the two Gram matrices."""
    if rows.shape[0] <= rows.shape[1]:
        return off_diagonal_gram(rows) @ rows
    return rows @ (rows.T @ rows) - rows.square().sum(1, keepdim=True) * rows


ORTHO_FORMS = {"paper": OrthogonalRegularization, "biggan-pytorch": BigGANPytorchRegularization}


def of_generator(config: RegularizerConfig) -> list[Regularizer]:
    """The regularisers of G that a run's settings ask for."""
    return [ORTHO_FORMS[config.g_ortho_form](config.g_ortho)] if config.g_ortho else []


STABILIZERS: dict[str, Callable[[RegularizerConfig], Regularizer]] = {
    "weight-clipping": lambda config: WeightClipping(config.d_clip),
    "gradient-penalty": lambda config: GradientPenalty(config.d_penalty),
    "wgan-gp": lambda config: GradientPenalty(config.d_penalty),
    "orthonormal": lambda config: Orthonormal(config.d_orthonormal),
}
"""Stabilisers that act on the loss or the weights; the others are in the network: `nn.stabilizers`."""


def of_discriminator(config: RegularizerConfig, network: Any) -> list[Regularizer]:
    """The regularisers of D that its stabiliser and a run's settings ask for."""
    found = [STABILIZERS[network.stabilizer](config)] if network.stabilizer in STABILIZERS else []
    found += [ORTHO_FORMS[config.d_ortho_form](config.d_ortho)] if config.d_ortho else []
    return found + ([Consistency(config.d_consistency)] if config.d_consistency else [])
