"""FastGAN's networks: published counts, a slow definition from single functions of PyTorch, and what extends them."""

import copy
import dataclasses
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from orthogan.errors import UserError
from orthogan.networks.fastgan import FastGANGenerator, FastGANGeneratorConfig, FirstMap, UpBlock
from orthogan.networks.fastgan_discriminator import FastGANDiscriminator, FastGANDiscriminatorConfig, quadrants
from orthogan.nn.layers import PLAIN, bake
from orthogan.nn.noise import MODES, NoiseInjection, keys, normals
from orthogan.nn.norm import BatchNorm2d
from orthogan.nn.standing import standing_statistics

OWN = {"width": 64, "blocks": "alternating", "normalize_z": False, "head_bias": False, "init": "normal"}
"""FastGAN's own settings."""


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def generator(resolution: int = 64, n_classes: int = 0, **changes: Any) -> FastGANGenerator:
    """With noise as strong as the maps, gates that matter, and gains of norms that are not all one."""
    config = FastGANGeneratorConfig(**({"width": 4, "dim_z": 6} | changes))
    g = FastGANGenerator(config, resolution, n_classes)
    for module in g.modules():
        if isinstance(module, NoiseInjection):
            nn.init.uniform_(module.strength, 0.3, 0.6)
        if isinstance(module, BatchNorm2d) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return g


def discriminator(resolution: int = 64, n_classes: int = 0, **changes: Any) -> FastGANDiscriminator:
    return FastGANDiscriminator(FastGANDiscriminatorConfig(**({"width": 8} | changes)), resolution, n_classes)


def images(n: int, side: int) -> Tensor:
    return torch.rand(n, 3, side, side) * 2 - 1


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("resolution", "n_classes", "changes", "published"),
    [
        # At 128 Projected GAN's code has the maps of 256 too, which nothing reads.
        (128, 0, {}, 105_685_903 - 750_082),
        (256, 0, {}, 105_684_175),
        (512, 0, {}, 105_870_961),
        (1024, 0, {}, 105_884_483),
        (128, 0, {"blocks": "small"}, 79_356_035 - 676_096),
        (256, 0, {"blocks": "small"}, 79_354_307),
        (512, 0, {"blocks": "small"}, 79_522_531),
        (1024, 0, {"blocks": "small"}, 79_531_379),
        (256, 1000, {}, 110_527_689),
        (256, 1000, {"blocks": "small"}, 81_904_067),
        (256, 0, {"width": 64}, 30_622_319),
        # FastGAN's second head is 64 to 3 channels, 1x1.
        (256, 0, OWN, 29_127_846 - 64 * 3),
        (512, 0, OWN, 29_174_392 - 64 * 3),
        (1024, 0, OWN, 29_176_512 - 64 * 3),
    ],
)
def test_published_counts_of_the_generator(resolution, n_classes, changes, published):
    with torch.device("meta"):
        assert count(FastGANGenerator(FastGANGeneratorConfig(**changes), resolution, n_classes)) == published


@pytest.mark.parametrize(("resolution", "published"), [(256, 11_526_160), (512, 11_526_496), (1024, 11_528_192)])
def test_published_counts_of_the_discriminator(resolution, published):
    decoders = 1_439_712 + 2 * 849_888
    with torch.device("meta"):
        for built in (True, False):
            d = FastGANDiscriminator(FastGANDiscriminatorConfig(decoders=built), resolution, 0)
            assert count(d) == published - (0 if built else decoders)


@pytest.mark.parametrize(("resolution", "windows"), [(8, 25), (24, 81), (32, 25), (64, 25), (256, 25), (1024, 25)])
def test_shapes(resolution, windows):
    with FakeTensorMode():
        g, d = (
            FastGANGenerator(FastGANGeneratorConfig(), resolution, 10),
            FastGANDiscriminator(FastGANDiscriminatorConfig(), resolution, 10),
        )
        assert d(torch.empty(2, 3, resolution, resolution), torch.zeros(2, dtype=torch.long)).shape == (2, 2 * windows)
        assert g(torch.empty(2, 256), torch.zeros(2, dtype=torch.long)).shape == (2, 3, resolution, resolution)


