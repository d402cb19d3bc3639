"""Orthogonal regularisation against autograd, finite differences and numbers worked by hand."""

import pytest
import torch
from tiny import tiny_networks, tiny_run
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from orthogan.game.regularizers import RegularizerConfig, of_players
from orthogan.game.regularizers.base import Regularizer
from orthogan.game.regularizers.ortho import OrthogonalRegularization, OrthoSettings, off_diagonal_gram
from orthogan.pair import build_pair


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def with_zero_grads(network: nn.Module) -> nn.Module:
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    return network


def on_grads(rule: Regularizer, network: nn.Module) -> None:
    rule.on_grads(network, list(network.parameters()))


def regularized(network: nn.Module, beta: float = 0.1) -> dict[str, torch.Tensor]:
    """What on_grads adds to gradients that are zero."""
    on_grads(OrthogonalRegularization(OrthoSettings(strength=beta)), with_zero_grads(network))
    return {name: p.grad for name, p in network.named_parameters()}


def paper_penalty(weight: torch.Tensor, beta: float) -> torch.Tensor:
    """Equation 3 as it is printed, over rows."""
    rows = weight.reshape(len(weight), -1)
    return beta * torch.linalg.matrix_norm((rows @ rows.T) * (1 - torch.eye(len(rows), dtype=rows.dtype))) ** 2


def test_gradient_by_hand():
    linear = nn.Linear(2, 2, bias=False)
    linear.weight.data = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    # W W^T is 1 off the diagonal: the penalty is 2 beta; its derivative 4 beta [[0, 1], [1, 0]] W.
    assert paper_penalty(linear.weight, 0.5).item() == pytest.approx(1)
    assert regularized(linear, 0.5)["weight"].tolist() == [[2, 2], [2, 0]]


@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (4, 3, 3, 3)])
def test_gradient_is_the_exact_derivative_of_the_penalty(shape):
    module = nn.Module()
    module.weight = nn.Parameter(torch.randn(shape))
    (derivative,) = torch.autograd.grad(paper_penalty(module.weight, 0.1), module.weight)
    torch.testing.assert_close(regularized(module)["weight"], derivative, rtol=1e-4, atol=1e-5)


def test_gradient_agrees_with_finite_differences():
    linear = nn.Linear(3, 2, bias=False)
    ours = regularized(linear)["weight"]
    w, step = linear.weight.detach().double(), 1e-5
    for i in range(2):
        for j in range(3):
            nudge = torch.zeros_like(w)
            nudge[i, j] = step
            slope = (paper_penalty(w + nudge, 0.1) - paper_penalty(w - nudge, 0.1)) / (2 * step)
            assert ours[i, j].item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-7)


def test_form_of_biggan_pytorch_is_half_the_derivative():
    """Trap 15: its code adds 2 beta (W W^T * (1 - I)) W."""
    linear = nn.Linear(6, 4, bias=False)
    rules, _ = of_players(RegularizerConfig(g_ortho=OrthoSettings(strength=1e-3, form="biggan-pytorch")))
    on_grads(rules["g_ortho"], with_zero_grads(linear))
    w = linear.weight.detach()
    theirs = 1e-3 * 2 * torch.mm(torch.mm(w, w.t()) * (1.0 - torch.eye(4)), w)
    torch.testing.assert_close(linear.weight.grad, theirs)
    torch.testing.assert_close(theirs, regularized(linear, 1e-3)["weight"] / 2)


