"""Spectral norm against the SVD, equation 12 of SN-GAN, and finite differences."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from orthogan.nn.initializers import initialize
from orthogan.nn.layers import bake, unbake
from orthogan.nn.spectral import SNConv2d, SNEmbedding, SNLinear, advance, normalized_layers

LAYERS = {
    "linear": lambda: SNLinear(5, 7),
    "conv1": lambda: SNConv2d(6, 4, 1),
    "conv3": lambda: SNConv2d(4, 6, 3),
    "conv4-valid": lambda: SNConv2d(4, 5, 4, padding=0),
    "depthwise": lambda: SNConv2d(4, 4, 3, groups=4),
    "conv3-up": lambda: SNConv2d(4, 3, 3, resample="up"),
    "conv3-down": lambda: SNConv2d(3, 5, 3, resample="down"),
    "embedding": lambda: SNEmbedding(9, 4),
}
INPUTS = {
    "linear": lambda: torch.randn(3, 5),
    "conv1": lambda: torch.randn(2, 6, 4, 4),
    "conv3": lambda: torch.randn(2, 4, 4, 4),
    "conv4-valid": lambda: torch.randn(2, 4, 5, 5),
    "depthwise": lambda: torch.randn(2, 4, 4, 4),
    "conv3-up": lambda: torch.randn(2, 4, 4, 4),
    "conv3-down": lambda: torch.randn(2, 3, 4, 4),
    "embedding": lambda: torch.tensor([0, 8, 3, 3]),
}
each_layer = pytest.mark.parametrize("kind", LAYERS)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def largest_singular_value(layer: nn.Module) -> torch.Tensor:
    return torch.linalg.svdvals(layer.weight.detach().reshape(layer.weight.shape[0], -1))[0]


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(network.state_dict())


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@each_layer
def test_sigma_becomes_that_of_the_svd(kind):
    layer = LAYERS[kind]()
    nn.init.normal_(layer.weight)
    advance(layer, 300)
    assert layer.sigma().item() == pytest.approx(largest_singular_value(layer).item(), rel=1e-3)


@each_layer
def test_the_weight_in_use_has_norm_one(kind):
    layer = LAYERS[kind]()
    nn.init.normal_(layer.weight, std=3)
    advance(layer, 300)
    assert torch.linalg.matrix_norm(layer.weight_in_use().detach().flatten(1), 2).item() == pytest.approx(1, rel=1e-3)


def test_one_iteration_by_hand():
    layer = SNLinear(2, 2)
    layer.weight.data = torch.tensor([[3.0, 0.0], [4.0, 5.0]])
    layer.u.copy_(torch.tensor([1.0, 0.0]))
    advance(layer)
    # W^T u = (3, 0) -> v = (1, 0); W v = (3, 4) -> u = (0.6, 0.8); u^T W v = 5.
    torch.testing.assert_close(layer.v, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(layer.u, torch.tensor([0.6, 0.8]))
    assert layer.sigma().item() == pytest.approx(5)
    torch.testing.assert_close(layer.weight_in_use(), torch.tensor([[0.6, 0.0], [0.8, 1.0]]))


def test_vectors_converge_without_moving_on():
    layer = SNLinear(6, 6)
    advance(layer, 2000)
    before = state(layer)
    advance(layer)
    for name, tensor in state(layer).items():
        torch.testing.assert_close(tensor, before[name], atol=1e-5, rtol=0)


def test_several_iterations_are_as_many_single_ones():
    layer = SNConv2d(4, 6, 3)
    other = copy.deepcopy(layer)
    advance(layer, 3)
    for _ in range(3):
        advance(other)
    assert same(state(layer), state(other))


def test_vectors_of_the_embedding_are_over_classes_and_over_dimensions():
    layer = SNEmbedding(9, 4)
    assert (layer.u.shape, layer.v.shape) == ((9,), (4,))


def test_the_embedding_shares_one_sigma_over_all_rows():
    layer = SNEmbedding(3, 2)
    layer.weight.data = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
    advance(layer, 200)
    # The singular values are 4 and 3. Rows made to have norm one each would give 1 and 1.
    torch.testing.assert_close(layer(torch.tensor([0, 1, 2])), torch.tensor([[0.75, 0.0], [0.0, 1.0], [0.0, 0.0]]))


def test_sigma_of_a_resampling_convolution_is_that_of_its_plain_kernel():
    for resample in ("up", "down"):
        layer = SNConv2d(4, 4, 3, resample=resample)
        plain = SNConv2d(4, 4, 3)
        plain.load_state_dict(layer.state_dict())
        assert layer.v.shape == (4 * 3 * 3,)
        assert torch.equal(layer.sigma(), plain.sigma())


def test_gradient_is_equation_12_of_sngan():
    layer = SNLinear(5, 7)
    upstream = torch.randn(7, 5)
    (layer.weight_in_use() * upstream).sum().backward()
    u, v, w = layer.u, layer.v, layer.weight.detach()
    sigma = u @ w @ v
    # (G - <G, W / sigma> u v^T) / sigma
    by_hand = (upstream - (upstream * w / sigma).sum() * torch.outer(u, v)) / sigma
    torch.testing.assert_close(layer.weight.grad, by_hand, rtol=1e-4, atol=1e-6)


@each_layer
def test_gradient_agrees_with_finite_differences(kind):
    layer, x = LAYERS[kind](), INPUTS[kind]()
    advance(layer, 5)
    weight = layer.weight.detach().double().requires_grad_()
    x = x.double().requires_grad_() if x.is_floating_point() else x
    others = {"bias": layer.bias.detach().double()} if getattr(layer, "bias", None) is not None else {}

    def forward(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return functional_call(layer, {"weight": weight, **others}, (x,))

    # Sigma is worked out in float32: steps are large, and the tolerance is wide.
    assert torch.autograd.gradcheck(forward, (weight, x), eps=1e-2, atol=2e-3, rtol=1e-2, nondet_tol=0)


@pytest.mark.parametrize("training", [True, False])
@each_layer
def test_a_forward_moves_no_buffer(kind, training):
    layer, x = LAYERS[kind]().train(training), INPUTS[kind]()
    before = state(layer)
    layer(x)
    layer(x)
    assert same(state(layer), before)
    advance(layer)
    assert not same(state(layer), before)


@each_layer
def test_two_forwards_before_one_backward(kind):
    layer, x = LAYERS[kind](), INPUTS[kind]()
    first, second = layer(x), layer(x)
    (first.sum() + 2 * second.sum()).backward()
    thrice = layer.weight.grad.clone()
    layer.zero_grad()
    layer(x).sum().backward()
    torch.testing.assert_close(thrice, 3 * layer.weight.grad)


class WatchAutocast(TorchFunctionMode):
    """Notes under which autocast each product runs: which of them it would cast depends on the device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bool] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") in ("mv", "dot", "matmul", "mm", "linear", "__matmul__"):
            self.seen.append(torch.is_autocast_enabled("cpu"))
        return function(*args, **(kwargs or {}))