@pytest.mark.parametrize("resolution", [4, 36, 100, 2048])
def test_other_resolutions_are_refused_with_the_nearest(resolution):
    for config in (FastGANGeneratorConfig(), FastGANDiscriminatorConfig()):
        with pytest.raises(UserError, match=f"resolution={resolution}.*the {config.role} needs"):
            config.check(resolution, 0)
    with pytest.raises(UserError, match="96 or 112"):
        FastGANGeneratorConfig().check(100, 0)


class Slow:
    """Of a network, single layers by name, each by one of PyTorch's functions, in training."""

    def __init__(self, network: nn.Module):
        self.state = network.state_dict()

    def weight(self, name: str) -> Tensor:
        w, u, v = (self.state[f"{name}.{kind}"] for kind in ("weight", "u", "v"))
        return w / (u @ w.flatten(1) @ v)

    def conv(self, h: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(h, self.weight(name), self.state.get(f"{name}.bias"), stride, padding)

    def norm(self, h: Tensor, name: str, e: Tensor | None = None) -> Tensor:
        h = (h - h.mean((0, 2, 3), keepdim=True)) / (h.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
        if e is None:
            gain, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
            return h * gain[:, None, None] + bias[:, None, None]
        gain, bias = (
            F.linear(e, self.weight(f"{name}.{kind}"), self.state[f"{name}.{kind}.bias"]) for kind in ("gain", "shift")
        )
        return h * (1 + gain[:, :, None, None]) + bias[:, :, None, None]

    def up(self, h: Tensor, name: str) -> Tensor:
        return self.conv(nn.UpsamplingNearest2d(scale_factor=2)(h), name, padding=1)

    def gate(self, h: Tensor, name: str) -> Tensor:
        h = self.conv(nn.AdaptiveAvgPool2d(4)(h), f"{name}.conv1")
        return nn.Sigmoid()(self.conv(nn.SiLU()(h), f"{name}.conv2"))


def glu(h: Tensor) -> Tensor:
    c = h.shape[1] // 2
    return h[:, :c] * torch.sigmoid(h[:, c:])


def slow_images(g: FastGANGenerator, z: Tensor, y: Tensor | None) -> Tensor:
    """As the specification has it, map by map."""
    slow, of = Slow(g), keys(z)
    e = None if y is None else slow.state["embedding.weight"][y]
    if g.config.normalize_z:
        z = z / (z.square().mean(1, keepdim=True) + 1e-8).sqrt()
    h = F.conv_transpose2d(z[:, :, None, None], slow.weight("first").transpose(0, 1))
    maps = {4: glu(slow.norm(h, "first_norm"))}
    side = 4
    for k in range((g.resolution // 4).bit_length() - 1):
        block, h, side = f"blocks.{k}", maps[side], 2 * side
        if g.config.blocks == "small" or (g.config.blocks == "alternating" and side in (16, 64, 256)):
            h = glu(slow.norm(slow.up(h, f"{block}.conv"), f"{block}.norm", e))
        else:
            strengths = [slow.state[f"{block}.noises.{i if y is None else 0}.strength"] for i in range(2)]
            h = slow.up(h, f"{block}.conv1") + strengths[0] * normals(of, 2 * k, 1, side, side)
            h = slow.conv(glu(slow.norm(h, f"{block}.norm1", e)), f"{block}.conv2", padding=1)
            h = h + strengths[1] * normals(of, 2 * k + 1, 1, side, side)
            h = glu(slow.norm(h, f"{block}.norm2", e))
        gated_by = {64: (0, 4), 128: (1, 8), 256: (2, 16), 512: (3, 32)}
        if side in gated_by:
            gate, small = gated_by[side]
            h = h * slow.gate(maps[small], f"gates.{gate}")
        maps[side] = h
    image = slow.conv(h, "to_rgb", padding=1)
    return image.tanh() if g.config.tanh else image


@pytest.mark.parametrize(
    ("resolution", "n_classes", "changes"),
    [
        (128, 0, {}),
        (128, 3, {}),
        (64, 3, {"blocks": "alternating", "normalize_z": False, "head_bias": False}),
        (64, 0, {"blocks": "alternating", "init": "normal", "tanh": True}),
        (128, 3, {"blocks": "small"}),
    ],
)
def test_the_generator_against_the_slow_definition(resolution, n_classes, changes):
    g = generator(resolution, n_classes, **changes)
    z, y = torch.randn(3, 6), torch.arange(3) if n_classes else None
    torch.testing.assert_close(g(z, y), slow_images(g, z, y), rtol=1e-4, atol=1e-4)


def leak(h: Tensor) -> Tensor:
    return torch.where(h > 0, h, 0.2 * h)


def slow_down(slow: Slow, h: Tensor, block: str) -> Tensor:
    main = leak(slow.norm(slow.conv(h, f"{block}.main.0", 2, 1), f"{block}.main.1"))
    main = leak(slow.norm(slow.conv(main, f"{block}.main.3", 1, 1), f"{block}.main.4"))
    direct = slow.conv(nn.AvgPool2d(2)(h), f"{block}.direct.0")
    return (main + leak(slow.norm(direct, f"{block}.direct.1"))) / 2


def slow_small(slow: Slow, x: Tensor) -> Tensor:
    """Of the branch of 128 pixels: its map of 8."""
    h = leak(slow.conv(x, "small.0", 2, 1))
    for k in (2, 5, 8):
        h = leak(slow.norm(slow.conv(h, f"small.{k}", 2, 1), f"small.{k + 1}"))
    return h


def slow_maps(slow: Slow, x: Tensor, stem: str) -> dict[int, Tensor]:
    if stem == "1024":
        h = leak(slow.conv(x, "stem.0", 2, 1))
        h = leak(slow.norm(slow.conv(h, "stem.2", 2, 1), "stem.3"))
    else:
        h = leak(slow.conv(x, "stem.0", 2 if stem == "512" else 1, 1))
    maps = {256: h}
    for k, side in enumerate((128, 64, 32, 16, 8)):
        h = slow_down(slow, h, f"blocks.{k}")
        gated_by = {32: (0, 256), 16: (1, 128), 8: (2, 64)}
        if side in gated_by:
            h = h * slow.gate(maps[gated_by[side][1]], f"gates.{gated_by[side][0]}")
        maps[side] = h
    return maps


@pytest.mark.parametrize("resolution", [256, 512, 1024])
def test_the_discriminator_against_the_slow_definition(resolution):
    d, x = discriminator(resolution, width=8 if resolution < 1024 else 2), images(2, resolution)
    slow, small = Slow(d), x[:, :, :: resolution // 128, :: resolution // 128]
    h = slow_maps(slow, x, str(resolution))[8]
    whole = slow.conv(leak(slow.norm(slow.conv(h, "joint.0"), "joint.1")), "head.conv")
    expected = torch.cat([whole.flatten(1), slow.conv(slow_small(slow, small), "small_head.conv").flatten(1)], 1)
    assert expected.shape == (2, 50)
    torch.testing.assert_close(d(x), expected, rtol=1e-4, atol=1e-4)


def slow_decoded(slow: Slow, h: Tensor, name: str) -> Tensor:
    for k in range(4):
        h = glu(slow.norm(slow.up(h, f"{name}.blocks.{k}.conv"), f"{name}.blocks.{k}.norm"))
    return slow.conv(h, f"{name}.to_rgb", padding=1).tanh()


def test_the_decoders_against_the_slow_definition():
    d, x, parts = discriminator(256, decoders=True), images(2, 256), torch.tensor([1, 2])
    slow, small = Slow(d), x[:, :, ::2, ::2]
    maps = slow_maps(slow, x, "256")
    corners = torch.stack([maps[16][0, :, :8, 8:], maps[16][1, :, 8:, :8]])
    found = d.reconstruct(x, parts)
    for (target, made), expected, wanted in zip(
        found,
        [
            slow_decoded(slow, maps[8], "decoder"),
            slow_decoded(slow, slow_small(slow, small), "small_decoder"),
            slow_decoded(slow, corners, "part_decoder"),
        ],
        [small, small, torch.stack([x[0, :, :128, 128:], x[1, :, 128:, :128]])],
        strict=True,
    ):
        torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)
        assert torch.equal(target, wanted)


def test_targets_at_512_pixels_are_resized_quadrants():
    d, x = discriminator(512, decoders=True, width=2), images(2, 512)
    (whole, _), _, (part, _) = d.reconstruct(x, torch.tensor([3, 0]))
    assert torch.equal(whole, x[:, :, ::4, ::4])
    assert torch.equal(part, torch.stack([x[0, :, 256::2, 256::2], x[1, :, :256:2, :256:2]]))


@pytest.mark.parametrize("resolution", [16, 24, 32, 64, 128])
def test_below_256_pixels_everything_small_is_half_of_the_side(resolution):
    d = discriminator(resolution, decoders=True, width=2)
    for target, made in d.reconstruct(images(2, resolution), torch.tensor([0, 3])):
        assert made.shape == target.shape == (2, 3, resolution // 2, resolution // 2)


def test_quadrants_by_hand():
    x = torch.arange(16.0).view(1, 1, 4, 4).expand(4, 1, 4, 4)
    expected = [[[0, 1], [4, 5]], [[2, 3], [6, 7]], [[8, 9], [12, 13]], [[10, 11], [14, 15]]]
    assert quadrants(x, torch.arange(4))[:, 0].tolist() == expected


def test_decoders_offer_reconstructions_and_need_parts():
    assert FastGANDiscriminatorConfig(decoders=True).offers == {"reconstructions"}
    assert not FastGANDiscriminatorConfig().offers
    with pytest.raises(UserError, match="decoders=True: need 16 pixels"):
        FastGANDiscriminatorConfig(decoders=True).check(8, 0)


def test_sigma_of_the_first_map_is_that_of_a_transposed_convolution():
    ours = FirstMap(5, 6, 4, sn_eps=1e-12)
    theirs = nn.utils.spectral_norm(nn.ConvTranspose2d(5, 6, 4, bias=False), eps=1e-12)
    assert len(theirs.weight_u) == len(ours.u) == 6
    with torch.no_grad():
        theirs.weight_orig.copy_(ours.weight.transpose(0, 1))
        theirs.weight_u.copy_(ours.u)
    z = torch.randn(3, 5)
    expected = theirs(z[:, :, None, None])  # iterates once
    ours.power_iteration()
    torch.testing.assert_close(ours(z), expected)
    ours.power_iteration(100)
    torch.testing.assert_close(ours.sigma(), torch.linalg.matrix_norm(ours.weight.flatten(1), 2))


def test_first_weights_are_those_of_a_transposed_convolution_and_fastgan_s_own_are_normal():
    bound = nn.ConvTranspose2d(5, 64, 4, bias=False).weight.abs().max()
    torch.testing.assert_close(FirstMap(5, 64, 4, 1e-12).weight.abs().max(), bound, rtol=0.01, atol=0)
    own = FastGANGenerator(FastGANGeneratorConfig(width=8, dim_z=16, init="normal"), 16, 0)
    for weight in (own.first.weight, own.blocks[0].conv1.weight):
        assert abs(weight.std() - 0.02) < 0.0005
    gains = torch.cat([m.weight for m in own.modules() if isinstance(m, BatchNorm2d)])
    assert abs(gains.mean() - 1) < 0.005
    assert abs(gains.std() - 0.02) < 0.005


def test_a_small_block_by_hand():
    """x doubled, times sigmoid(2x): the centre of one kernel is 1, of the other 2."""
    block = UpBlock(1, 1, nn.Identity(), PLAIN)  # type: ignore[arg-type]
    block.norm.forward = lambda h, condition: h  # type: ignore[method-assign]
    with torch.no_grad():
        block.conv.weight.zero_()
        block.conv.weight[:, 0, 1, 1] = torch.tensor([1.0, 2.0])
    x = torch.tensor([[[[0.0, 1.0]]]])
    one = 1 / (1 + 2.718281828**-2)
    torch.testing.assert_close(block(x)[0, 0], torch.tensor([[0.0, 0.0, one, one]] * 2))


def collected(g: FastGANGenerator) -> FastGANGenerator:
    y = torch.arange(16) % g.n_classes if g.n_classes else None
    standing_statistics(g, lambda: (g(torch.randn(16, 6), y) for _ in range(2)))
    return g.eval()


@torch.no_grad()
def test_in_evaluation_an_image_depends_on_its_latent_alone():
    g, z = collected(generator()), torch.randn(4, 6)
    torch.testing.assert_close(g(z)[1:3], g(z[1:3]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(g(z.flip(0)), g(z).flip(0), rtol=1e-4, atol=1e-5)
    d, x = discriminator().eval(), images(3, 64)
    torch.testing.assert_close(d(x)[:1], d(x[:1]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_modes_of_noise():
    """On one sphere and with one direction z and 3 z differ in their noise alone."""
    g, z = collected(generator()), torch.randn(2, 6)
    assert g.noise_modes == MODES
    made = {}
    for g.noise in MODES:
        made[g.noise] = g(z)
        assert torch.equal(g(z), made[g.noise])
        same = torch.allclose(g(3 * z), made[g.noise], rtol=1e-3, atol=1e-4)
        assert same == (g.noise != "random")
    assert all(not torch.allclose(a, b, atol=1e-2) for a, b in itertools.combinations(made.values(), 2))


def test_only_small_blocks_have_no_noise():
    g = generator(16, blocks="small")
    with pytest.raises(UserError, match="no noise inside"):
        g.check_noise("random")
    assert generator(16, blocks="alternating").noise_modes == MODES


def test_a_block_with_classes_has_one_strength_for_both_noises():
    g, z = generator(8, n_classes=2, width=1), torch.randn(2, 6)
    (block,) = g.blocks
    assert len(block.noises) == 1
    added: list[Tensor] = []
    block.norm1.register_forward_pre_hook(lambda module, inputs: added.append(inputs[0][:, 0]))
    block.norm2.register_forward_pre_hook(lambda module, inputs: added.append(inputs[0][:, 0]))
    for conv in (block.conv1, block.conv2):
        conv._kernel = torch.zeros_like(conv.make_kernel())
    g(z, torch.arange(2))
    for layer, found in enumerate(added):
        torch.testing.assert_close(found, block.noises[0].strength * normals(keys(z), layer, 8, 8))


def test_weights_mix_the_embeddings_of_classes():
    g = generator(16, n_classes=3, blocks="small")
    z, y = torch.randn(3, 6), torch.tensor([2, 0, 1])
    torch.testing.assert_close(g(z, torch.eye(3)[y]), g(z, y))
    half = torch.tensor([[0.5, 0.5, 0.0]]).expand(3, 3)
    with torch.no_grad():
        mixed = g(z, half)
        g.embedding.weight[2] = (g.embedding.weight[0] + g.embedding.weight[1]) / 2
        torch.testing.assert_close(g(z, torch.full((3,), 2)), mixed, rtol=1e-4, atol=1e-5)


def test_a_class_adds_the_same_to_a_logit_wherever_the_window_is():
    """Of maps of ones, the sum of the embedding; the heads of both branches have one."""
    head = discriminator(16, n_classes=3).head
    h, y = torch.ones(3, 128, 8, 8), torch.arange(3)
    plain = head.conv(h).flatten(1)
    torch.testing.assert_close(
        head(h, y), plain + head.embedding(y).sum(1, keepdim=True).expand(3, 25), rtol=1e-4, atol=1e-4
    )


def test_recomputed_blocks_give_the_same_gradients():
    g = generator(64, n_classes=3)
    again = copy.deepcopy(g)
    again.checkpoint_blocks = True
    z, y = torch.randn(3, 6), torch.arange(3)
    for network in (g, again):
        network(z, y).square().mean().backward()
    for (name, p), q in zip(g.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, msg=lambda text, n=name: f"{n}: {text}")


@torch.no_grad()
def test_kept_kernels_and_bf16_give_the_same_images():
    g, z = collected(generator()), torch.randn(2, 6)
    plain = g(z)
    bake(g)
    torch.testing.assert_close(g(z), plain, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert (g(z) - plain).abs().mean() < 0.05 * plain.abs().mean()
    with torch.autocast("cpu", torch.bfloat16):
        assert discriminator()(images(2, 64)).dtype == torch.float32


def test_the_discriminator_is_differentiable_twice():
    d, x = discriminator(16), images(2, 16).requires_grad_()
    (gradient,) = torch.autograd.grad(d(x).sin().sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert d.stem[0].weight.grad.any()


def test_noise_draws_nothing_in_a_forward():
    g, z = generator(16), torch.randn(2, 6)
    state = torch.get_rng_state()
    g(z)
    assert torch.equal(torch.get_rng_state(), state)


def test_settings_that_make_no_network_are_refused():
    for config in (FastGANGeneratorConfig(), FastGANDiscriminatorConfig()):
        with pytest.raises(UserError, match="width=0"):
            dataclasses.replace(config, width=0)
    with pytest.raises(UserError, match="blocks='huge': must be one of"):
        FastGANGeneratorConfig(blocks="huge")  # type: ignore[arg-type]
