"""Losses against numbers worked by hand."""

import math

import pytest
import torch

from orthogan.game.losses import LOSSES

each_loss = pytest.mark.parametrize("name", LOSSES)
LOGITS = torch.tensor([-100.0, -2.0, 0.5, 3.0, 100.0])
LOG = math.log
REAL, FAKE = torch.tensor([0.0, LOG(3), -2.0]), torch.tensor([0.0, -LOG(4), LOG(2) - 2])

# sigmoid(log 3) = 3/4, 1 - sigmoid(-log 4) = 4/5, sigmoid(log 2) = 2/3, sigmoid(log 12) = 12/13. The third pair tells
# the relativistic loss, which sees only its difference log 2, from the others.
E2 = math.exp(2)
BY_HAND_D = {
    "hinge": [2, max(0, 1 - LOG(3)) + max(0, 1 - LOG(4)), 3 + max(0, LOG(2) - 1)],
    "non-saturating": [2 * LOG(2), LOG(4 / 3) + LOG(5 / 4), LOG(1 + E2) + LOG(1 + 2 / E2)],
    "minimax": [2 * LOG(2), LOG(4 / 3) + LOG(5 / 4), LOG(1 + E2) + LOG(1 + 2 / E2)],
    "wasserstein": [0, -LOG(12), LOG(2)],
    "least-squares": [0.5, (LOG(3) - 1) ** 2 / 2 + LOG(4) ** 2 / 2, 4.5 + (2 - LOG(2)) ** 2 / 2],
    "relativistic": [LOG(2), LOG(13 / 12), LOG(3)],
}
BY_HAND_G = {
    "hinge": [0, LOG(4), 2 - LOG(2)],
    "non-saturating": [LOG(2), LOG(5), LOG(1 + E2 / 2)],
    "minimax": [-LOG(2), -LOG(5 / 4), -LOG(1 + 2 / E2)],
    "wasserstein": [0, LOG(4), 2 - LOG(2)],
    "least-squares": [0.5, (1 + LOG(4)) ** 2 / 2, (3 - LOG(2)) ** 2 / 2],
    "relativistic": [LOG(2), LOG(13), LOG(3 / 2)],
}


def generator_terms(name, real, fake):
    return LOSSES[name].generator(real if LOSSES[name].paired else None, fake)


@each_loss
def test_d_by_hand(name):
    assert LOSSES[name].discriminator(REAL, FAKE).tolist() == pytest.approx(BY_HAND_D[name], rel=1e-5, abs=1e-6)


@each_loss
def test_g_by_hand(name):
    assert generator_terms(name, REAL, FAKE).tolist() == pytest.approx(BY_HAND_G[name], rel=1e-5, abs=1e-6)


# At (real, fake) = (-100, 100), where D is as wrong as can be, and G's at 100 and at -100 against the opposite real.
EXTREMES = {
    "hinge": (202, [-100, 100]),
    "non-saturating": (200, [0, 100]),
    "minimax": (200, [-100, 0]),
    "wasserstein": (200, [-100, 100]),
    "least-squares": ((101**2 + 100**2) / 2, [99**2 / 2, 101**2 / 2]),
    "relativistic": (200, [0, 200]),
}


@each_loss
def test_extreme_logits_by_hand(name):
    low, high = torch.tensor([-100.0]), torch.tensor([100.0])
    d, g = EXTREMES[name]
    assert LOSSES[name].discriminator(low, high).tolist() == pytest.approx([d])
    assert generator_terms(name, torch.cat([low, high]), torch.cat([high, low])).tolist() == pytest.approx(g)


@each_loss
def test_one_finite_term_an_image_up_to_100(name):
    for terms in (LOSSES[name].discriminator(LOGITS, LOGITS.flip(0)), generator_terms(name, LOGITS.flip(0), LOGITS)):
        assert terms.shape == LOGITS.shape
        assert terms.isfinite().all()


@each_loss
@pytest.mark.parametrize("flipped", [False, True])
def test_gradients_are_finite_up_to_100(name, flipped):
    real = LOGITS.clone().requires_grad_()
    fake = (LOGITS.flip(0) if flipped else LOGITS.clone()).requires_grad_()
    for terms in (LOSSES[name].discriminator(real, fake), generator_terms(name, real, fake)):
        real.grad = fake.grad = None
        terms.sum().backward()
        assert real.grad is None or real.grad.isfinite().all()
        assert fake.grad.isfinite().all()


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "least-squares"])
def test_gradients_push_the_right_way(name):
    real, fake = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    LOSSES[name].discriminator(real, fake).sum().backward()
    assert (real.grad <= 0).all()
    assert real.grad[1] < 0
    assert (fake.grad >= 0).all()
    assert fake.grad[3] > 0
    (g_grad,) = torch.autograd.grad(generator_terms(name, real, fake).sum(), fake)
    assert (g_grad <= 0).all()
    assert g_grad[1] < 0


def test_least_squares_pulls_to_its_labels_from_both_sides():
    real, fake = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    LOSSES["least-squares"].discriminator(real, fake).sum().backward()
    assert real.grad.tolist() == [-101, -3, -0.5, 2, 99]
    assert fake.grad.tolist() == LOGITS.tolist()
    (g_grad,) = torch.autograd.grad(LOSSES["least-squares"].generator(None, fake).sum(), fake)
    assert g_grad.tolist() == [-101, -3, -0.5, 2, 99]


@each_loss
def test_gradients_agree_with_finite_differences(name):
    source = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(5, generator=source, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(LOSSES[name].discriminator, (real, fake))
    assert torch.autograd.gradcheck(lambda real, fake: generator_terms(name, real, fake), (real, fake))


def test_hinge_gives_satisfied_images_no_gradient():
    real, fake = torch.tensor([1.5, 0.5], requires_grad=True), torch.tensor([-1.5, -0.5], requires_grad=True)
    LOSSES["hinge"].discriminator(real, fake).sum().backward()
    assert real.grad.tolist() == [0, -1]
    assert fake.grad.tolist() == [0, 1]


def test_minimax_saturates_where_non_saturating_does_not():
    slopes = {}
    for name in ("minimax", "non-saturating"):
        fake = torch.tensor([-LOG(99)], requires_grad=True)  # D gives it a probability of 1 %
        LOSSES[name].generator(None, fake).sum().backward()
        slopes[name] = fake.grad.item()
    assert slopes == {"minimax": pytest.approx(-0.01), "non-saturating": pytest.approx(-0.99)}


def test_the_game_of_minimax_and_wasserstein_is_zero_sum():
    for name in ("minimax", "wasserstein"):
        real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
        (of_d,) = torch.autograd.grad(LOSSES[name].discriminator(real, fake).sum(), fake)
        (of_g,) = torch.autograd.grad(LOSSES[name].generator(None, fake).sum(), fake)
        torch.testing.assert_close(of_d, -of_g)


def test_only_the_relativistic_loss_is_paired_and_only_the_difference_counts():
    assert [name for name in LOSSES if LOSSES[name].paired] == ["relativistic"]
    loss = LOSSES["relativistic"]
    torch.testing.assert_close(loss.discriminator(REAL + 7, FAKE + 7), loss.discriminator(REAL, FAKE))
    torch.testing.assert_close(loss.generator(REAL + 7, FAKE + 7), loss.generator(REAL, FAKE))
    torch.testing.assert_close(loss.generator(REAL, FAKE), loss.discriminator(FAKE, REAL))  # roles exchanged
    with pytest.raises(AssertionError, match="real"):
        loss.generator(None, FAKE)
