"""BigGAN's two networks against plain definitions, and the refusals of its configuration."""

from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny import changed
from torch import Tensor, nn

from orthogan.errors import UserError
from orthogan.networks.biggan import BigGANDiscriminator, BigGANGenerator
from orthogan.networks.common import first_side
from orthogan.nn.classes import look_up
from orthogan.nn.layers import bake
from orthogan.nn.norm import BatchNorm2d, ConditionalBatchNorm2d, norm_layers
from orthogan.nn.spectral import SpectralNorm, advance, normalized_layers
from orthogan.nn.standing import standing_statistics
from orthogan.pair import build_pair
from orthogan.presets import get
from orthogan.settings import override

CLOSE = {"rtol": 1e-3, "atol": 1e-4}
SMALL: dict[str, Any] = {
    "resolution": 16,
    "n_classes": 5,
    "width": 4,
    "g_channels": (4, 2, 2),
    "d_channels": (2, 4, 4),
    "d_downs": 2,
    "g_attention": 8,
    "d_attention": 8,
    "dim_z": 12,
    "shared_dim": 6,
}
NO_CLASSES = {"n_classes": 0}
NOT_SHARED = {"shared_embedding": False, "skip_z": False}
VARIANTS = {
    "published": {},
    "z-not-split": {"skip_z": False},
    "not-shared": NOT_SHARED,
    "no-classes": NO_CLASSES,
    "no-classes-z-not-split": {**NO_CLASSES, "skip_z": False},
    "no-classes-not-shared": {**NO_CLASSES, **NOT_SHARED},
    "attention-late": {"g_attention": 16, "d_attention": 4, "d_channels": (2, 4)},
    "nothing-halved": {"d_channels": (2,), "d_downs": 0, "d_attention": 16},
    "no-attention": {"g_attention": 0, "d_attention": 0},
}
each_variant = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def small(**changes: Any) -> Any:
    """A run whose networks are BigGAN's."""
    return changed(get("biggan-128"), **{**SMALL, **changes})


def generator(**changes: Any) -> Any:
    return build_pair(small(**changes))[0]


def discriminator(**changes: Any) -> Any:
    return build_pair(small(**changes))[1]


def ready(network: nn.Module) -> Any:
    """Converged singular vectors; biases, gammas and final gains that would be missed."""
    advance(network, 200)
    for name, p in network.named_parameters():
        if p.ndim < 2:
            nn.init.normal_(p, mean=1.0 if "weight" in name else 0.0, std=0.5)
    return network


def inputs(network: Any, n: int = 4, dim_z: int = 12) -> tuple[Tensor, Tensor | None]:
    y = torch.arange(n) % network.n_classes if network.n_classes else None
    return torch.randn(n, dim_z), y


# The networks as the specification has them (1.2 to 1.7, 4.1, 4.2): plain operations in the published order, sigma
# from the SVD.


def weight(layer: nn.Module) -> Tensor:
    return layer.weight / torch.linalg.svdvals(layer.weight.flatten(1))[0]