def biggan_pytorch_s(network: nn.Module, strength: float, left_out: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """`utils.ortho` of BigGAN-PyTorch on the parameters of a network, from its source."""
    found = {}
    for name, p in network.named_parameters():
        grad = torch.zeros_like(p)
        if p.ndim >= 2 and name not in left_out:
            w = p.detach().view(len(p), -1)
            grad = strength * (2 * torch.mm(torch.mm(w, w.t()) * (1.0 - torch.eye(len(w))), w)).view(p.shape)
        found[name] = grad
    return found


@pytest.mark.parametrize("shared", [True, False])
def test_form_of_biggan_pytorch_leaves_out_nothing_but_g_s_shared_embedding(shared):
    run = tiny_run(**tiny_networks(skip_z=False, shared_embedding=shared, d_attention=4, g_attention=16))
    half = OrthoSettings(strength=0.1, form="biggan-pytorch")
    g_rules, d_rules = of_players(RegularizerConfig(g_ortho=half, d_ortho=half), run.discriminator.stabilizer)
    g, d = map(with_zero_grads, build_pair(run))
    for network, rules, left_out in (
        (g, g_rules, ("embedding.weight",)),  # --G_shared; its blacklist is G.shared
        (d, d_rules, ()),
    ):
        for rule in rules.values():
            on_grads(rule, network)
        for name, expected in biggan_pytorch_s(network, 0.1, left_out).items():
            torch.testing.assert_close(network.get_parameter(name).grad, expected, msg=lambda t, n=name: f"{n}: {t}")
    tables = [name for name, p in g.named_parameters() if p.ndim == 2 and len(p) == 3]
    assert len(tables) == (1 if shared else 8)
    assert all(g.get_parameter(name).grad.any() for name in tables) == (not shared)
    assert d.head.embedding.weight.grad.any()


def test_gradient_is_added_to_what_is_there():
    linear = nn.Linear(6, 4, bias=False)
    alone = regularized(linear)["weight"].clone()
    linear.weight.grad = torch.ones(4, 6)
    on_grads(OrthogonalRegularization(OrthoSettings(strength=0.1)), linear)
    torch.testing.assert_close(linear.weight.grad, alone + 1)


def test_orthogonal_rows_are_left_alone():
    linear = nn.Linear(6, 4, bias=False)
    nn.init.orthogonal_(linear.weight)
    linear.weight.data *= torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None]  # lengths are free in this form
    assert regularized(linear)["weight"].abs().max() < 1e-4


def test_what_is_regularised():
    network = nn.ModuleDict(
        {
            "linear": nn.Linear(3, 4),
            "conv": nn.Conv2d(2, 4, 3),
            "norm": nn.BatchNorm2d(4),
            "gamma": nn.ParameterDict({"scalar": nn.Parameter(torch.ones(()))}),
            "embedding": nn.Embedding(5, 3),
        }
    )
    touched = {name for name, grad in regularized(network).items() if grad.any()}
    assert touched == {"linear.weight", "conv.weight"}


def test_the_embedding_is_left_out_by_identity_and_not_by_value():
    network = nn.ModuleDict({"embedding": nn.Embedding(4, 3), "linear": nn.Linear(3, 4, bias=False)})
    network["linear"].weight.data = network["embedding"].weight.data.clone()
    grads = regularized(network)
    assert grads["linear.weight"].any()
    assert not grads["embedding.weight"].any()


def test_raw_weights_move_no_weight_and_leave_no_graph():
    linear = nn.Linear(3, 4)
    before = linear.weight.detach().clone()
    grads = regularized(linear)
    assert torch.equal(linear.weight, before)
    assert not grads["weight"].requires_grad


def test_off_diagonal_gram_by_hand():
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert off_diagonal_gram(rows).tolist() == [[0, 11], [11, 0]]


def test_strength_zero_asks_for_no_regulariser():
    assert of_players(RegularizerConfig()) == ({}, {})
    rules, _ = of_players(RegularizerConfig(g_ortho=OrthoSettings(strength=1e-4)))
    assert isinstance(rules["g_ortho"], OrthogonalRegularization)
    assert rules["g_ortho"].settings.strength == 1e-4


def test_the_base_regulariser_touches_nothing():
    linear = with_zero_grads(nn.Linear(2, 2))
    on_grads(Regularizer(), linear)
    assert not linear.weight.grad.any()


def test_a_tall_matrix_goes_through_its_small_gram():
    """G's first layer has 24,576 rows of 20: W W^T has 600 million elements, W^T W 400, and W (W^T W) is the same."""
    with FlopCounterMode(display=False) as tall:
        regularized(nn.Linear(4, 512, bias=False))
    with FlopCounterMode(display=False) as wide:
        regularized(nn.Linear(512, 4, bias=False))
    assert 0 < tall.get_total_flops() <= 2 * wide.get_total_flops()
