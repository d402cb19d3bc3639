"""StyleGAN2 against its published counts and against an implementation in loops."""

import copy
import dataclasses
from typing import Any

import naive_stylegan2 as naive
import pytest
import torch
from torch import Tensor

from orthogan.errors import UserError
from orthogan.networks.stylegan2 import StyleGAN2Generator, StyleGAN2GeneratorConfig
from orthogan.networks.stylegan2_discriminator import (
    MinibatchDeviation,
    StyleGAN2Discriminator,
    StyleGAN2DiscriminatorConfig,
    group_size,
)
from orthogan.nn.noise import Noise, keys
from orthogan.sampling import Sampler

TINY_G = StyleGAN2GeneratorConfig(channel_base=64, channel_max=6, mapping_layers=2, dim_z=5, dim_w=7)
TINY_D = StyleGAN2DiscriminatorConfig(channel_base=64, channel_max=6, conv_clamp=0)
PROJECTED = {"dim_z": 64, "dim_w": 128, "mapping_layers": 2}
HALF = {"channel_base": 16384}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def generator(resolution: int = 16, n_classes: int = 0, **changes: Any) -> StyleGAN2Generator:
    """With biases and noise strengths that are not 0."""
    g = StyleGAN2Generator(dataclasses.replace(TINY_G, **changes), resolution, n_classes)
    for name, p in g.named_parameters():
        if not p.is_meta and (name.endswith("strength") or (name.endswith("bias") and ".style." not in name)):
            torch.nn.init.normal_(p)
    return g


def discriminator(resolution: int = 16, n_classes: int = 0, **changes: Any) -> StyleGAN2Discriminator:
    d = StyleGAN2Discriminator(dataclasses.replace(TINY_D, **changes), resolution, n_classes)
    for name, p in d.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(p)
    return d


def labels(n: int, n_classes: int) -> tuple[Tensor | None, Tensor | None]:
    """Classes, and the same as weights; None without classes."""
    y = torch.arange(n) % n_classes if n_classes else None
    return y, None if y is None else torch.eye(n_classes)[y]


def count(network: type, config: Any, resolution: int, n_classes: int = 0) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in network(config, resolution, n_classes).parameters())


def g_count(resolution: int, n_classes: int = 0, **settings: Any) -> int:
    return count(StyleGAN2Generator, StyleGAN2GeneratorConfig(**settings), resolution, n_classes)


def d_count(resolution: int, n_classes: int = 0, **settings: Any) -> int:
    return count(StyleGAN2Discriminator, StyleGAN2DiscriminatorConfig(**settings), resolution, n_classes)


@pytest.mark.parametrize(
    ("resolution", "parameters", "n_styles"),
    [
        (32, 17_284_371, 8),
        (64, 22_203_672, 10),
        (128, 24_106_525, 12),
        (256, 24_615_586, 14),
        (512, 24_759_527, 16),
        (1024, 24_803_852, 18),
    ],
)
def test_counts_of_projected_gan_s_generator(resolution, parameters, n_styles):
    assert g_count(resolution, **PROJECTED) == parameters
    with torch.device("meta"):
        assert StyleGAN2Generator(StyleGAN2GeneratorConfig(), resolution, 0).n_styles == n_styles


@pytest.mark.parametrize(
    ("resolution", "auto_g", "auto_d", "full_g", "full_d"),
    [
        (32, 19_947_539, 21_507_073, None, None),
        (64, 22_243_608, 23_407_361, 27_032_600, 26_488_833),
        (128, 22_949_277, 23_882_369, 29_328_669, 28_389_121),
        (256, 23_191_522, 24_001_089, 30_034_338, 28_864_129),
        (512, 28_700_647, 28_982_849, 30_276_583, 28_982_849),
        (1024, 28_794_124, 29_012_513, 30_370_060, 29_012_513),
    ],
)
def test_counts_of_stylegan2_ada(resolution, auto_g, auto_d, full_g, full_d):
    base = StyleGAN2GeneratorConfig.at(resolution).channel_base
    assert g_count(resolution, mapping_layers=2, channel_base=base) == auto_g
    assert d_count(resolution, channel_base=StyleGAN2DiscriminatorConfig.at(resolution).channel_base) == auto_d
    if full_g is not None:
        assert (g_count(resolution), d_count(resolution)) == (full_g, full_d)


def test_counts_of_other_published_configurations():
    assert (g_count(256, **HALF), d_count(256, mbstd_group=8, **HALF)) == (24_767_458, 24_001_089)
    cifar = {"mapping_layers": 2}, {"architecture": "orig", "mbstd_group": 32}
    assert (g_count(32, **cifar[0]), d_count(32, **cifar[1])) == (19_947_539, 20_720_641)
    assert (g_count(32, 10, **cifar[0]), d_count(32, 10, **cifar[1])) == (20_215_315, 23_089_664)
    assert (g_count(256, 1000, mapping_layers=2, **HALF), d_count(256, 1000, **HALF)) == (23_966_178, 26_876_992)