def conv(layer: nn.Module, x: Tensor) -> Tensor:
    return F.conv2d(x, weight(layer), layer.bias, padding=layer.weight.shape[-1] // 2)


def attend(layer: nn.Module, x: Tensor) -> Tensor:
    theta = conv(layer.theta, x).flatten(2)
    phi = F.max_pool2d(conv(layer.phi, x), 2).flatten(2)
    g = F.max_pool2d(conv(layer.g, x), 2).flatten(2)
    beta = torch.softmax(torch.bmm(theta.transpose(1, 2), phi), -1)
    mixed = torch.bmm(g, beta.transpose(1, 2)).view(len(x), -1, *x.shape[2:])
    return x + layer.gamma * conv(layer.o, mixed)


def batch_norm(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
    shape = (-1, x.shape[1], 1, 1)
    return (x - mean) / torch.sqrt(var + 1e-4) * gain.view(shape) + bias.view(shape)


def conditioned(layer: nn.Module, x: Tensor, condition: Tensor | None) -> Tensor:
    if condition is None:
        return batch_norm(x, layer.weight, layer.bias)
    if condition.is_floating_point():
        return batch_norm(x, 1 + condition @ weight(layer.gain).T, condition @ weight(layer.shift).T)
    return batch_norm(x, 1 + layer.gain.weight[condition], layer.shift.weight[condition])


def generator_as_published(g: BigGANGenerator, z: Tensor, y: Tensor | None) -> Tensor:
    config = g.config
    chunks = list(z.chunk(len(g.blocks) + 1, 1)) if config.skip_z else [z]
    shared = g.embedding.weight[y] if g.embedding is not None else y
    h = F.linear(chunks[0], weight(g.linear), g.linear.bias).view(len(z), -1, g.base, g.base)
    for i, block in enumerate(g.blocks):
        condition = shared
        if config.skip_z:
            condition = chunks[i + 1] if shared is None else torch.cat([shared, chunks[i + 1]], 1)
        x = F.interpolate(F.relu(conditioned(block.norm1, h, condition)), scale_factor=2)
        x = conv(block.conv1, x)
        x = conv(block.conv2, F.relu(conditioned(block.norm2, x, condition)))
        h = x + conv(block.skip, F.interpolate(h, scale_factor=2))
        if h.shape[-1] == config.attention:
            h = attend(g.attention, h)
    h = F.relu(batch_norm(h, g.norm.weight, g.norm.bias))
    return torch.tanh(conv(g.to_rgb, h))


def discriminator_as_published(d: BigGANDiscriminator, x: Tensor, y: Tensor | None) -> Tensor:
    for i, block in enumerate(d.blocks):
        h = conv(block.conv2, F.relu(conv(block.conv1, F.relu(x) if i else x)))
        skip = x
        if i < d.config.downs:
            h = F.avg_pool2d(h, 2)
            skip = conv(block.skip, F.avg_pool2d(x, 2)) if i == 0 else F.avg_pool2d(conv(block.skip, x), 2)
        elif block.skip is not None:
            skip = conv(block.skip, x)
        x = h + skip
        if x.shape[-1] == d.config.attention:
            x = attend(d.attention, x)
    h = F.relu(x).sum((2, 3))
    logits = F.linear(h, weight(d.head.linear), d.head.linear.bias).squeeze(1)
    return logits if y is None else logits + (weight(d.head.embedding)[y] * h).sum(1)


@each_variant
def test_generator_equals_its_plain_definition(changes):
    g = ready(generator(**changes))
    z, y = inputs(g)
    torch.testing.assert_close(g(z, y), generator_as_published(g, z, y), **CLOSE)


@each_variant
def test_discriminator_equals_its_plain_definition(changes):
    d = ready(discriminator(**changes))
    x, (_, y) = torch.randn(4, 3, 16, 16), inputs(d)
    torch.testing.assert_close(d(x, y), discriminator_as_published(d, x, y), **CLOSE)


@each_variant
def test_images_are_within_minus_one_and_one(changes):
    g = generator(**changes)
    z, y = inputs(g)
    images = g(20 * z, y)
    assert images.shape == (4, 3, 16, 16)
    assert images.abs().max() <= 1


def test_first_layer_sees_the_first_chunk_and_each_block_its_own():
    g = generator()
    z, y = torch.arange(24.0).view(2, 12), torch.tensor([3, 1])
    first, *conditions = g.conditions(z, y)
    assert torch.equal(first, z[:, :4])
    for i, condition in enumerate(conditions, start=1):
        assert torch.equal(condition[:, :6], g.embedding.weight[y])
        assert torch.equal(condition[:, 6:], z[:, 4 * i : 4 * i + 4])
    assert len(conditions) == len(g.blocks)


def test_without_a_split_every_block_sees_the_class_and_the_first_layer_all_of_z():
    g = generator(skip_z=False)
    z, y = inputs(g)
    first, *conditions = g.conditions(z, y)
    assert torch.equal(first, z)
    assert all(torch.equal(condition, g.embedding.weight[y]) for condition in conditions)


@pytest.mark.parametrize("changes", [{}, {"skip_z": False}, NOT_SHARED], ids=["published", "z-not-split", "not-shared"])
def test_weights_of_one_class_are_that_class(changes):
    g = generator(**changes)
    z, y = inputs(g)
    torch.testing.assert_close(g(z, F.one_hot(y, 5).float()), g(z, y), **CLOSE)


def test_a_mixture_of_classes_is_the_mixture_of_their_rows():
    table = nn.Embedding(3, 4)
    mixed = look_up(table, torch.tensor([[0.25, 0.0, 0.75]]))
    torch.testing.assert_close(mixed[0], 0.25 * table.weight[0] + 0.75 * table.weight[2])


def test_head_of_the_discriminator_by_hand():
    """Linear + <embedding, h>, h summed over pixels: with sigma 1, a weight of ones and one class row of threes."""
    d = discriminator(width=1, n_classes=2, d_channels=(2,), d_downs=1, d_attention=0, g_attention=0)
    for layer, values in ((d.head.linear, [[1.0, 0.0]]), (d.head.embedding, [[0.0, 0.5], [0.0, 1.0]])):
        layer.weight.data = torch.tensor(values)
        advance(layer, 50)
    d.head.linear.bias.data.fill_(10)
    d.blocks[0].forward = lambda x: torch.tensor([2.0, 3.0]).view(1, 2, 1, 1).expand(len(x), 2, 8, 8)
    logits = d(torch.zeros(2, 3, 16, 16), torch.tensor([0, 1]))
    # 64 pixels: h = (128, 192). The table's sigma is sqrt(0.25 + 1).
    sigma = 1.25**0.5
    assert logits.tolist() == pytest.approx([138 + 0.5 * 192 / sigma, 138 + 192 / sigma], rel=1e-5)


def test_the_last_norm_is_a_plain_one_and_all_others_are_conditional():
    g = generator()
    assert type(g.norm) is BatchNorm2d
    assert {type(norm) for norm in norm_layers(g) if norm is not g.norm} == {ConditionalBatchNorm2d}
    assert len(norm_layers(g)) == 2 * len(g.blocks) + 1


def test_projections_to_gain_and_bias_have_no_bias_and_see_embedding_and_chunk():
    norm = generator().blocks[0].norm1
    for projection in (norm.gain, norm.shift):
        assert projection.bias is None
        assert projection.weight.shape == (16, 6 + 4)
        assert isinstance(projection, SpectralNorm)


def test_class_tables_of_the_variant_without_a_shared_embedding_are_not_normalised():
    g = generator(**NOT_SHARED)
    norm = g.blocks[0].norm1
    assert g.embedding is None
    assert norm.gain.weight.shape == norm.shift.weight.shape == (5, 16)
    assert not isinstance(norm.gain, SpectralNorm)


@pytest.mark.parametrize("network", [generator, discriminator])
def test_orthogonal_weights_have_sigma_one_at_step_0(network):
    for name, layer in normalized_layers(network()):
        assert layer.sigma().item() == pytest.approx(1, abs=1e-4), name


@pytest.mark.parametrize("init", ["normal", "xavier"])
def test_other_initial_weights_can_be_chosen(init):
    g = generator(init=init)
    assert not torch.allclose(torch.linalg.svdvals(g.linear.weight), torch.ones(4), atol=0.1)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("network", [generator, discriminator])
def test_a_forward_leaves_every_tensor_of_the_state_alone(network, training):
    model = network().train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    z, y = inputs(model)
    model(z if network is generator else torch.randn(4, 3, 16, 16), y)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_an_image_in_evaluation_does_not_depend_on_its_batch():
    g = generator()
    z, y = inputs(g, 8)
    standing_statistics(g, lambda: (g(*inputs(g, 8)) for _ in range(2)))
    g.eval()
    with torch.no_grad():
        torch.testing.assert_close(g(z, y)[:3], g(z[:3], y[:3]), rtol=1e-4, atol=1e-5)


@each_variant
def test_recomputed_blocks_give_the_same_gradients(changes):
    g = generator(**changes)
    z, y = inputs(g)
    grads = []
    for g.checkpoint_blocks in (False, True):
        g.zero_grad()
        g(z, y).square().sum().backward()
        grads.append([p.grad.clone() for p in g.parameters()])
    for plain, recomputed in zip(*grads, strict=True):
        torch.testing.assert_close(recomputed, plain)


def test_two_forwards_before_one_backward():
    g, d = generator(), discriminator()
    z, y = inputs(g)
    (d(g(z, y), y) + d(g(-z, y), y)).sum().backward()
    assert all(p.grad.isfinite().all() for p in (*g.parameters(), *d.parameters()))


@pytest.mark.parametrize("network", [generator, discriminator])
def test_bf16_stays_near_float32(network):
    model = network(width=8)
    z, y = inputs(model)
    x = z if network is generator else torch.randn(4, 3, 16, 16)
    full = model(x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = model(x, y).float()
    assert (half - full).norm() / full.norm() < 0.05


def test_logits_are_float32_inside_autocast():
    d = discriminator()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert d(torch.randn(2, 3, 16, 16), torch.tensor([0, 1])).dtype == torch.float32


@pytest.mark.parametrize(
    "network",
    [generator, discriminator],
)
def test_baked_networks_work_in_bf16(network):
    model = network()
    z, y = inputs(model)
    x = z if network is generator else torch.randn(4, 3, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = model(x, y).float()
        bake(model)
        assert (model(x, y).float() - expected).norm() / expected.norm() < 0.02


# Sizes and refusals.


@pytest.mark.parametrize(
    ("preset", "resolution", "base"),
    [("biggan-32", 48, 6), ("biggan-64", 96, 6), ("biggan-128", 96, 3), ("biggan-128", 160, 5), ("biggan-64", 16, 1)],
)
def test_other_multiples_of_a_base_work(preset, resolution, base):
    tiny = {"width": 1, "n_classes": 3, "shared_dim": 4, "g_attention": 0, "d_attention": 0}
    g, d = build_pair(changed(get(preset), resolution=resolution, **tiny))
    assert g.base == base
    z, y = inputs(g, 2, g.dim_z)
    images = g(z, y)
    assert images.shape == (2, 3, resolution, resolution)
    assert d(images, y).shape == (2,)


def test_resolutions_of_the_blocks():
    run = get("biggan-256")
    assert first_side(run.generator.channels, 256) == 4
    assert list(run.generator.maps(256)) == [8, 16, 32, 64, 128, 256]
    assert list(run.discriminator.maps(256)) == [128, 64, 32, 16, 8, 4]


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("resolution", 100, "a multiple of 32: 96 or 128"),
        ("resolution", 20, "a multiple of 32: 32;"),
        ("resolution", 0, "must be positive"),
        ("generator.width", 0, "must be positive"),
        ("n_classes", -1, "must not be negative"),
        ("generator.dim_z", 128, "first layer and 5 blocks: try 126 or 132"),
        ("generator.dim_z", 0, "must be positive"),
        ("generator.shared_dim", 0, "must be positive"),
        ("generator.attention", 48, "8, 16, 32, 64, 128"),
        ("generator.attention", 4, "8, 16, 32, 64, 128"),
        ("discriminator.attention", 128, "64, 32, 16, 8, 4"),
        ("discriminator.downs", 7, "the 6 blocks of discriminator.channels"),
        ("discriminator.downs", -1, "discriminator.channels"),
    ],
)
def test_a_bad_setting_of_128_px_is_refused_with_a_way_out(setting, value, told):
    with pytest.raises(UserError) as error:
        override(get("biggan-128"), {setting: value})
    assert str(error.value).startswith(f"{setting}={value}: ")
    assert told in str(error.value)


@pytest.mark.parametrize("dim_z", [126, 132])
def test_the_latents_that_the_refusal_offers_are_accepted(dim_z):
    assert changed(get("biggan-128"), dim_z=dim_z).generator.dim_chunk == dim_z // 6


def test_a_split_latent_without_a_shared_embedding_is_refused():
    with pytest.raises(UserError, match=r"generator\.skip_z=True: needs generator\.shared_embedding"):
        small(shared_embedding=False)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("g_channels", ()),
        ("d_channels", ()),
        ("g_channels", (4, 0, 2)),
        ("d_channels", (2, -4, 4)),
        ("bn_eps", 0.0),
        ("sn_eps", -1.0),
    ],
)
def test_impossible_shapes_are_refused(setting, value):
    changes = {"d_downs": 0, "d_attention": 0} if setting == "d_channels" else {}
    path = setting.replace("g_", "generator.").replace("d_", "discriminator.")
    with pytest.raises(UserError, match=path):
        small(**{setting: value, **changes})


