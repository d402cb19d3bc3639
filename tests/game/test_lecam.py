"""LeCam regularisation by numbers worked by hand."""

from types import SimpleNamespace

import pytest
import torch
from moments import moment_of
from torch import nn

from orthogan.errors import UserError
from orthogan.game.moment import Moment
from orthogan.game.regularizers import RegularizerConfig, processes
from orthogan.game.regularizers.lecam import LeCam, LeCamSettings


def moment(real: list[float], fake: list[float]) -> Moment:
    logits = [torch.tensor(values, requires_grad=True) for values in (real, fake)]
    return moment_of(logits=logits)


def lecam(strength: float = 1.0, **settings: float) -> LeCam:
    return LeCam(LeCamSettings(strength=strength, **settings))


def after(rule: LeCam, real: list[float], fake: list[float]) -> None:
    rule.on_loss(moment(real, fake))
    rule.on_weights(nn.Identity(), [])


def test_terms_and_their_derivative_by_hand() -> None:
    """Averages of 2 of real images and -1 of fakes: (D(x) + 1)^2 where D(x) > -1, (2 - D(G(z)))^2 where below 2."""
    rule = lecam(strength=0.5)
    after(rule, [2.0], [-1.0])
    seen = moment([3.0, -4.0], [0.0, 2.5])
    terms = rule.on_loss(seen)
    torch.testing.assert_close(terms, torch.tensor([0.5 * (16 + 4), 0.0]))
    terms.sum().backward()
    assert seen.logits is not None
    assert seen.logits[0].grad.tolist() == [4, 0]  # 0.5 * 2 * (3 + 1)
    assert seen.logits[1].grad.tolist() == [-2, 0]  # -0.5 * 2 * (2 - 0)


def test_averages_of_two_updates_by_hand() -> None:
    """Weights 0.9 * 0.1 and 0.1, over their sum of 0.19."""
    rule = lecam(decay=0.9)
    after(rule, [1.0, 3.0], [-5.0, -5.0])
    assert rule.state_dict()["means"].tolist() == [2, -5]
    after(rule, [4.0, 4.0], [1.0, -1.0])
    expected = torch.tensor([0.09 * 2 + 0.1 * 4, 0.09 * -5]) / 0.19
    torch.testing.assert_close(rule.state_dict()["means"], expected)
    assert not rule.state_dict()["means"].requires_grad


def test_averages_move_once_an_update_by_all_micro_batches() -> None:
    rule = lecam()
    for real in ([1.0, 2.0], [3.0, 6.0]):
        rule.on_loss(moment(real, [0.0, 0.0]))
        assert rule.state_dict()["means"].tolist() == [0, 0]
    rule.on_weights(nn.Identity(), [])
    assert rule.state_dict()["means"].tolist() == [3, 0]


def test_averages_are_those_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that found 10 more."""
    fake = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        get_world_size=lambda: 2,
        all_reduce=lambda mean: mean.mul_(2).add_(10),
    )
    monkeypatch.setattr(processes, "dist", fake)
    rule = lecam()
    after(rule, [1.0], [-1.0])
    assert rule.state_dict()["means"].tolist() == [6, 4]


def test_several_logits_an_image() -> None:
    """(N, K): a term a logit, the mean of which is taken."""
    logits = [torch.tensor([[1.0, 2.0]]), torch.tensor([[-1.0, 0.0]])]
    seen = moment_of(logits=logits)
    torch.testing.assert_close(lecam().on_loss(seen), torch.tensor([[2.0, 4.0]]))


def test_state_goes_on_where_it_was_saved() -> None:
    first, second = lecam(), lecam()
    after(first, [1.0], [-1.0])
    second.load_state_dict(first.state_dict())
    for rule in (first, second):
        after(rule, [4.0], [2.0])
    assert torch.equal(first.means, second.means)
    assert first.updates == second.updates == 2


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"strength": 0.3, "decay": 1.0}, "d_lecam.decay=1.0: must be in"),
        ({"decay": 0.9}, "d_lecam.decay=0.9: has no effect while"),
        ({"strength": -1.0}, "d_lecam.strength=-1.0: must not be negative"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, float], told: str) -> None:
    with pytest.raises(UserError, match=told):
        RegularizerConfig(d_lecam=LeCamSettings(**settings))