@pytest.mark.parametrize("n_classes", [0, 3])
def test_mapping_is_its_definition(n_classes):
    g = generator(n_classes=n_classes)
    z, (y, weights) = torch.randn(4, 5), labels(4, n_classes)
    torch.testing.assert_close(g.mapping(z, y), naive.mapped(g.mapping, z, weights))
    torch.testing.assert_close(g.mapping(7 * z, y), g.mapping(z, y))  # only the direction of z matters


@pytest.mark.parametrize("resolution", [8, 16, 24])
def test_synthesis_is_its_definition(resolution):
    g = generator(resolution)
    w = torch.randn(2, g.n_styles, 7)
    images = g.synthesize(w, Noise("const", torch.zeros(2, dtype=torch.long)))
    torch.testing.assert_close(images, naive.generated(g, w), rtol=1e-3, atol=1e-3)
    assert images.shape == (2, 3, resolution, resolution)


@pytest.mark.parametrize("n_classes", [0, 3])
@pytest.mark.parametrize("architecture", ["resnet", "orig"])
def test_discriminator_is_its_definition(architecture, n_classes):
    d = discriminator(n_classes=n_classes, architecture=architecture)
    x, (y, weights) = torch.randn(8, 3, 16, 16), labels(8, n_classes)
    torch.testing.assert_close(d(x, y), naive.judged(d, x, weights, 4), rtol=1e-3, atol=1e-3)


def test_outputs_of_the_generator_are_clamped():
    images = generator(conv_clamp=0.01)(torch.randn(2, 5))
    assert 0.01 < images.abs().max() <= 0.01 * 3 + 1e-6  # of three resolutions, each within the bound


@pytest.mark.parametrize(("architecture", "bound"), [("resnet", 0.01 * 0.5**0.5), ("orig", 0.01)])
def test_outputs_of_the_discriminator_s_convolutions_are_clamped(architecture, bound):
    block = discriminator(conv_clamp=0.01, architecture=architecture).blocks[0]
    if block.skip is not None:
        torch.nn.init.zeros_(block.skip.weight)
    assert block(torch.randn(2, 4, 16, 16)).max().item() == pytest.approx(bound)


def test_groups_of_the_deviation_are_strided():
    """Four images in two groups: the first with the third, the second with the fourth."""
    x = torch.tensor([0.0, 0.0, 2.0, 6.0])[:, None, None, None].expand(4, 2, 3, 3)
    found = MinibatchDeviation(2)(x)
    assert torch.equal(found[:, :2], x)
    torch.testing.assert_close(found[:, 2, 0, 0], torch.tensor([1.0, 3.0, 1.0, 3.0]))


@pytest.mark.parametrize(("n", "group"), [(12, 4), (6, 3), (5, 5), (4, 1)])
def test_deviation_is_its_definition(n, group):
    x = torch.randn(n, 3, 2, 4)
    found = MinibatchDeviation(group)(x)
    assert found.shape == (n, 4, 2, 4)
    torch.testing.assert_close(found[:, 3], naive.deviations(x, group)[:, None, None].expand(n, 2, 4))


def test_a_group_is_the_largest_that_divides_the_batch():
    assert [group_size(n, 4) for n in (1, 2, 3, 4, 6, 7, 8, 10)] == [1, 2, 3, 4, 3, 1, 4, 2]


@pytest.mark.parametrize("group", [0, 1, 4])
def test_images_couple_only_where_there_is_a_deviation(group):
    d, x = discriminator(mbstd_group=group), torch.randn(4, 3, 16, 16)
    apart = torch.cat([d(one[None]) for one in x])
    assert torch.allclose(d(x), apart, rtol=1e-3, atol=1e-4) == (group <= 1)


def mixed_from(g: StyleGAN2Generator, z: Tensor) -> Tensor:
    """The layer (N,) from which an image has the w of another latent; the number of layers where none has."""
    w = g.styles(z)
    assert torch.equal(w[:, 0], g.mapping(z, None))
    other = (w != w[:, :1]).any(2)  # (N, L)
    start = torch.where(other.any(1), other.float().argmax(1), g.n_styles)
    layers = torch.arange(g.n_styles)
    assert torch.equal(other, layers >= start[:, None])
    return start


def test_mixing_is_of_a_share_of_the_images_from_any_layer_on():
    g, z = generator(mixing=0.6), torch.randn(4000, 5)
    found = mixed_from(g, z).bincount(minlength=7)
    assert g.n_styles == 6
    assert found[0] == 0
    assert found[6].item() == pytest.approx(0.4 * 4000, rel=0.06)
    torch.testing.assert_close(found[1:6] / 4000, torch.full((5,), 0.6 / 5), rtol=0.15, atol=0)


