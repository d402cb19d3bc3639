"""Counts of trainable parameters against the published ones (specification, sections 1.1, 4.3, 6 and 9.8)."""

from functools import cache
from typing import Any

import pytest
from torch import nn

import orthogan
from orthogan.nn.norm import norm_layers
from orthogan.nn.spectral import normalized_layers


def count(*modules: nn.Module | None) -> int:
    return sum(p.numel() for module in modules if module is not None for p in module.parameters())


@cache
def build(name: str) -> Any:
    return orthogan.build(name, device="meta")


@pytest.mark.parametrize(
    ("preset", "changes", "g", "d"),
    [
        ("biggan-32", {}, 4_304_387, 4_207_361),
        ("biggan-32-studiogan", {}, 9_416_196, 2_415_170),
        ("biggan-64", {"g_attention": 64}, 70_239_108, 45_511_970),
        ("biggan-128", {}, 70_433_988, 87_982_370),
        ("biggan-128", {"width": 64}, 31_978_628, 39_448_258),
        ("biggan-256", {}, 82_097_604, 99_225_890),
        ("biggan-512", {}, 82_468_068, 99_401_282),
        ("biggan-512-released", {}, 82_296_804, 99_401_282),
        ("biggan-deep-128", {}, 50_244_484, 34_590_210),
        ("biggan-deep-256", {}, 55_736_708, 38_247_426),
        ("biggan-deep-512", {}, 56_019_780, 38_301_122),
        ("sagan-128", {"g_attention": 64, "d_attention": 64}, 42_017_412, 39_448_258),
        ("sngan-32", {"n_classes": 0}, 4_276_739, 1_053_824),
        ("sngan-32", {"n_classes": 0, "head_bias": True}, 4_276_739, 1_053_825),
        ("sngan-32", {}, 4_304_387, 1_055_104),
        ("sngan-32", {"head_bias": True}, 4_304_387, 1_055_105),
        ("sngan-48", {}, 4_878_083, 10_141_441),
        ("sngan-64", {"n_classes": 0}, 12_220_675, 10_141_441),
        ("sngan-64", {}, 17_974_915, 11_165_441),
        ("sngan-128", {"n_classes": 0}, 32_150_787, 29_017_857),
        ("sngan-128", {}, 41_996_931, 30_041_857),
        ("sngan-cnn-32", {}, 3_812_355, 2_935_873),
        ("sngan-cnn-48", {}, 5_133_315, 2_946_113),
    ],
)
def test_published_counts_of_both_networks(preset, changes, g, d):
    pair = orthogan.build(preset, device="meta", **changes)
    assert (count(pair.generator), count(pair.discriminator)) == (g, d)


@pytest.mark.parametrize(
    ("row", "millions", "exact"),
    [
        ("table1-512", 81.5, 81_465_670),
        ("table1-1024", 81.5, 81_465_670),
        ("table1-2048", 81.5, 81_465_670),
        ("table1-wide", 173.5, 173_538_534),
        ("table1-shared", 160.6, 160_774_886),
        ("table1-skip-z", 158.3, 158_416_358),
        ("table1-ortho", 158.3, 158_416_358),
        ("table1-ch64", 71.3, 71_426_886),
    ],
)
def test_totals_of_table_1(row, millions, exact):
    pair = build(row)
    assert count(pair.generator, pair.discriminator) == exact
    # The paper's own number leaves the shared embedding out.
    assert round((exact - count(pair.generator.embedding)) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("preset", "stages"),
    [
        ("biggan-128", [45_740_544, 17_789_184, 4_618_368, 1_286_209, 352_800]),
        ("biggan-256", [45_740_544, 17_789_184, 11_663_616, 4_618_368, 1_286_209, 352_800]),
        ("biggan-512", [45_740_544, 17_789_184, 11_663_616, 4_802_689, 1_240_128, 352_800, 232_224]),
    ],
)
def test_stages_of_the_generator(preset, stages):
    g = build(preset).generator
    counts = [count(block) for block in g.blocks]
    counts[list(g.config.maps(g.resolution)).index(g.config.attention)] += count(g.attention)
    assert counts == stages


def test_ends_of_the_generator():
    g = build("biggan-128").generator
    assert (count(g.linear), count(g.norm, g.to_rgb), count(g.embedding)) == (516_096, 2_787, 128_000)


def test_stages_of_the_discriminator():
    d = build("biggan-128").discriminator
    counts = [count(block) for block in d.blocks]
    counts[d.attention_after] += count(d.attention)
    assert counts == [97_633, 516_672, 2_065_536, 8_259_840, 33_034_752, 42_470_400]
    assert (count(d.head.linear), count(d.head.embedding)) == (1_537, 1_536_000)


@pytest.mark.parametrize(("preset", "layers"), [("biggan-128", 41), ("biggan-256", 48), ("biggan-512", 55)])
def test_number_of_normalised_layers_of_the_generator(preset, layers):
    assert len(list(normalized_layers(build(preset).generator))) == layers


def test_what_is_normalised():
    """Every convolution and linear layer of both networks and D's embedding, but not G's shared embedding."""
    g, d = build("biggan-128").generator, build("biggan-128").discriminator
    assert len(list(normalized_layers(d))) == 23
    for network in (g, d):
        normalised = {module for _, module in normalized_layers(network)}
        layers = {m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)}
        assert layers - normalised == ({g.embedding} if network is g else set())
    assert norm_layers(d) == []
