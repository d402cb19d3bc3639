from typing import Any

import pytest
import torch
from torch import nn

from orthogan.config import EmaConfig
from orthogan.errors import UserError
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
    ema = Ema(net, EmaConfig(decay=0.9), images_per_step=8)
    ema.update(set_to(net, 2.0), steps=1)
    ema.update(set_to(net, 3.0), steps=2)
    torch.testing.assert_close(ema.module.weight, torch.full((2,), (1 * 0.9 + 2 * 0.1) * 0.9 + 3 * 0.1))
    assert torch.equal(ema.module.u, torch.full((3,), 3.0))
    assert int(ema.module.count) == 3


def test_until_its_start_the_average_is_a_copy() -> None:
    net = Net(1.0)
    ema = Ema(net, EmaConfig(decay=0.9, start_steps=3), images_per_step=8)
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
    ema = Ema(net, EmaConfig(decay=decay, start_steps=start), images_per_step=8)
    for itr, value in enumerate(values, start=1):
        kept = 0.0 if itr < start else decay
        theirs = theirs * kept + value * (1 - kept)
        ema.update(set_to(net, value), steps=itr)
        torch.testing.assert_close(ema.module.weight, torch.full((2,), theirs))


def test_the_average_is_apart_from_the_network_and_never_trains() -> None:
    net = Net(1.0)
    ema = Ema(net, EmaConfig(), images_per_step=8)
    assert not ema.module.training
    assert not any(p.requires_grad for p in ema.module.parameters())
    assert ema.module.weight.data_ptr() != net.weight.data_ptr()


def test_half_life_by_hand() -> None:
    """A quarter is kept of what was there two half-lives ago."""
    net = Net(1.0)
    ema = Ema(net, EmaConfig(decay=None, halflife_images=16), images_per_step=8)
    for steps in range(1, 5):
        ema.update(set_to(net, 5.0), steps)
    torch.testing.assert_close(ema.module.weight, torch.full((2,), 5 - 4 * 0.25))


def test_ramp_up_bounds_the_half_life_by_the_images_shown_before() -> None:
    ema = Ema(Net(1.0), EmaConfig(decay=None, halflife_images=320, rampup=0.05), images_per_step=32)
    assert ema.decay(1) == 0  # the first update copies
    assert ema.decay(11) == 0.5 ** (32 / (0.05 * 320))
    assert ema.decay(201) == ema.decay(1000) == 0.5 ** (32 / 320)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"decay": 0.9, "halflife_images": 10}, "give one of"),
        ({"decay": None}, "give one of"),
        ({"decay": None, "halflife_images": 0}, "must be positive"),
        ({"rampup": 0.05}, "which is not set"),
    ],
)
def test_the_average_is_said_once(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        EmaConfig(**settings)
