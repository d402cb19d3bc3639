"""Modulated convolutions against one convolution an image, as the paper defines them."""

import naive_stylegan2 as naive
import pytest
import torch
from torch import Tensor, nn

from orthogan.nn.modulated import ModulatedConv2d, StyledConv
from orthogan.nn.noise import Noise, keys, normals

KINDS = {
    "same": {"size": 3},
    "up": {"size": 3, "up": True},
    "rgb": {"size": 1, "demodulate": False},
    "plain": {"size": 3, "demodulate": False},
}
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def layer(kind: str, inputs: int = 4, outputs: int = 6) -> ModulatedConv2d:
    made = ModulatedConv2d(inputs, outputs, dim_w=5, **KINDS[kind])
    nn.init.normal_(made.bias)
    return made


def with_bias(made: ModulatedConv2d, x: Tensor, w: Tensor) -> Tensor:
    return naive.modulated(made, x, w) + made.bias[:, None, None]


@each_kind
def test_scaling_maps_is_scaling_the_weight_of_each_image(kind):
    made, x, w = layer(kind), torch.randn(3, 4, 5, 4), 2 * torch.randn(3, 5)
    torch.testing.assert_close(made(x, w, 1.5), 1.5 * with_bias(made, x, w), rtol=1e-4, atol=1e-4)


@each_kind
def test_second_derivatives_are_those_of_the_definition(kind):
    """What path length regularisation needs: the gradient of a gradient's length."""
    made = layer(kind)
    found = []
    for forward in (made, lambda x, w: with_bias(made, x, w)):
        source = torch.Generator().manual_seed(1)
        x = torch.randn(2, 4, 4, 4, generator=source).requires_grad_()
        w = torch.randn(2, 5, generator=source).requires_grad_()
        (gradient,) = torch.autograd.grad(forward(x, w).sin().sum(), w, create_graph=True)
        found.append(torch.autograd.grad(gradient.square().sum(), [x, w, made.weight, made.style.weight]))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_doubling_does_not_mirror_the_kernel():
    """Trap 17: the kernel's place (0, 2) moves a pixel at (i, j) to (2i, 2j + 2), then half a pixel back by the FIR."""
    made = layer("up", 1, 1)
    nn.init.zeros_(made.bias)
    nn.init.zeros_(made.weight)
    made.weight.data[0, 0, 0, 2] = 1
    x = torch.zeros(1, 1, 6, 6)
    x[0, 0, 2, 1] = 1
    out = made(x, torch.zeros(1, 5))[0, 0]
    place = torch.arange(12.0)
    assert out.sum().item() == pytest.approx(4, rel=1e-4)
    assert (out.sum(1) @ place / out.sum()).item() == pytest.approx(2 * 2 - 0.5, rel=1e-4)
    assert (out.sum(0) @ place / out.sum()).item() == pytest.approx(2 * 1 + 2 - 0.5, rel=1e-4)


def test_demodulation_leaves_unit_variance_whatever_the_style():
    made = ModulatedConv2d(64, 32, 3, dim_w=5)
    out = made(torch.randn(4, 64, 24, 24), 10 * torch.randn(4, 5))[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(out.var((1, 2, 3)), torch.ones(4), rtol=0.1, atol=0)


def test_image_of_unit_inputs_has_unit_variance():
    """Without demodulation, at the styles of 1 that a layer begins with."""
    made = ModulatedConv2d(256, 64, 1, dim_w=5, demodulate=False)
    out = made(torch.randn(2, 256, 20, 20), torch.zeros(2, 5))
    assert out.var().item() == pytest.approx(1, rel=0.1)


@each_kind
def test_under_autocast_it_is_the_same_to_the_digits_of_bf16(kind):
    made = layer(kind)
    x, w = torch.randn(2, 4, 8, 8).contiguous(memory_format=torch.channels_last), torch.randn(2, 5)
    with torch.autocast("cpu", torch.bfloat16):
        low = made(x.bfloat16(), w)
    assert low.dtype == torch.bfloat16
    assert low.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(low.float(), made(x, w), rtol=0.05, atol=0.1)


@pytest.mark.parametrize("mode", ["random", "const", "none"])
def test_styled_convolution_adds_noise_before_the_activation(mode):
    made = StyledConv(4, 6, 5, side=8, layer=2, clamp=1.5, up=True)
    nn.init.constant_(made.noise.strength, 0.7)
    nn.init.normal_(made.conv.bias)
    x, w, of = torch.randn(2, 4, 4, 4), torch.randn(2, 5), keys(torch.randn(2, 3))
    added = {"random": normals(of, 2, 1, 8, 8), "const": made.noise.const, "none": 0.0}[mode]
    out = made(x, w, Noise(mode, of))
    torch.testing.assert_close(out, naive.styled(made, x, w, added), rtol=1e-4, atol=1e-4)
    assert out.max() == 1.5
