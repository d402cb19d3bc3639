"""The FIR filter, and equalised convolutions behind it, against loops and numbers worked by hand."""

import naive_stylegan2 as naive
import pytest
import torch
import torch.nn.functional as F

from orthogan.nn.equalized import EqualizedConv2d, EqualizedLinear, activate, normalized
from orthogan.nn.fir import smooth, upsample


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_upsampling_by_hand():
    """A pixel of 64 spreads over four by four with the weights (1, 3, 3, 1) squared: 64 of them in all, gain 4."""
    x = torch.zeros(1, 1, 3, 3)
    x[0, 0, 1, 1] = 16
    row = torch.tensor([0.0, 1.0, 3.0, 3.0, 1.0, 0.0])
    assert torch.equal(upsample(x)[0, 0], torch.outer(row, row))
    assert torch.equal(upsample(torch.ones(1, 2, 5, 5))[:, :, 1:-1, 1:-1], torch.ones(1, 2, 8, 8))


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 1, 3, 5), (2, 5, 1, 2)])
def test_upsampling_is_zeros_then_the_filter(shape):
    x = torch.randn(shape)
    torch.testing.assert_close(upsample(x), naive.upsampled(x))


@pytest.mark.parametrize("padding", [1, 2])
def test_smoothing_is_the_filter_at_every_pixel(padding):
    x = torch.randn(2, 3, 6, 4)
    expected = naive.filtered(F.pad(x, (padding,) * 4), naive.fir())
    torch.testing.assert_close(smooth(x, padding), expected)
    torch.testing.assert_close(smooth(x, padding, gain=4), 4 * expected)


@pytest.mark.parametrize("padding", [1, 2])
def test_first_and_second_derivatives_of_smoothing(padding):
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: smooth(x, padding, 4), x)
    assert torch.autograd.gradgradcheck(lambda x: smooth(x, padding, 4).sin(), x)


@pytest.mark.parametrize("size", [1, 3])
def test_halving_convolution_is_the_filter_then_every_other_pixel(size):
    layer = EqualizedConv2d(3, 5, size, down=True, gain=0.7)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 8, 6)
    weight = layer.weight * (3 * size**2) ** -0.5
    plain = naive.conv_down(x, weight) if size == 3 else F.conv2d(naive.downsampled(x), weight)
    torch.testing.assert_close(layer(x), 0.7 * (plain + layer.bias[:, None, None]))
    assert layer(x).shape == (2, 5, 4, 3)


def test_equalised_layers_keep_the_variance_and_start_at_normal_weights():
    x = torch.randn(400, 300)
    layer = EqualizedLinear(300, 200, lr_mult=0.01)
    assert layer.weight.std().item() == pytest.approx(100, rel=0.01)
    assert layer(x).std().item() == pytest.approx(1, rel=0.02)
    conv = EqualizedConv2d(30, 40, 3)
    assert conv.weight.std().item() == pytest.approx(1, rel=0.02)
    assert conv(torch.randn(8, 30, 20, 20))[:, :, 1:-1, 1:-1].std().item() == pytest.approx(1, rel=0.05)


def test_bias_of_an_equalised_layer_is_multiplied_by_its_rate():
    layer = EqualizedLinear(4, 2, lr_mult=0.5)
    torch.nn.init.constant_(layer.bias, 3.0)
    assert layer(torch.zeros(1, 4)).tolist() == [[1.5, 1.5]]
    assert EqualizedLinear(4, 2, bias=1.0)(torch.zeros(1, 4)).tolist() == [[1, 1]]


def test_activation_and_normalisation_by_hand():
    x = torch.tensor([-10.0, -1.0, 0.0, 3.0, 8.0])
    torch.testing.assert_close(activate(x.clone(), 4.0), torch.tensor([-2.0, -0.2, 0.0, 3.0, 4.0]))
    torch.testing.assert_close(activate(x.clone()), torch.tensor([-2.0, -0.2, 0.0, 3.0, 8.0]))
    torch.testing.assert_close(normalized(torch.tensor([[3.0, 4.0]])), torch.tensor([[3.0, 4.0]]) / 12.5**0.5)
    assert normalized(torch.zeros(1, 3)).tolist() == [[0, 0, 0]]
