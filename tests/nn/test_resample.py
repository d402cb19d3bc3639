"""Folded resampling against the two plain operations that it replaces."""

import pytest
import torch
import torch.nn.functional as F

from orthogan.nn.resample import (
    conv_then_halve,
    double,
    double_then_conv,
    doubling_kernel,
    halve,
    halving_kernel,
)

SHAPES = [(1, 1, 2, 2), (3, 5, 4, 4), (5, 3, 6, 4), (7, 1, 2, 6)]  # inputs, outputs, H, W


def folded_up(x, weight, bias):
    return double_then_conv(x, doubling_kernel(weight), bias)


def folded_down(x, weight, bias):
    return conv_then_halve(x, halving_kernel(weight), bias)


def plain_up(x, weight, bias):
    return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), weight, bias, padding=1)


def plain_down(x, weight, bias):
    return F.avg_pool2d(F.conv2d(x, weight, bias, padding=1), 2)


def problem(shape: tuple[int, ...]) -> list[torch.Tensor]:
    inputs, outputs, h, w = shape
    source = torch.Generator().manual_seed(0)
    sizes = [(2, inputs, h, w), (outputs, inputs, 3, 3), (outputs,)]
    return [torch.randn(size, generator=source, dtype=torch.float64).requires_grad_() for size in sizes]


@pytest.mark.parametrize(("folded", "plain"), [(folded_up, plain_up), (folded_down, plain_down)])
@pytest.mark.parametrize("shape", SHAPES)
def test_folded_convolution_equals_the_two_operations_to_the_border(shape, folded, plain):
    ours, theirs = folded(*problem(shape)), plain(*problem(shape))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("folded", "plain"), [(folded_up, plain_up), (folded_down, plain_down)])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_of_folded_convolutions_equal_those_of_the_two_operations(shape, folded, plain):
    ours, theirs = problem(shape), problem(shape)
    out = folded(*ours)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(out, ours, upstream), torch.autograd.grad(plain(*theirs), theirs, upstream), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_kernels_by_hand():
    corner = torch.zeros(1, 1, 3, 3)
    corner[0, 0, 0, 0] = 4
    # A pixel of the mean sees the corner at each of its four places.
    quarter = torch.zeros(4, 4)
    quarter[:2, :2] = 1
    assert torch.equal(halving_kernel(corner)[0, 0], quarter)
    assert torch.equal(doubling_kernel(corner)[0, 0], 4 * quarter.flip(0, 1))
    assert doubling_kernel(torch.zeros(5, 3, 3, 3)).shape == (3, 5, 4, 4)
    assert halving_kernel(torch.zeros(5, 3, 3, 3)).shape == (5, 3, 4, 4)


def test_double_and_halve_by_hand():
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]])[None, None]
    assert double(x)[0, 0].tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 6, 6], [3, 3, 6, 6]]
    assert halve(x).item() == 3
    assert torch.equal(halve(double(x)), x)
