"""What a discriminator is built from, for each stabiliser of the table."""

from typing import get_args

import pytest
import torch
from torch import nn

from orthogan.networks.sngan import SNGANCNNDiscriminator, SNGANCNNDiscriminatorConfig
from orthogan.nn.norm import BatchNorm2d
from orthogan.nn.spectral import SpectralNorm
from orthogan.nn.stabilizers import STABILIZERS, Stabilizer
from orthogan.nn.weight_norm import WeightNorm

NAMES = get_args(Stabilizer)
BUILT_IN = {
    "spectral-norm": (SpectralNorm, 8),
    "weight-norm": (WeightNorm, 8),
    "batch-norm": (BatchNorm2d, 6),
    "layer-norm": (nn.GroupNorm, 6),
}


def test_every_name_acts_somewhere_once() -> None:
    rules = {name for name, kind in STABILIZERS.items() if kind.rule}
    assert set(NAMES) == set(STABILIZERS) == {"none"} | set(BUILT_IN) | rules
    assert not set(BUILT_IN) & rules


@pytest.mark.parametrize("name", NAMES)
def test_a_discriminator_has_the_parts_of_its_stabiliser_and_no_others(name: str) -> None:
    d = SNGANCNNDiscriminator(SNGANCNNDiscriminatorConfig(width=4, stabilizer=name), 16, 0)  # type: ignore[arg-type]
    for other, (kind, number) in BUILT_IN.items():
        found = sum(isinstance(m, kind) for m in d.modules())
        assert found == (number if other == name else 0)
    assert d(torch.zeros(2, 3, 16, 16)).shape == (2,)


def test_layer_norm_is_over_channels_and_pixels_of_each_image() -> None:
    d = SNGANCNNDiscriminator(SNGANCNNDiscriminatorConfig(width=4, stabilizer="layer-norm"), 16, 0)
    x = torch.randn(2, 4, 8, 8)
    expected = (x - x.mean((1, 2, 3), keepdim=True)) / (x.var((1, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(d.norms[1](x), expected)
