"""Losses against numbers worked by hand."""

import math

import pytest
import torch

from orthogan.game.losses import LOSSES

each_loss = pytest.mark.parametrize("name", LOSSES)
LOGITS = torch.tensor([-100.0, -2.0, 0.5, 3.0, 100.0])


def test_hinge_of_d_by_hand():
    terms = LOSSES["hinge"].discriminator(torch.tensor([0.5, 2.0, -3.0]), torch.tensor([-0.25, -4.0, 1.0]))
    assert terms.tolist() == [0.5 + 0.75, 0 + 0, 4 + 2]


def test_hinge_of_g_by_hand():
    assert LOSSES["hinge"].generator(torch.tensor([0.5, -7.0])).tolist() == [-0.5, 7.0]


def test_non_saturating_of_d_by_hand():
    real, fake = torch.tensor([0.0, math.log(3)]), torch.tensor([0.0, -math.log(4)])
    # sigmoid(log 3) = 3/4; 1 - sigmoid(-log 4) = 4/5
    expected = [2 * math.log(2), math.log(4 / 3) + math.log(5 / 4)]
    assert LOSSES["non-saturating"].discriminator(real, fake).tolist() == pytest.approx(expected)


def test_non_saturating_of_g_by_hand():
    terms = LOSSES["non-saturating"].generator(torch.tensor([0.0, math.log(3)]))
    assert terms.tolist() == pytest.approx([math.log(2), math.log(4 / 3)])


def test_non_saturating_at_extreme_logits_is_the_logit_itself():
    loss = LOSSES["non-saturating"]
    assert loss.generator(torch.tensor([-100.0, 100.0])).tolist() == pytest.approx([100, 0])
    assert loss.discriminator(torch.tensor([-100.0]), torch.tensor([100.0])).tolist() == pytest.approx([200])


@each_loss
def test_one_finite_term_an_image_up_to_100(name):
    loss = LOSSES[name]
    for terms in (loss.discriminator(LOGITS, LOGITS.flip(0)), loss.generator(LOGITS)):
        assert terms.shape == LOGITS.shape
        assert terms.isfinite().all()


@each_loss
def test_gradients_are_finite_and_push_the_right_way(name):
    real, fake = LOGITS.clone().requires_grad_(), LOGITS.clone().requires_grad_()
    LOSSES[name].discriminator(real, fake).sum().backward()
    assert real.grad.isfinite().all()
    assert fake.grad.isfinite().all()
    assert (real.grad <= 0).all()
    assert real.grad[1] < 0
    assert (fake.grad >= 0).all()
    assert fake.grad[3] > 0
    (g_grad,) = torch.autograd.grad(LOSSES[name].generator(fake).sum(), fake)
    assert (g_grad <= 0).all()
    assert g_grad[1] < 0


@each_loss
def test_gradients_agree_with_finite_differences(name):
    source = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(5, generator=source, dtype=torch.float64).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(LOSSES[name].discriminator, (real, fake))
    assert torch.autograd.gradcheck(LOSSES[name].generator, (fake,))


def test_hinge_gives_satisfied_images_no_gradient():
    real, fake = torch.tensor([1.5, 0.5], requires_grad=True), torch.tensor([-1.5, -0.5], requires_grad=True)
    LOSSES["hinge"].discriminator(real, fake).sum().backward()
    assert real.grad.tolist() == [0, -1]
    assert fake.grad.tolist() == [0, 1]
