"""The clamp against surgery by a whole decomposition, and its penalty against numbers worked by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from orthogan.errors import UserError
from orthogan.game.moment import Moment
from orthogan.game.regularizers import RegularizerConfig
from orthogan.game.regularizers.clamp import Clamp, ClampSettings

NO_MOMENT: Moment = None  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def with_values(values: list[float], outputs: int, rest: int) -> Tensor:
    """A matrix (outputs, rest) of these singular values and zeros."""
    q, p = (torch.linalg.qr(torch.randn(n, n)).Q for n in (outputs, rest))
    return q[:, : len(values)] * torch.tensor(values) @ p[:, : len(values)].T


def linear(values: list[float], outputs: int = 7, inputs: int = 11) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    layer.weight.data = with_values(values, outputs, inputs)
    return layer


def begun(network: nn.Module, **settings: object) -> Clamp:
    rule = Clamp(ClampSettings(**{"strength": 1.0, **settings}))  # type: ignore[arg-type]
    rule.begin(network, list(network.parameters()))
    return rule


def surgery(weight: Tensor, bound: Callable[[Tensor], float], strength: float = 1.0) -> Tensor:
    """The largest singular value of (outputs, rest) lowered to its bound by a whole decomposition."""
    u, s, vh = torch.linalg.svd(weight, full_matrices=False)
    s[0] -= strength * max(0.0, s[0].item() - bound(s))
    return u * s @ vh


@pytest.mark.parametrize(
    ("to", "factor", "bound"),
    [("sigma", 3.0, lambda s: 3.0), ("ratio", 1.5, lambda s: 1.5 * s[1].item()), ("sigma", 9.0, lambda s: 9.0)],
    ids=["sigma", "ratio", "nothing to cut"],
)
@pytest.mark.parametrize("strength", [1.0, 0.25])
@pytest.mark.parametrize("kind", ["tall", "wide", "convolution", "transposed"])
def test_clamp_is_the_surgery_of_a_whole_decomposition(
    kind: str, to: str, factor: float, bound: Callable[[Tensor], float], strength: float
) -> None:
    layer: nn.Module = {
        "tall": lambda: linear([5.0, 2.0, 1.0], 11, 7),
        "wide": lambda: linear([5.0, 2.0, 1.0]),
        "convolution": lambda: nn.Conv2d(3, 8, 3),
        "transposed": lambda: nn.ConvTranspose2d(6, 5, 4),
    }[kind]()
    rows = with_values([5.0, 2.0, 1.0], 8, 27) if kind == "convolution" else None
    rows = with_values([5.0, 2.0, 1.0], 5, 96) if kind == "transposed" else rows
    if kind == "convolution":
        layer.weight.data = rows.view(8, 3, 3, 3).clone()
    if kind == "transposed":
        layer.weight.data = rows.view(5, 6, 4, 4).transpose(0, 1).clone()
    network = nn.Sequential(layer)
    rows = layer.weight.detach().clone() if rows is None else rows
    begun(network, to=to, bound=factor, strength=strength).on_weights(network, [])
    after = layer.weight.detach().transpose(0, 1) if kind == "transposed" else layer.weight.detach()
    torch.testing.assert_close(after.flatten(1), surgery(rows, bound, strength), rtol=0, atol=1e-4)


def test_clamp_holds_a_weight_that_grows() -> None:
    """By a tenth an update along one direction, which alone would give 12; the second value stays what it was."""
    network = nn.Sequential(linear([2.0, 1.0, 0.5]))
    direction = with_values([1.0], 7, 11)
    rule = begun(network, to="sigma", bound=2.5)
    for _ in range(100):
        network[0].weight.data += direction / 10
        rule.on_weights(network, [])
        assert torch.linalg.matrix_norm(network[0].weight, 2) < 2.55
    assert torch.linalg.matrix_norm(network[0].weight, 2) > 2.4


def test_penalty_and_its_derivative_by_hand() -> None:
    """0.5 * (max(0, 5 - 3)^2 + max(0, 2 - 3)^2) = 2; its derivative 2 * 0.5 * (5 - 3) u v^T in the first layer."""
    network = nn.Sequential(linear([5.0, 2.0]), linear([2.0, 1.0]))
    rule = begun(network, form="penalty", strength=0.5, to="sigma", bound=3.0)
    penalty = rule.on_loss(NO_MOMENT)
    torch.testing.assert_close(penalty, torch.tensor(2.0))
    penalty.backward()
    u, _, vh = torch.linalg.svd(network[0].weight.detach())
    torch.testing.assert_close(network[0].weight.grad, 2 * torch.outer(u[:, 0], vh[0]), rtol=0, atol=1e-4)
    assert not network[1].weight.grad.any()
    before = network[0].weight.detach().clone()
    rule.on_weights(network, [])
    assert torch.equal(network[0].weight, before)


def test_no_gradient_goes_through_the_second_value() -> None:
    """(5 - 1.5 * 2)^2: were the bound to move, the derivative would have a part along the second pair."""
    network = nn.Sequential(linear([5.0, 2.0]))
    penalty = begun(network, form="penalty", bound=1.5).on_loss(NO_MOMENT)
    torch.testing.assert_close(penalty, torch.tensor(4.0))
    penalty.backward()
    values = torch.linalg.svdvals(network[0].weight.grad)
    torch.testing.assert_close(values[:2], torch.tensor([4.0, 0.0]), rtol=1e-4, atol=1e-3)


def test_words_choose_layers() -> None:
    network = nn.ModuleDict({"blocks": nn.Sequential(linear([5.0]), linear([5.0])), "head": linear([5.0])})
    begun(network, to="sigma", bound=1.0, layers="blocks.1, nothing,hea").on_weights(network, [])
    norms = [torch.linalg.matrix_norm(p.detach(), 2).item() for p in network.parameters()]
    assert norms == pytest.approx([5, 1, 1], abs=1e-3)


def test_layers_with_one_value_have_no_ratio() -> None:
    network = nn.ModuleDict({"a": linear([5.0, 1.0]), "one": linear([5.0], 1, 4)})
    begun(network).on_weights(network, [])
    assert torch.linalg.matrix_norm(network["one"].weight, 2).item() == pytest.approx(5)
    begun(network, to="sigma").on_weights(network, [])
    assert torch.linalg.matrix_norm(network["one"].weight, 2).item() == pytest.approx(1)


def test_a_word_that_no_layer_has_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(UserError, match=r"clamp.layers='conv'.*it has blocks, head"):
        begun(nn.ModuleDict({"blocks": linear([1.0]), "head": linear([1.0])}), layers="conv")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"bound": 2.0}, "d_clamp.bound=2.0: has no effect while"),
        ({"layers": "x"}, "d_clamp.layers='x': has no effect while"),
        ({"strength": 1.0, "bound": 0.5}, "d_clamp.bound=0.5: must be at least 1"),
        ({"strength": 1.0, "to": "sigma", "bound": 0.0}, "d_clamp.bound=0.0: must be positive"),
        ({"strength": 2.0}, "d_clamp.strength=2.0: is a share of the excess"),
        ({"strength": 1.0, "form": "loss"}, "d_clamp.form='loss': must be one of weights, penalty"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told):
        RegularizerConfig(d_clamp=ClampSettings(**settings))  # type: ignore[arg-type]
    assert RegularizerConfig(d_clamp=ClampSettings(strength=2.0, form="penalty")).d_clamp.strength == 2


def test_state_goes_on_where_it_was_saved() -> None:
    """After updates that have moved the weights, a second rule on the same weights cuts the same."""
    network = nn.Sequential(linear([2.0, 1.9, 1.0]))
    first = begun(network)
    network[0].weight.data += torch.randn(7, 11) / 5
    first.on_weights(network, [])
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    weight = network[0].weight.detach().clone()
    first.on_weights(network, [])
    ended = network[0].weight.detach().clone()
    network[0].weight.data = weight
    second = begun(nn.Sequential(linear([1.0, 0.5])))
    second.begin(network, [])
    second.load_state_dict(state)
    second.on_weights(network, [])
    assert torch.equal(network[0].weight, ended)
