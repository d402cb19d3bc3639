"""BigGAN-deep's blocks against plain definitions written from the paper."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import changed
from torch import nn

from orthogan.errors import UserError
from orthogan.networks.biggan_deep import DBottleneck, GBottleneck
from orthogan.nn.norm import BatchNorm2d
from orthogan.nn.spectral import spectral
from orthogan.nn.stabilizers import parts
from orthogan.pair import build_pair
from orthogan.presets import get


def small(**changes: object) -> tuple[Any, Any]:
    """Generator and discriminator."""
    shape = {"resolution": 16, "n_classes": 3, "width": 8, "g_channels": (4, 2, 1), "d_channels": (1, 2, 2)}
    shape |= {"dim_z": 6, "shared_dim": 4, "g_attention": 0, "d_attention": 0}
    return build_pair(changed(get("biggan-deep-128"), **(shape | changes)))


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def conv(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return F.conv2d(x, layer.weight_in_use(), layer.bias, padding=layer.weight.shape[-1] // 2)


@pytest.mark.parametrize("up", [False, True])
def test_g_s_bottleneck(up: bool) -> None:
    outputs = 4 if up else 8
    norms = [BatchNorm2d(c) for c in (8, 2, 2, 2)]
    block = GBottleneck(8, outputs, norms, up=up, layers=spectral(1e-4))
    x = torch.randn(3, 8, 4, 4)
    h = conv(block.conv1, F.relu(norms[0](x)))
    h = F.relu(norms[1](h))
    h = conv(block.conv2, F.interpolate(h, scale_factor=2) if up else h)
    h = conv(block.conv3, F.relu(norms[2](h)))
    h = conv(block.conv4, F.relu(norms[3](h)))
    kept = x[:, :outputs]
    expected = h + (F.interpolate(kept, scale_factor=2) if up else kept)
    torch.testing.assert_close(block(x, torch.zeros(3, 1)), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("outputs", "down"), [(16, True), (8, True), (8, False)])
def test_d_s_bottleneck(outputs: int, down: bool) -> None:
    block = DBottleneck(8, outputs, down=down, parts=parts("spectral-norm", 1e-4))
    x = torch.randn(3, 8, 4, 4)
    before = x.clone()
    h = conv(block.conv1, F.relu(x))
    h = conv(block.conv2, F.relu(h))
    h = F.relu(conv(block.conv3, F.relu(h)))
    pooled = F.avg_pool2d(x, 2) if down else x
    h = conv(block.conv4, F.avg_pool2d(h, 2) if down else h)
    skip = pooled if outputs == 8 else torch.cat([pooled, conv(block.skip, pooled)], 1)
    torch.testing.assert_close(block(x), h + skip, atol=1e-5, rtol=1e-4)
    assert torch.equal(x, before), "the skip must see x before any ReLU"


def test_the_whole_z_and_the_class_reach_the_first_layer_and_every_norm() -> None:
    g, _ = small()
    assert g.dim_condition == 10
    assert g.linear.weight.shape[1] == 10
    gains = [m.gain.weight.shape[1] for m in g.modules() if hasattr(m, "gain")]
    assert gains == [10] * 16


def test_the_class_comes_before_z_as_in_biggan_pytorch_s_checkpoints() -> None:
    g, _ = small()
    seen: list[torch.Tensor] = []
    for layer in (g.linear, g.blocks[0].norms[0].gain):
        layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    z, y = torch.randn(2, 6), torch.tensor([2, 0])
    g(z, y)
    for condition in seen:
        torch.testing.assert_close(condition, torch.cat([g.embedding.weight[y], z], 1))
    assert len(seen) == 2


def test_attention_is_at_the_end_of_its_stage() -> None:
    g, d = small(g_attention=8, d_attention=8)
    seen: list[tuple[int, ...]] = []
    for network in (g, d):
        network.attention.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    d(g(torch.randn(2, 6), torch.tensor([0, 1])), torch.tensor([0, 1]))
    assert seen == [(2, 16, 8, 8), (2, 16, 8, 8)]


def test_attention_acts_where_nothing_is_halved() -> None:
    _, d = small(d_downs=0, d_attention=16)
    order: list[str] = []
    for name in ("blocks.1", "attention", "blocks.2"):
        d.get_submodule(name).register_forward_hook(lambda module, inputs, output, name=name: order.append(name))
    d(torch.randn(2, 3, 16, 16), torch.tensor([0, 1]))
    assert order == ["blocks.1", "attention", "blocks.2"]


def test_d_halves_as_often_as_told_from_the_first_stage_on() -> None:
    _, d = small(d_channels=(1, 2, 2, 4), d_downs=1, d_attention=8)
    sides: list[int] = []
    for block in d.blocks:
        block.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[2]))
    order: list[str] = []
    for name in ("blocks.1", "attention", "blocks.2"):
        d.get_submodule(name).register_forward_hook(lambda module, inputs, output, name=name: order.append(name))
    d(torch.randn(2, 3, 16, 16), torch.tensor([0, 1]))
    assert sides == [8] * 6
    assert order == ["blocks.1", "attention", "blocks.2"]  # once, at the end of the first stage on its map
    assert d.attention.theta.weight.shape[1] == 16


def test_all_stages_of_d_halve_where_nothing_is_said() -> None:
    assert [block.down for block in small()[1].blocks] == [True, False, True, False]


@pytest.mark.parametrize(
    ("setting", "value"),
    [("d_downs", 3), ("g_channels", (2, 4, 1)), ("d_channels", (2, 1, 2)), ("width", 6), ("resolution", 18)],
)
def test_impossible_shapes_are_refused(setting: str, value: object) -> None:
    with pytest.raises(UserError, match=setting.replace("g_", "generator.").replace("d_", "discriminator.")):
        small(**{setting: value})
