import pytest
import torch
from torch import nn

from orthogan.nn.weight_norm import WNConv2d, WNEmbedding, WNLinear


def test_by_hand() -> None:
    layer = WNLinear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
        layer.length.copy_(torch.tensor([10.0, 1.0]))
    torch.testing.assert_close(layer.weight_in_use(), torch.tensor([[6.0, 8.0], [0.0, 1.0]]))


@pytest.mark.parametrize(
    "layer", [WNLinear(5, 7), WNConv2d(4, 6, 3), WNConv2d(4, 6, 3, resample="down"), WNEmbedding(9, 4)]
)
def test_starts_as_the_weight_itself_and_its_rows_have_the_given_lengths(layer: nn.Module) -> None:
    torch.testing.assert_close(layer.weight_in_use(), layer.weight)
    with torch.no_grad():
        layer.weight.mul_(3)
        layer.length.fill_(2)
    rows = layer.weight_in_use().flatten(1).norm(dim=1)
    torch.testing.assert_close(rows, torch.full_like(rows, 2.0))


def test_the_gradient_is_orthogonal_to_the_row() -> None:
    """Equation 3 of the paper: the direction's gradient has no part along the direction."""
    torch.manual_seed(0)
    layer = WNLinear(5, 3, bias=False)
    layer(torch.randn(4, 5)).square().sum().backward()
    along = (layer.weight.grad * layer.weight).sum(1)
    torch.testing.assert_close(along, torch.zeros(3), atol=1e-5, rtol=0)
    assert layer.length.grad is not None
