"""Initial weights."""

import pytest
import torch
from torch import nn

from orthogan.nn.initializers import SCHEMES, initialize


@pytest.fixture
def network() -> nn.ModuleDict:
    torch.manual_seed(0)
    return nn.ModuleDict({"conv": nn.Conv2d(8, 40, 3), "linear": nn.Linear(50, 60), "table": nn.Embedding(70, 20)})


def matrices(network: nn.ModuleDict) -> list[torch.Tensor]:
    return [module.weight.detach().flatten(1) for module in network.values()]


def test_orthogonal_makes_all_singular_values_one(network):
    initialize(network, "orthogonal")
    for matrix in matrices(network):
        torch.testing.assert_close(torch.linalg.svdvals(matrix), torch.ones(min(matrix.shape)))


def test_normal_has_a_deviation_of_0_02(network):
    initialize(network, "normal")
    for matrix in matrices(network):
        assert matrix.std().item() == pytest.approx(0.02, rel=0.1)


def test_xavier_is_uniform_up_to_its_bound(network):
    initialize(network, "xavier")
    conv, linear, table = matrices(network)
    for matrix, fans in ((conv, (8 + 40) * 9), (linear, 50 + 60), (table, 70 + 20)):
        bound = (6 / fans) ** 0.5
        assert 0.97 * bound < matrix.abs().max().item() <= bound
        assert matrix.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_biases_start_at_zero(network, scheme):
    initialize(network, scheme)
    assert not network["conv"].bias.any()
    assert not network["linear"].bias.any()
