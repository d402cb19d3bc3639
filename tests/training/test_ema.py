import torch
from torch import nn

from orthogan.config import EmaConfig
from orthogan.training.ema import Ema


class Net(nn.Module):
    def __init__(self, value: float):
        super().__init__()
        self.weight = nn.Parameter(torch.full((2,), value))
        self.register_buffer("u", torch.full((3,), value))
        self.register_buffer("count", torch.tensor(int(value)))


def set_to(net: Net, value: float) -> Net:
    with torch.no_grad():
        net.weight.fill_(value)
        net.u.fill_(value)  # type: ignore[operator]
        net.count.fill_(int(value))  # type: ignore[operator]
    return net


def test_average_by_hand_parameters_averaged_buffers_copied() -> None:
    net = Net(1.0)
    ema = Ema(net, EmaConfig(decay=0.9))
    ema.update(set_to(net, 2.0), steps=1)
    ema.update(set_to(net, 3.0), steps=2)
    torch.testing.assert_close(ema.module.weight, torch.full((2,), (1 * 0.9 + 2 * 0.1) * 0.9 + 3 * 0.1))
    assert torch.equal(ema.module.u, torch.full((3,), 3.0))
    assert int(ema.module.count) == 3


def test_until_its_start_the_average_is_a_copy() -> None:
    net = Net(1.0)
    ema = Ema(net, EmaConfig(decay=0.9, start_steps=3))
    for step, value in enumerate((5.0, 7.0), start=1):
        ema.update(set_to(net, value), steps=step)
        assert torch.equal(ema.module.weight, net.weight)
    ema.update(set_to(net, 17.0), steps=3)
    torch.testing.assert_close(ema.module.weight, torch.full((2,), 7 * 0.9 + 17 * 0.1))


def test_the_average_starts_with_the_update_that_biggan_pytorch_s_does() -> None:
    """Its class `ema`, by hand: it counts iterations from 1 and pegs the average while the count is below the start."""
    values, start, decay = (2.0, 3.0, 5.0, 7.0, 11.0), 3, 0.9
    theirs = 1.0
    net = Net(theirs)
    ema = Ema(net, EmaConfig(decay=decay, start_steps=start))
    for itr, value in enumerate(values, start=1):
        kept = 0.0 if itr < start else decay
        theirs = theirs * kept + value * (1 - kept)
        ema.update(set_to(net, value), steps=itr)
        torch.testing.assert_close(ema.module.weight, torch.full((2,), theirs))


def test_the_average_is_apart_from_the_network_and_never_trains() -> None:
    net = Net(1.0)
    ema = Ema(net, EmaConfig())
    assert not ema.module.training
    assert not any(p.requires_grad for p in ema.module.parameters())
    assert ema.module.weight.data_ptr() != net.weight.data_ptr()
