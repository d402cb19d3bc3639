"""Singular values against LAPACK's and by hand: of the weights in use, exactly by Arnoldi, and by block iteration."""

import copy
import math

import numpy as np
import pytest
import torch
from tiny import tiny_discriminator, tiny_generator
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from orthogan.nn.frozen import Frozen
from orthogan.nn.layers import Conv2d, Embedding, Linear
from orthogan.nn.modulated import ModulatedConv2d
from orthogan.nn.singular import Subspaces, in_shape_of_weight, layers, matrices, matrix
from orthogan.nn.spectral import SNLinear, advance
from orthogan.stability.spectra import exact, live, of_weights_in_use, top_singular_values


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def with_values(values: list[float], outputs: int, rest: int) -> Tensor:
    """A matrix (outputs, rest) of these singular values, all others smaller by nine tenths each."""
    q, _ = torch.linalg.qr(torch.randn(outputs, outputs, dtype=torch.float64))
    p, _ = torch.linalg.qr(torch.randn(rest, rest, dtype=torch.float64))
    n = min(outputs, rest)
    every = torch.tensor([*values, *(values[-1] * 0.9**i for i in range(1, n - len(values) + 1))][:n]).double()
    return (q[:, :n] * every @ p[:, :n].T).float()


SPECTRA = {
    "apart": [9.0, 4.0, 1.0],
    "exploding": [1e4, 1.0, 0.5],
    "close": [2.0, 1.999, 1.998],
    "repeated": [2.0, 2.0, 2.0, 2.0, 2.0],
    "nearly flat": [1.0, 0.99, 0.98, 0.97, 0.96, 0.95, 0.94],
}
SHAPES = [(40, 90), (90, 40), (64, 64), (4, 30)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", SPECTRA)
def test_both_ways_agree_with_the_whole_decomposition(kind: str, shape: tuple[int, int]) -> None:
    layer = Linear(shape[1], shape[0])
    layer.weight.data = with_values(SPECTRA[kind], *shape)
    expected = np.linalg.svd(layer.weight.detach().double().numpy(), compute_uv=False)[:3]
    np.testing.assert_allclose(exact(nn.Sequential(layer))["0"], expected, rtol=1e-5)
    np.testing.assert_allclose(live(nn.Sequential(layer))["0"], expected, rtol=0.01)


@pytest.mark.parametrize("shape", [(96, 600), (200, 200)], ids=str)
def test_both_ways_agree_on_gaussian_matrices(shape: tuple[int, int]) -> None:
    """As layers are at the beginning: their largest values are close to one another."""
    layer = Linear(shape[1], shape[0])
    nn.init.normal_(layer.weight)
    expected = np.linalg.svd(layer.weight.detach().numpy(), compute_uv=False)[:3]
    np.testing.assert_allclose(exact(nn.Sequential(layer))["0"], expected, rtol=1e-5)
    np.testing.assert_allclose(live(nn.Sequential(layer))["0"], expected, rtol=0.01)


KINDS = {
    "linear": lambda: Linear(20, 12),
    "convolution": lambda: Conv2d(6, 9, 3),
    "depthwise": lambda: Conv2d(9, 9, 3, groups=9),
    "embedding": lambda: Embedding(10, 8),
    "transposed": lambda: nn.ConvTranspose2d(7, 5, 4, 2, 1),
    "modulated": lambda: ModulatedConv2d(6, 9, 3, 4, up=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer_has_a_row_an_output(kind: str) -> None:
    """Against what einsum makes of the weight's axes."""
    layer = KINDS[kind]()
    weight = layer.weight.detach()
    axes = "iohw->oihw" if kind == "transposed" else "o...->o..."
    rows = torch.einsum(axes, weight).reshape(layer.bias.numel() if kind == "transposed" else len(weight), -1)
    assert torch.equal(matrix(layer), rows)
    assert torch.equal(in_shape_of_weight(layer, rows), weight)
    expected = np.linalg.svd(rows.numpy(), compute_uv=False)[:3]
    np.testing.assert_allclose(exact(nn.ModuleDict({"x": layer}))["x"], expected, rtol=1e-5)
    np.testing.assert_allclose(live(nn.ModuleDict({"x": layer}))["x"], expected, rtol=0.01)


def test_layers_with_few_values_have_as_many() -> None:
    network = nn.ModuleDict({"row": Linear(7, 1), "two": Linear(2, 9)})
    for found in (exact(network), live(network)):
        assert found["row"] == pytest.approx([network["row"].weight.norm().item()], rel=1e-5)
        assert found["two"] == pytest.approx(torch.linalg.svdvals(network["two"].weight).tolist(), rel=1e-4)


def test_zeros_and_what_is_not_finite_raise_nothing() -> None:
    assert top_singular_values(torch.zeros(6, 9)).tolist() == [0, 0, 0]
    assert live(nn.Sequential(nn.Linear(9, 6).requires_grad_(False).apply(lambda m: m.weight.zero_())))["0"] == [0] * 3
    assert np.isnan(top_singular_values(torch.full((6, 9), torch.inf))).all()


def test_arnoldi_iteration_is_the_same_twice() -> None:
    rows = torch.randn(30, 50)
    assert top_singular_values(rows).tolist() == top_singular_values(rows).tolist()


def test_every_weight_of_networks_is_there_and_frozen_ones_are_not() -> None:
    for network in (tiny_generator(), tiny_discriminator()):
        wanted = [name for name, p in network.named_parameters() if name.endswith("weight") and p.ndim > 1]
        assert [f"{name}.weight" for name in matrices(network)] == wanted
        assert len(live(network)) == len(wanted) > 5
    assert list(layers(nn.ModuleDict({"frozen": Frozen(Linear(3, 3)), "open": Linear(3, 3)}))) == ["open"]


def test_matrices_are_those_before_normalisation() -> None:
    layer = SNLinear(2, 2)
    layer.weight.data = torch.tensor([[0.0, 3.0], [12.0, 0.0]])
    advance(layer, 50)
    network = nn.Sequential(layer)
    assert live(network)["0"] == pytest.approx([12, 3])
    torch.testing.assert_close(matrix(layer, in_use=True), layer.weight / 12)
    torch.testing.assert_close(of_weights_in_use(network)["0"], torch.tensor([1.0, 0.25]))


def test_all_values_of_weights_in_use_leave_out_vectors_and_tables() -> None:
    network = nn.ModuleDict({"conv": Conv2d(3, 5, 3), "one": Linear(7, 1), "table": Embedding(4, 6)})
    found = of_weights_in_use(network)
    assert list(found) == ["conv"]
    expected = np.linalg.svd(network["conv"].weight.detach().numpy().reshape(5, 27), compute_uv=False)
    np.testing.assert_allclose(found["conv"].numpy(), expected, rtol=1e-5)


def test_all_values_of_a_weight_that_is_not_finite_are_no_numbers() -> None:
    layer = Linear(3, 2)
    layer.weight.data[0, 0] = torch.inf
    assert of_weights_in_use(nn.Sequential(layer))["0"].isnan().tolist() == [True, True]


def test_block_iteration_follows_a_weight_from_update_to_update() -> None:
    """Of which each moves it by about 1 %; values change places on the way."""
    a, b = with_values([3.0, 2.0, 1.0], 40, 60), torch.randn(40, 60) / 10
    subspaces = Subspaces({"x": a})
    subspaces.advance({"x": a}, 16)
    for t in torch.linspace(0, 1, 200):
        now = (1 - t) * a + 6 * t * b
        (found,) = subspaces.update({"x": now})
        torch.testing.assert_close(found, torch.linalg.svdvals(now)[:3], rtol=0.01, atol=0)


def test_block_iteration_goes_on_where_it_was_saved() -> None:
    rows = {"x": torch.randn(20, 30)}
    first, second = Subspaces(rows), Subspaces(rows)
    first.advance(rows, 3)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert torch.equal(first.update(rows), second.update(rows))


def test_leading_pair_reproduces_its_value() -> None:
    for shape in ((12, 30), (30, 12), (1, 9), (9, 1)):
        rows = {"x": with_values([5.0, 2.0, 1.0], *shape)}
        subspaces = Subspaces(rows, 4)
        subspaces.advance(rows, 30)
        u, v, values = subspaces.leading("x", rows["x"])
        torch.testing.assert_close(values, torch.linalg.svdvals(rows["x"])[:2], rtol=1e-4, atol=0)
        torch.testing.assert_close(rows["x"] @ v, values[0] * u, rtol=1e-4, atol=1e-4)


def test_block_iteration_runs_without_numbers_and_under_autocast() -> None:
    with FakeTensorMode():
        rows = {"x": torch.randn(20, 30)}
        assert Subspaces(rows).update(rows).shape == (1, 3)
    rows = {"x": torch.randn(20, 30)}
    with torch.autocast("cpu", torch.bfloat16):
        cast = Subspaces(rows).update(rows)
    assert torch.equal(cast, Subspaces(rows).update(rows))


def test_a_layer_that_is_not_finite_leaves_the_others_their_values() -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 5))
    whole = live(network)
    with torch.no_grad():
        network[0].weight[0, 0] = math.nan
    assert live(network) == {"0": [], "1": whole["1"]}