def test_products_of_the_iteration_run_outside_autocast():
    layer = SNLinear(3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16), WatchAutocast() as watch:
        advance(layer)
        layer.sigma()
    assert len(watch.seen) >= 4
    assert not any(watch.seen)


def test_iteration_runs_in_float32_inside_autocast():
    layer = SNLinear(33, 65)
    other = copy.deepcopy(layer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        advance(layer, 20)
        sigma = layer.sigma()
    advance(other, 20)
    assert sigma.dtype == layer.u.dtype == torch.float32
    assert same(state(layer), state(other))
    assert torch.equal(sigma, other.sigma())


@each_layer
def test_orthogonal_weights_have_sigma_one_after_one_iteration(kind):
    layer = LAYERS[kind]()
    initialize(layer, "orthogonal")
    advance(layer)
    assert layer.sigma().item() == pytest.approx(1, abs=1e-5)


def test_normalized_layers_are_named():
    network = nn.ModuleDict({"a": SNLinear(2, 2), "b": nn.Sequential(SNConv2d(2, 2, 1), nn.Linear(2, 2))})
    assert [name for name, _ in normalized_layers(network)] == ["a", "b.0"]


@each_layer
def test_baked_layers_give_the_same_outputs(kind):
    layer, x = LAYERS[kind](), INPUTS[kind]()
    expected = layer(x)
    bake(layer)
    assert torch.equal(layer(x), expected)
    layer.weight.data.mul_(2).add_(1)  # the kernels are kept
    assert torch.equal(layer(x), expected)
    unbake(layer)
    assert not torch.equal(layer(x), expected)


@each_layer
def test_baked_layers_give_the_same_outputs_in_bf16(kind):
    layer, x = LAYERS[kind](), INPUTS[kind]()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = layer(x)
        bake(layer)
        torch.testing.assert_close(layer(x).to(expected.dtype), expected, rtol=2e-2, atol=2e-2)


def test_baking_changes_nothing_that_is_saved():
    layer = SNConv2d(2, 2, 3, resample="up")
    before = state(layer)
    bake(layer)
    assert same(state(layer), before)
    unbake(layer)
    assert same(state(layer), before)


def test_a_layer_converted_to_float64_works_in_float64():
    layer, x = SNLinear(5, 7).double(), torch.randn(3, 5).double()
    advance(layer, 300)
    assert layer(x).dtype == torch.float64
    assert layer.sigma().item() == pytest.approx(largest_singular_value(layer).item(), rel=1e-9)
