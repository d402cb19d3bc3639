"""What holds for every network: each test runs over a table."""

import dataclasses
from typing import Any

import pytest
import torch

from orthogan.errors import UserError
from orthogan.networks import DISCRIMINATORS, GENERATORS, build_discriminator, build_generator, family_of, find
from orthogan.networks.base import Discriminator, Generator, StyleGenerator
from orthogan.nn.apart import apart, couplings
from orthogan.nn.classes import ClassTable
from orthogan.nn.norm import BatchNorm2d
from orthogan.presets import PRESETS, get

SIDE = 16
each_generator = pytest.mark.parametrize("name", GENERATORS)
each_discriminator = pytest.mark.parametrize("name", DISCRIMINATORS)
each_network = pytest.mark.parametrize(
    ("role", "name"),
    [("generator", name) for name in GENERATORS] + [("discriminator", name) for name in DISCRIMINATORS],
)
with_and_without_classes = pytest.mark.parametrize("n_classes", [0, 3])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def generator(name: str, n_classes: int = 3) -> Generator:
    return build_generator(GENERATORS[name].tiny, SIDE, n_classes)


def discriminator(name: str, n_classes: int = 3, **changes: Any) -> Discriminator:
    return build_discriminator(dataclasses.replace(DISCRIMINATORS[name].tiny, **changes), SIDE, n_classes)


def build(role: str, name: str, n_classes: int = 3) -> Any:
    return generator(name, n_classes) if role == "generator" else discriminator(name, n_classes)


def inputs(network: Any, n: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    y = torch.arange(n) % network.n_classes if network.n_classes else None
    return torch.randn((n, network.dim_z) if isinstance(network, Generator) else (n, 3, SIDE, SIDE)), y


@each_network
def test_a_network_is_found_by_its_configuration_and_by_its_name(role, name):
    row = find(role, name)
    assert family_of(row.tiny) == name
    assert row.tiny.role == role
    assert type(build(role, name)) is row.network


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UserError, match="unknown generator 'bigan'; did you mean 'biggan'"):
        find("generator", "bigan")


@with_and_without_classes
@each_network
def test_gradients_reach_every_parameter(role, name, n_classes):
    network = build(role, name, n_classes)
    for parameter_name, p in network.named_parameters():
        if parameter_name.endswith("gamma"):
            p.data.fill_(0.5)  # from 0 the projections of attention get no gradient
    x, y = inputs(network, 6)
    network(x.requires_grad_(), y).sin().sum().backward()
    assert x.grad.any()
    trained = {k: p for k, p in network.named_parameters() if p.requires_grad}
    assert not [k for k, p in trained.items() if p.grad is None or not p.grad.any()]
    assert all(p.grad.isfinite().all() for p in trained.values())


@with_and_without_classes
@each_generator
def test_shapes_and_ranges_of_images(name, n_classes):
    g = generator(name, n_classes)
    images = g(*inputs(g, 2))
    assert images.shape == (2, 3, SIDE, SIDE)
    # Without a tanh at its end, as StyleGAN2 has none, an untrained generator is only about in the range.
    assert images.abs().max() <= (5 if isinstance(g, StyleGenerator) else 1)


@with_and_without_classes
@each_discriminator
def test_one_row_of_logits_an_image(name, n_classes):
    d = discriminator(name, n_classes)
    logits = d(*inputs(d, 2))
    assert len(logits) == 2
    assert logits.ndim <= 2
    assert logits.dtype == torch.float32


@each_generator
def test_the_class_and_the_latent_both_matter_to_g(name):
    g = generator(name)
    z, y = inputs(g, 4)
    for table in (m for m in g.modules() if isinstance(m, ClassTable)):
        torch.nn.init.normal_(table.weight)  # SN-GAN starts with all classes alike
    images = g(z, y)
    assert not torch.allclose(images, g(z, (y + 1) % 3))
    assert not torch.allclose(images, g(z.flip(0), y))


@each_generator
def test_weights_of_one_class_are_that_class(name):
    g = generator(name)
    z, y = inputs(g, 3)
    torch.testing.assert_close(g(z, torch.eye(3)[y]), g(z, y), rtol=1e-3, atol=1e-4)