@pytest.mark.parametrize(("setting", "other"), [("g_attention", "d_attention"), ("d_attention", "g_attention")])
def test_attention_on_too_few_channels_is_refused(setting, other):
    path = setting.replace("g_", "generator.").replace("d_", "discriminator.")
    with pytest.raises(UserError, match=path):
        small(width=1, **{other: 0})


def test_attention_counts_the_channels_of_its_own_map():
    shape = {"g_channels": (1, 2, 3), "d_channels": (2, 3, 3)}  # 8 at 8 px; 4 and 12 elsewhere
    assert generator(**shape).attention.theta.in_channels == 8
    assert discriminator(**shape).attention.theta.in_channels == 8


@pytest.mark.parametrize(
    "network",
    [generator, discriminator],
)
def test_a_network_with_classes_asks_for_labels(network):
    x = torch.randn(2, 12) if network is generator else torch.randn(2, 3, 16, 16)
    with pytest.raises(ValueError, match="needs labels"):
        network()(x)


def test_widths_of_the_discriminator_are_wide():
    d = discriminator()
    widths = [3, 8, 16, 16]
    for block, (i, o) in zip(d.blocks, pairwise(widths), strict=True):
        assert block.conv1.weight.shape == (o, i, 3, 3)
        assert block.conv2.weight.shape == (o, o, 3, 3)
    assert d.blocks[-1].skip is None
