"""SN-GAN's networks against the paper and its released code, as far as shapes and formulas go."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import changed
from torch import Tensor

from orthogan.errors import UserError
from orthogan.nn.layers import bake
from orthogan.nn.spectral import normalized_layers
from orthogan.pair import build_pair
from orthogan.presets import get


def small(**changes: object) -> tuple[Any, Any]:
    """Generator and discriminator."""
    shape = {"resolution": 16, "n_classes": 3, "width": 4, "g_channels": (4, 2, 1), "d_channels": (1, 2, 2, 4)}
    shape |= {"d_downs": 2, "dim_z": 8, "head_bias": True}
    return build_pair(changed(get("sngan-32"), **(shape | changes)))


def test_blocks_of_d_are_thin_and_the_first_is_not() -> None:
    _, d = small()
    assert d.blocks[0].conv1.weight.shape == (4, 3, 3, 3)
    assert d.blocks[1].conv1.weight.shape == (4, 4, 3, 3)
    assert d.blocks[1].conv2.weight.shape == (8, 4, 3, 3)


def test_g_has_no_spectral_norm_and_all_of_d_has() -> None:
    assert not list(normalized_layers(small()[0]))
    assert len(list(normalized_layers(small()[1]))) == 4 * 2 + 3 + 2  # convolutions, skips, head


def test_classes_start_alike_with_gain_one_and_bias_zero() -> None:
    torch.manual_seed(0)
    g, _ = small()
    z = torch.randn(4, 8)
    a, b = g(z, torch.zeros(4, dtype=torch.long)), g(z, torch.full((4,), 2))
    torch.testing.assert_close(a, b)


def test_glorot_s_gain_is_sqrt_2_in_the_blocks_alone() -> None:
    torch.manual_seed(0)
    g, _ = build_pair(get("sngan-32"))
    bound = math.sqrt(6 / (256 * 9 + 256 * 9))
    assert g.blocks[0].conv1.weight.abs().max().item() == pytest.approx(bound * math.sqrt(2), rel=1e-3)
    assert g.blocks[0].skip.weight.abs().max().item() == pytest.approx(math.sqrt(6 / 512), rel=1e-3)
    assert g.to_rgb.weight.abs().max().item() == pytest.approx(math.sqrt(6 / (259 * 9)), rel=1e-2)


def test_concat_joins_an_embedding_before_the_fourth_block_and_projects_nothing() -> None:
    torch.manual_seed(0)
    _, d = small(d_labels="concat")
    assert d.blocks[3].conv1.weight.shape[1] == 2 * 4 + 128
    assert d.joined.weight.shape == (3, 128)
    assert d.head.embedding is None
    x = torch.randn(2, 3, 16, 16)
    assert not torch.allclose(d(x, torch.tensor([0, 0])), d(x, torch.tensor([1, 2])))
    with pytest.raises(UserError, match="more than 3 blocks"):
        small(d_labels="concat", d_channels=(1, 2))


def test_concat_without_classes_is_refused() -> None:
    with pytest.raises(UserError, match="needs classes"):
        small(d_labels="concat", n_classes=0)


def reference_cnn(d: torch.nn.Module, x: Tensor) -> Tensor:
    """The paper's table 3, layer by layer."""
    strides = [1, 2, 1, 2, 1, 2, 1]
    for conv, stride in zip(d.convs, strides, strict=True):
        x = F.leaky_relu(F.conv2d(x, conv.weight_in_use(), conv.bias, stride, 1), 0.1)
    return F.linear(x.flatten(1), d.linear.weight_in_use(), d.linear.bias)[:, 0]


def test_the_plain_discriminator_is_the_paper_s_table_3() -> None:
    torch.manual_seed(0)
    _, d = build_pair(changed(get("sngan-cnn-32"), resolution=16, width=4))
    x = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(d(x), reference_cnn(d, x))


def test_baked_plain_weights_change_nothing() -> None:
    torch.manual_seed(0)
    g = small()[0].eval()
    z, y = torch.randn(2, 8), torch.tensor([0, 1])
    plain = g(z, y)
    bake(g)
    torch.testing.assert_close(g(z, y), plain)
