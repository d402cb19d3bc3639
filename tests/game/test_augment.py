"""What holds for every augmentation: each image by itself, differentiable twice, the settings checked."""

import copy
import itertools
from typing import get_args, get_type_hints

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck

from orthogan.errors import UserError
from orthogan.game.augment import READ, Augment, AugmentConfig, Kind, build
from orthogan.game.augment.ada import PIPES
from orthogan.game.augment.base import integers, normal
from orthogan.game.augment.diffaugment import POLICY

POLICIES = [",".join(words) for k in range(1, len(POLICY) + 1) for words in itertools.permutations(POLICY, k)]
CONFIGS = {
    **{f"diffaugment {policy}": AugmentConfig(kind="diffaugment", policy=policy) for policy in POLICIES},
    **{f"ada {pipe}": AugmentConfig(kind="ada", pipe=pipe, p=0.8) for pipe in PIPES},
}
SIDE = 16


def draws(n: int, *shape: int) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(n))


def built(name: str) -> Augment:
    augment = build(CONFIGS[name])
    assert augment is not None
    return augment


def inputs(augment: Augment, n: int = 4, side: int = SIDE) -> tuple[Tensor, Tensor]:
    return draws(n, 3, side, side) * 2 - 1, draws(n, augment.numbers)


@pytest.mark.parametrize("name", CONFIGS)
def test_an_image_and_its_numbers_decide(name):
    augment = built(name)
    x, uniform = inputs(augment)
    out = augment(x, uniform)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert out.isfinite().all()
    assert (out - x).abs().amax((1, 2, 3)).max() > 1e-3
    assert out.equal(augment(x, uniform))
    order = torch.tensor([2, 0, 3])
    torch.testing.assert_close(augment(x[order], uniform[order]), out[order], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_neither_layout_nor_autocast_nor_a_copy_changes_anything(name):
    augment = built(name)
    x, uniform = inputs(augment)
    out = augment(x, uniform)
    torch.testing.assert_close(augment(x.to(memory_format=torch.channels_last), uniform), out, rtol=0, atol=1e-5)
    torch.testing.assert_close(copy.deepcopy(augment)(x, uniform), out, rtol=0, atol=0)
    with torch.autocast("cpu", torch.bfloat16):
        again = augment(x, uniform)
    assert again.dtype == torch.float32
    assert again.equal(out)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_extreme_numbers_are_allowed(name):
    augment = built(name)
    x, _ = inputs(augment, 2)
    highest = torch.stack([torch.zeros(augment.numbers), torch.full((augment.numbers,), 1 - 2.0**-24)])
    assert augment(x, highest).isfinite().all()


@pytest.mark.parametrize("name", ["diffaugment color,translation,cutout", "ada bgcfnc"])
def test_gradients_are_exact_and_can_be_differentiated(name):
    augment = built(name)
    x, uniform = inputs(augment, 2, 6)
    x = x.double().requires_grad_()
    assert gradcheck(lambda x: augment(x, uniform), x, fast_mode=True)
    assert gradgradcheck(lambda x: augment(x, uniform).square(), x, fast_mode=True)


@pytest.mark.parametrize("name", ["diffaugment color,translation,cutout", "ada bgcfnc"])
def test_no_values_are_needed(name):
    """Built without memory, and run under the mode of memory estimates, in which waiting for a value is an error."""
    with torch.device("meta"):
        assert all(buffer.is_meta for buffer in built(name).buffers())
    with FakeTensorMode():
        augment = built(name)
        x, uniform = torch.empty(4, 3, SIDE, SIDE, requires_grad=True), torch.empty(4, augment.numbers)
        augment(x, uniform).sum().backward()
        augment.after_update(torch.ones(()), 4)
    assert x.grad is not None
    assert x.grad.shape == x.shape


def test_normal_numbers_have_the_published_quantiles():
    uniform = torch.tensor([0.0, 0.5, 0.841344746, 0.977249868, 1 - 2.0**-24])
    found = normal(uniform)
    torch.testing.assert_close(found[1:4], torch.tensor([0.0, 1, 2]), atol=1e-5, rtol=0)
    assert 5 < -found[0] < 6
    assert 5 < found[4] < 6
    whole = normal((torch.arange(1000) + 0.5) / 1000)
    assert whole.std().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("count", [1, 2, 4, 17, 65, 64])
def test_integers_never_reach_their_count(count):
    edges = torch.tensor([0.0, 1 - 2.0**-24])
    assert integers(edges, count).tolist() == [0, count - 1]
    assert integers((torch.arange(count) + 0.5) / count, count).tolist() == list(range(count))


def test_no_augmentation_is_none():
    assert build(AugmentConfig()) is None


def test_the_tables_name_what_the_settings_offer():
    assert get_args(get_type_hints(AugmentConfig)["pipe"]) == tuple(PIPES)
    assert get_args(Kind) == tuple(READ)
    assert ["kind", *itertools.chain(*READ.values())] == list(get_type_hints(AugmentConfig))


def test_only_an_adaptive_strength_is_state():
    assert build(AugmentConfig(kind="diffaugment")).state_dict() == {}
    assert build(AugmentConfig(kind="ada", p=0.3)).state_dict() == {}
    assert set(build(AugmentConfig(kind="ada")).state_dict()) == {"p", "signs", "images", "updates"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "mixup"}, ["augment.kind='mixup'", "diffaugment"]),
        ({"kind": "ada", "policy": "color"}, ["augment.policy='color'", "only augment.kind='diffaugment'"]),
        ({"p": 0.5}, ["augment.p=0.5", "only augment.kind='ada'", "leave it at None"]),
        ({"kind": "diffaugment", "pipe": "bg"}, ["augment.pipe='bg'", "'ada'", "'bgc'"]),
        ({"kind": "diffaugment", "policy": "colour"}, ["'colour'", "did you mean 'color'"]),
        ({"kind": "diffaugment", "policy": ""}, ["augment.policy", "cutout"]),
        ({"kind": "diffaugment", "policy": "color,color"}, ["augment.policy='color,color'", "twice"]),
        ({"kind": "diffaugment", "policy": "color", "cutout": 0.5}, ["augment.cutout=0.5", "0.2"]),
        ({"kind": "diffaugment", "cutout": 0.0}, ["augment.cutout=0.0"]),
        ({"kind": "ada", "p": 1.5}, ["augment.p=1.5"]),
        ({"kind": "ada", "p": 0.5, "target": 0.5}, ["augment.target=0.5", "augment.p"]),
        ({"kind": "ada", "target": 2.0}, ["augment.target=2.0"]),
        ({"kind": "ada", "interval": 0}, ["augment.interval=0"]),
        ({"kind": "ada", "speed_images": -1}, ["augment.speed_images=-1"]),
    ],
)
def test_settings_are_refused_by_name(settings, words):
    with pytest.raises(UserError) as refused:
        AugmentConfig(**settings)
    assert all(word in str(refused.value) for word in words), refused.value
