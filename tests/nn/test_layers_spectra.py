"""Singular values of a network's layers against numpy's and by hand."""

import numpy as np
import torch
from torch import nn

from orthogan.nn.layers import Conv2d, Embedding, Linear, singular_values
from orthogan.nn.spectral import SNLinear, advance


def test_singular_values_are_those_of_the_flattened_weight() -> None:
    torch.manual_seed(0)
    network = nn.ModuleDict({"conv": Conv2d(3, 5, 3), "one": Linear(7, 1), "table": Embedding(4, 6)})
    found = singular_values(network)
    assert list(found) == ["conv"]
    expected = np.linalg.svd(network["conv"].weight.detach().numpy().reshape(5, 27), compute_uv=False)
    np.testing.assert_allclose(found["conv"].numpy(), expected, rtol=1e-5)


def test_singular_values_are_those_after_normalisation() -> None:
    layer = SNLinear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 3.0], [12.0, 0.0]]))
    advance(layer, 50)
    torch.testing.assert_close(singular_values(nn.Sequential(layer))["0"], torch.tensor([1.0, 0.25]))


def test_a_weight_that_is_not_finite_has_no_singular_values_but_raises_nothing() -> None:
    layer = Linear(3, 2)
    with torch.no_grad():
        layer.weight[0, 0] = torch.inf
    assert singular_values(nn.Sequential(layer))["0"].isnan().tolist() == [True, True]
