"""R1 against derivatives known by hand, finite differences, and every discriminator of the table."""

from collections.abc import Callable

import pytest
import torch
from moments import moment_of
from torch import Tensor, nn

from orthogan.errors import UserError
from orthogan.game.moment import Moment
from orthogan.game.regularizers import RegularizerConfig, of_players
from orthogan.game.regularizers.r1 import R1, R1Settings
from orthogan.networks import DISCRIMINATORS, build_discriminator


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def moment(judge: Callable[..., Tensor], real: Tensor, y: Tensor | None = None, **more: Callable) -> Moment:
    return moment_of(discriminator=judge, real=real, real_labels=y, **more)


def r1(gamma: float, interval: int = 1) -> R1:
    return R1(R1Settings(strength=gamma, interval=interval))


def test_penalty_of_a_quadratic_by_hand() -> None:
    """D(x) = 3 |x|^2 / 2 has the gradient 3 x: gamma / 2 * 9 |x|^2, for each image by itself."""
    real = torch.tensor([[1.0, 2.0], [0.0, -1.0]])[:, :, None, None]
    terms = r1(4.0).on_loss(moment(lambda x, y: 1.5 * x.square().sum((1, 2, 3)), real))
    torch.testing.assert_close(terms, torch.tensor([2 * 9 * 5.0, 2 * 9 * 1.0]))


def test_penalty_is_multiplied_by_its_interval_and_comes_once_in_it() -> None:
    real = torch.randn(2, 3, 2, 2)
    seen = moment(lambda x, y: x.sum((1, 2, 3)), real)
    lazy = r1(1.0, interval=16)
    torch.testing.assert_close(lazy.on_loss(seen), 16 * r1(1.0).on_loss(seen))
    assert lazy.interval == 16


def test_of_several_logits_an_image_the_sum_is_differentiated() -> None:
    """(x_1, x_2, 2 x_1) has the sum 3 x_1 + x_2, of the squared slope 10."""
    judge = lambda x, y: torch.stack([x[:, 0, 0, 0], x[:, 1, 0, 0], 2 * x[:, 0, 0, 0]], 1)  # noqa: E731
    torch.testing.assert_close(r1(2.0).on_loss(moment(judge, torch.randn(1, 2, 1, 1))), torch.tensor([10.0]))


def test_derivative_is_by_the_image_before_augmentation() -> None:
    """Tripled images: the slope by x is three times that by what D sees."""
    seen = moment(lambda x, y: x.sum((1, 2, 3)), torch.randn(1, 1, 2, 2), augment=lambda x: 3 * x)
    torch.testing.assert_close(r1(2.0).on_loss(seen), torch.tensor([9 * 4.0]))


def test_derivative_of_the_penalty_by_finite_differences() -> None:
    real = torch.randn(2, 3, 2, 2).double()

    def penalty(weight: Tensor) -> Tensor:
        return r1(10.0).on_loss(moment(lambda x, y: (x.flatten(1) @ weight).tanh().sum(1), real))

    assert torch.autograd.gradcheck(penalty, torch.randn(12, 4).double().requires_grad_())


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_every_discriminator_can_have_it(name: str) -> None:
    """Against slopes along the gradient, and with a gradient that reaches the weights."""
    d = build_discriminator(DISCRIMINATORS[name].tiny, 16, 3)
    x, y = torch.randn(4, 3, 16, 16), torch.tensor([0, 1, 2, 0])
    terms = r1(2.0).on_loss(moment(d, x, y))
    assert terms.shape == (4,)
    assert not x.requires_grad
    terms.sum().backward()
    assert any(p.grad is not None and p.grad.any() for p in d.parameters())
    (slope,) = torch.autograd.grad(d(x.requires_grad_(), y).sum(), x)
    length, step = slope.norm(), 1e-2
    with torch.no_grad():
        ahead, behind = (d(x + side * step * slope / length, y).sum() for side in (1, -1))
    assert terms.sum().item() == pytest.approx(((ahead - behind) / (2 * step)).item() ** 2, rel=0.03)


def test_settings_reach_the_rule() -> None:
    config = RegularizerConfig(d_r1=R1Settings(strength=0.5, interval=8))
    _, rules = of_players(config)
    rule = rules["d_r1"]
    assert isinstance(rule, R1)
    assert (rule.settings.strength, rule.interval) == (0.5, 8)
    assert of_players(RegularizerConfig()) == ({}, {})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (R1Settings(strength=1.0, interval=0), "regularizers.d_r1.interval=0: must be positive"),
        (R1Settings(interval=8), "regularizers.d_r1.interval=8: has no effect while regularizers.d_r1.strength is 0"),
        (R1Settings(strength=-1.0), "regularizers.d_r1.strength=-1.0: must not be negative"),
    ],
)
def test_bad_settings_are_refused(settings: R1Settings, told: str) -> None:
    with pytest.raises(UserError, match=told):
        RegularizerConfig(d_r1=settings)


def test_a_network_of_one_layer_by_hand() -> None:
    """D(x) = w x: gamma / 2 * |w|^2, whose derivative is gamma w."""
    layer = nn.Linear(12, 1)
    r1(3.0).on_loss(moment(lambda x, y: layer(x.flatten(1))[:, 0], torch.randn(5, 3, 2, 2))).mean().backward()
    torch.testing.assert_close(layer.weight.grad, 3 * layer.weight.detach())
