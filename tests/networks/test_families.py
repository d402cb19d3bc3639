"""What holds for every family of networks: each test runs over the table."""

import dataclasses

import pytest
import torch

from orthogan.networks import FAMILIES, build_discriminator, build_generator, family_of
from orthogan.nn.classes import ClassTable
from orthogan.nn.norm import BatchNorm2d
from orthogan.nn.spectral import advance

TINY = {
    "biggan": {
        "resolution": 16,
        "width": 4,
        "g_channels": (4, 4, 2),
        "d_channels": (2, 4, 4),
        "d_downs": 2,
        "g_attention": 8,
        "d_attention": 8,
        "dim_z": 12,
        "shared_dim": 6,
    },
    "biggan-deep": {
        "resolution": 16,
        "width": 8,
        "g_channels": (4, 2, 1),
        "d_channels": (1, 2, 2),
        "g_attention": 8,
        "d_attention": 8,
        "dim_z": 12,
        "shared_dim": 6,
    },
    "sngan": {
        "resolution": 16,
        "width": 4,
        "g_channels": (4, 2, 1),
        "d_channels": (1, 2, 2, 4),
        "d_downs": 2,
        "dim_z": 12,
    },
    "sngan-cnn": {"resolution": 16, "width": 4, "dim_z": 12},
}
each_family = pytest.mark.parametrize("name", FAMILIES)
with_and_without_classes = pytest.mark.parametrize("n_classes", [0, 3])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def tiny(name: str, n_classes: int = 3):
    return FAMILIES[name].config(**TINY[name], n_classes=n_classes)


def labels(n_classes: int, n: int) -> torch.Tensor | None:
    return torch.arange(n) % n_classes if n_classes else None


@each_family
def test_family_of_its_own_configuration(name):
    config = tiny(name)
    assert family_of(config) == name
    assert type(build_generator(config)) is FAMILIES[name].generator
    assert type(build_discriminator(config)) is FAMILIES[name].discriminator


@with_and_without_classes
@each_family
def test_gradients_reach_every_parameter(name, n_classes):
    config = tiny(name, n_classes)
    g, d = build_generator(config), build_discriminator(config)
    for network in (g, d):
        for parameter_name, p in network.named_parameters():
            if parameter_name.endswith("gamma"):
                p.data.fill_(0.5)  # from 0 the projections of attention get no gradient
    y = labels(n_classes, 6)
    d(g(torch.randn(6, config.dim_z), y), y).sin().sum().backward()
    for network in (g, d):
        silent = [k for k, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        assert not silent
        assert all(p.grad.isfinite().all() for p in network.parameters())


@with_and_without_classes
@each_family
def test_shapes_and_ranges(name, n_classes):
    config = tiny(name, n_classes)
    y = labels(n_classes, 2)
    images = build_generator(config)(torch.randn(2, config.dim_z), y)
    assert images.shape == (2, 3, config.resolution, config.resolution)
    assert images.abs().max() <= 1
    assert build_discriminator(config)(images, y).shape == (2,)


@each_family
def test_the_class_and_the_latent_both_matter(name):
    config = tiny(name)
    g, d = build_generator(config), build_discriminator(config)
    z, y = torch.randn(4, config.dim_z), labels(3, 4)
    for table in (m for m in g.modules() if isinstance(m, ClassTable)):
        torch.nn.init.normal_(table.weight)  # SN-GAN starts with all classes alike
    images = g(z, y)
    assert not torch.allclose(images, g(z, (y + 1) % 3))
    assert not torch.allclose(images, g(z.flip(0), y))
    assert not torch.allclose(d(images, y), d(images, (y + 1) % 3))


NORMS_OF_D = {
    "biggan": 2 * 3 - 1,  # two a block, but none on the image
    "biggan-deep": 4 * 2 * 2,  # four a block, two blocks a stage, behind a first convolution
    "sngan": 2 * 4 - 1,
    "sngan-cnn": 7 - 1,
}


@pytest.mark.parametrize(("stabilizer", "kind"), [("batch-norm", BatchNorm2d), ("layer-norm", torch.nn.GroupNorm)])
@each_family
def test_a_normalised_discriminator_has_a_norm_before_each_activation_but_the_image_s(name, stabilizer, kind):
    d = build_discriminator(dataclasses.replace(tiny(name), stabilizer=stabilizer))
    seen = []
    for norm in (m for m in d.modules() if isinstance(m, kind)):
        norm.register_forward_hook(lambda module, inputs, output: seen.append(module))
    d(torch.randn(2, 3, 16, 16), labels(3, 2))
    assert len(seen) == len(set(seen)) == NORMS_OF_D[name]


@each_family
def test_same_seed_same_weights(name):
    first, second = (build_generator(tiny(name)) for _ in range(2) if torch.manual_seed(3))
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@each_family
def test_meta_build_has_the_same_tensors(name):
    real = build_discriminator(tiny(name)).state_dict()
    with torch.device("meta"):
        meta = build_discriminator(tiny(name)).state_dict()
    assert {k: v.shape for k, v in meta.items()} == {k: v.shape for k, v in real.items()}


@each_family
def test_one_step_down_the_gradient_lowers_the_generator_s_loss(name):
    config = tiny(name)
    g, d = build_generator(config), build_discriminator(config)
    z, y = torch.randn(8, config.dim_z), labels(3, 8)
    optimizer = torch.optim.SGD(g.parameters(), lr=1e-3)
    before = -d(g(z, y), y).mean()
    before.backward()
    optimizer.step()
    advance(g)
    assert -d(g(z, y), y).mean() < before
