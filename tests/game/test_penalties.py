"""The regularisers that a stabiliser of D brings along."""

from collections.abc import Callable

import pytest
import torch
from moments import moment_of
from torch import Tensor, nn

from orthogan.game.moment import Moment
from orthogan.game.regularizers import RegularizerConfig, of_players
from orthogan.game.regularizers.clipping import ClippingSettings, WeightClipping
from orthogan.game.regularizers.consistency import Consistency, ConsistencySettings, mirror_and_shift
from orthogan.game.regularizers.gradient_penalty import GradientPenalty, GradientPenaltySettings
from orthogan.game.regularizers.ortho import OrthoSettings
from orthogan.game.regularizers.orthonormal import Orthonormal, OrthonormalSettings


def moment(judge: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, uniform: Tensor) -> Moment:
    """An update of D without labels; rules of D have no use for G."""
    return moment_of(discriminator=lambda x, y: judge(x), real=real, fake=fake, uniform=uniform)


def test_gradient_penalty_by_hand() -> None:
    """D(x) = 3 x_1 + 4 x_2: its gradient has norm 5 everywhere, and the penalty is 10 (5 - 1)^2."""
    slope = torch.zeros(1, 3, 2, 2)
    slope[0, 0, 0, 0], slope[0, 1, 1, 1] = 3.0, 4.0

    def judge(x: Tensor) -> Tensor:
        return (x * slope).sum((1, 2, 3))

    x, fake = torch.randn(2, 3, 2, 2), torch.randn(2, 3, 2, 2)
    seen = moment(judge, x, fake, torch.tensor([0.2, 0.9]))
    terms = GradientPenalty(GradientPenaltySettings(strength=10.0)).on_loss(seen)
    torch.testing.assert_close(terms, torch.tensor([160.0, 160.0]))


def test_gradient_penalty_is_taken_between_the_images() -> None:
    """D(x) = |x|^2 / 2 has the gradient x: at a quarter of the way from fake 0 to real (8, 0, ...) its norm is 2."""
    real, fake = torch.zeros(1, 3, 1, 1), torch.zeros(1, 3, 1, 1)
    real[0, 0] = 8.0
    seen = moment(lambda x: x.square().sum((1, 2, 3)) / 2, real, fake, torch.tensor([0.25]))
    terms = GradientPenalty(GradientPenaltySettings(strength=1.0)).on_loss(seen)
    assert terms.item() == pytest.approx((2 - 1) ** 2)


def test_gradient_penalty_s_derivative_by_finite_differences() -> None:
    torch.manual_seed(0)
    real, fake, mix = torch.randn(2, 3, 2, 2).double(), torch.randn(2, 3, 2, 2).double(), torch.rand(2).double()

    def penalty(weight: Tensor) -> Tensor:
        def judge(x: Tensor) -> Tensor:
            return (x.flatten(1) @ weight).tanh().sum(1)

        return GradientPenalty(GradientPenaltySettings(strength=10.0)).on_loss(moment(judge, real, fake, mix))

    assert torch.autograd.gradcheck(penalty, torch.randn(12, 4).double().requires_grad_())


def choice(mirrored: int, down: int, right: int) -> float:
    """The uniform number that stands for a transform, from the middle of its interval."""
    return (mirrored * 81 + (down + 4) * 9 + right + 4 + 0.5) / 162


def test_mirror_and_shift_by_hand() -> None:
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).expand(4, 1, 2, 3)
    mix = torch.tensor([choice(0, 0, 0), choice(0, 1, 0), choice(0, 0, -1), choice(1, 0, 1)])
    assert mirror_and_shift(x, mix)[:, 0].tolist() == [
        [[1, 2, 3], [4, 5, 6]],
        [[4, 5, 6], [4, 5, 6]],
        [[1, 1, 2], [4, 4, 5]],
        [[2, 1, 1], [5, 4, 4]],
    ]


def test_every_mirror_and_shift_is_as_likely() -> None:
    """Of the places of one bright pixel in the middle of 9 x 9: each of the 81 is reached, mirrored or not."""
    x = torch.zeros(162, 1, 9, 9)
    x[:, 0, 4, 4] = 1
    moved = mirror_and_shift(x, (torch.arange(162) + 0.5) / 162)
    torch.testing.assert_close(moved.sum(0)[0], torch.full((9, 9), 2.0))


def test_consistency_by_hand() -> None:
    """D is the first pixel: 1 before and 2 after a shift to the left, so 10 (1 - 2)^2; 0 where nothing moves."""
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).expand(2, 1, 2, 3)
    mix = torch.tensor([choice(0, 0, 1), choice(0, 0, 0)])
    terms = Consistency(ConsistencySettings(strength=10.0)).on_loss(moment(lambda image: image[:, 0, 0, 0], x, -x, mix))
    torch.testing.assert_close(terms, torch.tensor([10.0, 0.0]))


def test_clipping_bounds_every_parameter_and_leaves_the_rest() -> None:
    layer = nn.Linear(2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.005]]))
        layer.bias.fill_(-3.0)
    WeightClipping(ClippingSettings(strength=0.01)).on_weights(layer, list(layer.parameters()))
    torch.testing.assert_close(layer.weight, torch.tensor([[0.01, -0.005]]))
    torch.testing.assert_close(layer.bias, torch.tensor([-0.01]))


def orthonormal_penalty(weight: Tensor, beta: float) -> Tensor:
    """As it is defined, over columns."""
    rows = weight.flatten(1)
    return beta * (rows.T @ rows - torch.eye(rows.shape[1])).square().sum()


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 3, 2, 2)])
def test_orthonormal_s_derivative_is_autograd_s(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    rule = Orthonormal(OrthonormalSettings(strength=0.3))
    weight = torch.randn(shape).requires_grad_()
    (expected,) = torch.autograd.grad(orthonormal_penalty(weight, 0.3), weight)
    torch.testing.assert_close(rule.derivative(weight.detach().flatten(1)).view(shape), expected, rtol=1e-4, atol=1e-4)


def test_orthonormal_is_zero_at_orthonormal_columns() -> None:
    weight = torch.linalg.qr(torch.randn(6, 3)).Q
    assert orthonormal_penalty(weight, 1.0).item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(
        Orthonormal(OrthonormalSettings(strength=1.0)).derivative(weight), torch.zeros(6, 3), atol=1e-5, rtol=0
    )


def test_strengths_come_from_the_settings() -> None:
    config = RegularizerConfig(
        d_clip=ClippingSettings(strength=0.5),
        d_penalty=GradientPenaltySettings(strength=3.0),
        d_orthonormal=OrthonormalSettings(strength=0.25),
        d_ortho=OrthoSettings(strength=0.125),
        d_consistency=ConsistencySettings(strength=7.0),
    )
    always = {"d_ortho": 0.125, "d_consistency": 7.0}
    for stabilizer, expected in {
        "weight-clipping": {"d_clip": 0.5},
        "gradient-penalty": {"d_penalty": 3.0},
        "wgan-gp": {"d_penalty": 3.0},
        "orthonormal": {"d_orthonormal": 0.25},
        "none": {},
    }.items():
        g_rules, d_rules = of_players(config, stabilizer)
        assert not g_rules
        assert {name: rule.settings.strength for name, rule in d_rules.items()} == expected | always
