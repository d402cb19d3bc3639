"""What the plain layers hand to an optimiser."""

import pytest
import torch

from orthogan.nn.layers import PLAIN, Layers
from orthogan.nn.spectral import spectral


@pytest.mark.parametrize("layers", [PLAIN, spectral(1e-4)], ids=["plain", "spectral"])
def test_gradients_of_1x1_kernels_have_the_strides_of_their_parameter(layers: Layers) -> None:
    """DDP warns where they have not, and copies."""
    conv = layers.conv(16, 32, 1)
    x = torch.randn(2, 16, 4, 4).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(x)
    y.float().square().sum().backward()
    assert conv.weight.grad is not None
    assert conv.weight.grad.stride() == conv.weight.stride()


def test_padding_and_groups_are_those_of_pytorch() -> None:
    x = torch.randn(2, 6, 7, 5)
    for size, padding, groups, side in ((4, 0, 1, (4, 2)), (3, None, 6, (7, 5)), (4, None, 2, (6, 4))):
        conv = PLAIN.conv(6, 6, size, padding=padding, groups=groups)
        expected = torch.nn.functional.conv2d(
            x, conv.weight, conv.bias, padding=(size - 1) // 2 if padding is None else padding, groups=groups
        )
        assert torch.equal(conv(x), expected)
        assert conv(x).shape[2:] == side
