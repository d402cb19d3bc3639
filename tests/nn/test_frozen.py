"""Frozen parts: in evaluation, untrained, uninitialised, transparent to gradients, saved or stood for by a name."""

import pytest
import torch
from torch import nn

from orthogan.nn.frozen import Frozen, identities, trainable
from orthogan.nn.initializers import initialize


def network(identity: str | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    frozen = Frozen(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)), identity)
    return nn.Sequential(nn.Conv2d(3, 3, 1), frozen, nn.Conv2d(4, 2, 1))


def test_it_stays_in_evaluation_and_gives_the_same_for_the_same() -> None:
    net = network().train()
    assert net.training
    assert not any(m.training for m in net[1].modules())
    x = torch.randn(5, 3, 2, 2)
    assert torch.equal(net(x), net(x))


def test_gradients_pass_through_to_what_is_before_it_and_none_stays() -> None:
    net = network()
    x = torch.randn(5, 3, 2, 2, requires_grad=True)
    net(x).sum().backward()
    assert x.grad is not None
    assert x.grad.any()
    assert net[0].weight.grad.any()
    assert all(p.grad is None for p in net[1].parameters())
    assert [id(p) for p in trainable(net)] == [id(p) for m in (net[0], net[2]) for p in m.parameters()]


def test_initialisers_leave_it_alone() -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    initialize(net, "orthogonal")
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_without_an_identity_it_is_saved_like_any() -> None:
    state = network().state_dict()
    assert "1.module.0.weight" in state
    assert identities(network()) == {}


def test_with_an_identity_only_that_stands_for_it() -> None:
    net, other = network("lite0 57934424"), network("lite0 57934424")
    assert set(net.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    assert identities(net) == {"1": "lite0 57934424"}
    with torch.no_grad():
        other[0].weight.fill_(7.0)
        other[1].module[0].weight.fill_(3.0)
    own = net[1].module[0].weight.clone()
    net.load_state_dict(other.state_dict())
    assert net[0].weight.eq(7.0).all()
    assert torch.equal(net[1].module[0].weight, own)


@pytest.mark.parametrize("identity", [None, "a name"])
def test_a_missing_tensor_of_the_rest_is_still_noticed(identity: str | None) -> None:
    state = network(identity).state_dict()
    del state["2.bias"]
    with pytest.raises(RuntimeError, match=r"2\.bias"):
        network(identity).load_state_dict(state)