@each_discriminator
def test_the_class_matters_to_d(name):
    d = discriminator(name)
    x, y = inputs(d, 4)
    assert not torch.allclose(d(x, y), d(x, (y + 1) % 3))


@each_discriminator
def test_halves_of_a_batch_that_are_kept_apart_have_the_logits_of_two_batches(name):
    settings = [{"stabilizer": "none"}, {"stabilizer": "batch-norm"}] if has_stabilizer(name) else [{}]
    for changes in settings:
        d = discriminator(name, **changes)
        x, y = inputs(d, 6)
        x[3:] *= 0.5
        two = torch.cat([d(x[:3], y[:3]), d(x[3:], y[3:])])
        with apart(d, 2):
            torch.testing.assert_close(d(x, y), two, rtol=1e-3, atol=1e-5, msg=str(changes))
        alone = torch.allclose(d(x, y), two, rtol=1e-3, atol=1e-5)
        assert bool(couplings(d)) != alone, changes


def has_stabilizer(name: str) -> bool:
    return DISCRIMINATORS[name].tiny.stabilizer is not None


NORMS_OF_D = {
    "biggan": 2 * 3 - 1,  # two a block, but none on the image
    "biggan-deep": 4 * 2 * 2,  # four a block, two blocks a stage, behind a first convolution
    "sngan": 2 * 4 - 1,
    "sngan-cnn": 7 - 1,
}


@pytest.mark.parametrize(("stabilizer", "kind"), [("batch-norm", BatchNorm2d), ("layer-norm", torch.nn.GroupNorm)])
@pytest.mark.parametrize("name", NORMS_OF_D)
def test_a_normalised_discriminator_has_a_norm_before_each_activation_but_the_image_s(name, stabilizer, kind):
    d = discriminator(name, stabilizer=stabilizer)
    seen = []
    for norm in (m for m in d.modules() if isinstance(m, kind)):
        norm.register_forward_hook(lambda module, inputs, output: seen.append(module))
    d(torch.randn(2, 3, 16, 16), torch.arange(2))
    assert len(seen) == len(set(seen)) == NORMS_OF_D[name]


@each_network
def test_same_seed_same_weights(role, name):
    first, second = (build(role, name).state_dict() for _ in range(2) if torch.manual_seed(3))
    assert all(torch.equal(a, b) for a, b in zip(first.values(), second.values(), strict=True))


@each_network
def test_meta_build_has_the_same_tensors(role, name):
    real = build(role, name).state_dict()
    with torch.device("meta"):
        meta = build(role, name).state_dict()
    assert {k: v.shape for k, v in meta.items()} == {k: v.shape for k, v in real.items()}


@each_network
def test_a_forward_writes_nothing(role, name):
    network = build(role, name)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network(*inputs(network, 2))
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@each_generator
def test_one_step_down_the_gradient_lowers_the_generator_s_loss(name):
    g, d = generator(name), discriminator("biggan")
    z, y = inputs(g, 8)
    optimizer = torch.optim.SGD(g.parameters(), lr=1e-3)
    before = -d(g(z, y), y).mean()
    before.backward()
    optimizer.step()
    g.before_update()
    assert -d(g(z, y), y).mean() < before


@pytest.mark.parametrize("resolution", [8, 16, 24, 32, 48, 64, 96, 128, 160, 256, 512, 1024])
@each_network
def test_a_network_that_is_given_by_its_name_fits_any_usual_resolution(role, name, resolution):
    config = find(role, name).config.at(resolution)
    config.check(resolution, 10)
    with torch.device("meta"):
        (build_generator if role == "generator" else build_discriminator)(config, resolution, 10)


@pytest.mark.parametrize("name", [n for n in PRESETS if n.startswith(("biggan", "sngan")) and "studiogan" not in n])
def test_by_its_name_a_network_has_the_shape_of_its_preset(name):
    """But for the smaller networks of the dog and cat runs at 128 px, and what is not a shape."""
    run = get(name)
    for role in ("generator", "discriminator"):
        preset = getattr(run, role)
        begun = type(preset).at(run.resolution)
        for field in ("channels", "downs", "attention"):
            if hasattr(preset, field) and name != "sngan-128-small":
                assert getattr(begun, field) == getattr(preset, field), (role, field)
