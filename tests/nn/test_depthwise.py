"""Frozen depthwise convolutions of stride 2 against the layers that they stand for."""

import pytest
import torch
from torch import nn

from orthogan.nn.depthwise import HalvingDepthwise, is_halving_depthwise

timm_layers = pytest.importorskip("timm.layers")


def layer(size: int, padding: str, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(size)
    if padding == "same":
        made = timm_layers.Conv2dSame(6, 6, size, stride=2, groups=6, bias=bias)
    else:
        made = nn.Conv2d(6, 6, size, stride=2, padding=size // 2, groups=6, bias=bias)
    return made.double().requires_grad_(False)


@pytest.mark.parametrize("padding", ["same", "equal"])
@pytest.mark.parametrize("size", [3, 5, 7])
def test_the_function_and_its_gradients_are_the_layer_s(size: int, padding: str) -> None:
    conv = layer(size, padding)
    quick = HalvingDepthwise(conv)
    x = torch.randn(2, 6, 10, 14, dtype=torch.double, requires_grad=True)
    weights = torch.randn(2, 6, 5, 7, dtype=torch.double)
    torch.testing.assert_close(quick(x), conv(x))
    (expected,) = torch.autograd.grad((conv(x) * weights).sum(), x)
    (found,) = torch.autograd.grad((quick(x) * weights).sum(), x)
    torch.testing.assert_close(found, expected)
    assert torch.autograd.gradgradcheck(quick, (torch.randn(1, 6, 4, 4, dtype=torch.double, requires_grad=True),))


def test_maps_with_an_odd_side_go_through_the_layer() -> None:
    conv = layer(3, "same", bias=False)
    x = torch.randn(1, 6, 9, 9, dtype=torch.double)
    assert torch.equal(HalvingDepthwise(conv)(x), conv(x))


def test_bf16_under_autocast_forward_and_backward() -> None:
    conv = layer(3, "same").float()
    x = torch.randn(1, 6, 8, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = HalvingDepthwise(conv)(x)
    y.sum().backward()
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), conv(x), rtol=2e-2, atol=2e-2)
    (expected,) = torch.autograd.grad(conv(x).sum(), x)
    torch.testing.assert_close(x.grad, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(6, 6, 3, stride=2, padding=1),
        nn.Conv2d(6, 6, 3, padding=1, groups=6),
        nn.Conv2d(6, 12, 3, stride=2, padding=1, groups=6),
        nn.Conv2d(6, 6, 4, stride=2, padding=1, groups=6),
        nn.Conv2d(6, 6, 5, stride=2, padding=1, groups=6),
        nn.Conv2d(6, 6, 3, stride=2, groups=6),
        timm_layers.Conv2dSame(6, 6, 1, stride=2, groups=6),
        nn.Conv2d(6, 6, 3, stride=2, padding=1, groups=6, dilation=2),
        nn.Linear(6, 6),
    ],
)
def test_other_layers_are_left_alone(other: nn.Module) -> None:
    assert not is_halving_depthwise(other)