def test_mixing_is_an_image_s_own_affair():
    g, z = generator(mixing=0.9), torch.randn(6, 5)
    w = g.styles(z)
    torch.testing.assert_close(g.styles(z[3:5]), w[3:5])
    assert not torch.allclose(g.styles(z[:1] * 1.001)[0, -1], w[0, -1], rtol=0.05)


def test_styles_are_mixed_in_training_alone():
    z = torch.randn(64, 5)
    for g, mixed in ((generator(), True), (generator().eval(), False), (generator(mixing=0), False)):
        assert bool((mixed_from(g, z) < g.n_styles).any()) == mixed


def test_an_image_does_not_depend_on_its_neighbours():
    g, z = generator(), torch.randn(5, 5)
    torch.testing.assert_close(g(z)[1:3], g(z[1:3]), rtol=1e-4, atol=1e-4)


def test_w_s_mean_is_collected_and_truncation_goes_there():
    g = generator(n_classes=3)
    sampler = Sampler(g, "float32", noise="const")
    sampler.collect(batches=200)
    z, y = torch.randn(4000, 5), torch.randint(3, (4000,))
    spread = g.mapping(z, y).std(0) / 4000**0.5
    assert ((g.mean_style() - g.mapping(z, y).mean(0)).abs() < 5 * spread).all()
    images = torch.cat(list(sampler.stream(3, truncation=0.0)))
    assert torch.equal(images[0], images[1])
    assert not torch.equal(*torch.cat(list(sampler.stream(2, truncation=0.5))))
    expected = g.synthesize(g.mean_style().expand(1, g.n_styles, -1), Noise("const", keys(z[:1])))
    grey = (127.5 * (expected[0] + 1)).permute(1, 2, 0).clamp(0, 255)
    assert (images[0] - grey).abs().max() <= 0.51


def test_truncation_of_the_first_layers_leaves_the_last():
    g = generator().eval()
    torch.nn.init.normal_(g.mean.mean)
    w = g.styles(torch.randn(3, 5))
    cut = g.truncate(w, 0.25, 2)
    torch.testing.assert_close(cut[:, :2], g.mean_style() + 0.25 * (w[:, :2] - g.mean_style()))
    assert torch.equal(cut[:, 2:], w[:, 2:])
    assert torch.equal(g.truncate(w, None), w)


def test_kept_kernels_change_nothing():
    g, z = generator(), torch.randn(3, 5)
    expected = 127.5 * (g.eval()(z) + 1)
    (images,) = Sampler(g, "float32").render(z, None)
    assert (images - expected.permute(0, 2, 3, 1).clamp(0, 255)).abs().max() <= 0.51


def test_a_copy_draws_the_same_images():
    g, z = generator(), torch.randn(2, 5)
    assert torch.equal(copy.deepcopy(g)(z), g(z))


def test_recomputed_blocks_have_the_same_gradients():
    g, z = generator(), torch.randn(2, 5)
    found = []
    for g.checkpoint_blocks in (False, True):
        g.zero_grad()
        g(z).square().sum().backward()
        found.append([p.grad.clone() for p in g.parameters()])
    for plain, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(recomputed, plain)


@pytest.mark.parametrize("n_classes", [0, 3])
def test_under_autocast_both_are_the_same_to_the_digits_of_bf16(n_classes):
    z, x, (y, _) = torch.randn(4, 5), torch.randn(4, 3, 16, 16), labels(4, n_classes)
    for network, given in ((generator(n_classes=n_classes), z), (discriminator(n_classes=n_classes), x)):
        with torch.autocast("cpu", torch.bfloat16):
            low = network(given, y)
        high = network(given, y)
        assert low.dtype == torch.float32
        assert (low - high).norm() < 0.03 * high.norm()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mixing": 1.5}, r"generator.mixing=1.5: must be in \[0, 1\]"),
        ({"latent": "uniform"}, "generator.latent='uniform': .* set generator.mixing 0"),
        ({"mapping_layers": 0}, "generator.mapping_layers=0: must be positive"),
        ({"conv_clamp": -1.0}, "generator.conv_clamp=-1.0: must not be negative"),
    ],
)
def test_bad_settings_are_refused(settings, told):
    with pytest.raises(UserError, match=told):
        StyleGAN2GeneratorConfig(**settings)


@pytest.mark.parametrize(
    ("resolution", "told"),
    [(36, "resolution=36: .* 32 or 40"), (4, "resolution=4: .*: 8"), (128, "channel_base=64: must be at least .* 128")],
)
@pytest.mark.parametrize("build", [generator, discriminator])
def test_images_of_no_fitting_side_are_refused(build, resolution, told):
    with pytest.raises(UserError, match=told):
        build(resolution)
