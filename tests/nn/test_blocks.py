"""Blocks and attention against plain definitions in the published order."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.nn.blocks import DBlock, GBlock, SelfAttention, attend
from orthogan.nn.norm import BatchNorm2d, ConditionalBatchNorm2d
from orthogan.nn.spectral import SNConv2d, SNLinear, advance, spectral
from orthogan.nn.stabilizers import parts

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def ready(block: nn.Module) -> nn.Module:
    """Converged singular vectors, and biases that would be missed."""
    advance(block, 100)
    for layer in block.modules():
        if isinstance(layer, SNConv2d) and layer.bias is not None:
            nn.init.normal_(layer.bias)
    return block


def conv(layer: SNConv2d, x: Tensor) -> Tensor:
    """The layer as published: weight over the SVD's sigma, no resampling folded in."""
    weight = layer.weight / torch.linalg.svdvals(layer.weight.flatten(1))[0]
    return F.conv2d(x, weight, layer.bias, padding=layer.kernel_size[0] // 2)


def attention_by_definition(layer: SelfAttention, x: Tensor) -> Tensor:
    """Specification 1.2, pixel by pixel: for each query a softmax over all keys."""
    theta, phi, g = conv(layer.theta, x), F.max_pool2d(conv(layer.phi, x), 2), F.max_pool2d(conv(layer.g, x), 2)
    out = torch.zeros(x.shape[0], x.shape[1] // 2, *x.shape[2:])
    places = [(i, j) for i in range(phi.shape[2]) for j in range(phi.shape[3])]
    for n in range(x.shape[0]):
        for i in range(x.shape[2]):
            for j in range(x.shape[3]):
                scores = torch.stack([theta[n, :, i, j] @ phi[n, :, a, b] for a, b in places])
                weights = torch.exp(scores) / torch.exp(scores).sum()
                out[n, :, i, j] = sum(w * g[n, :, a, b] for w, (a, b) in zip(weights, places, strict=True))
    return x + layer.gamma * conv(layer.o, out)


def test_attention_is_the_identity_at_first():
    layer, x = SelfAttention(16, spectral(1e-4)), torch.randn(2, 16, 4, 4)
    assert torch.equal(layer(x), x)


def test_attention_equals_its_slow_definition():
    layer = ready(SelfAttention(16, spectral(1e-4)))
    layer.gamma.data.fill_(0.7)
    x = 3 * torch.randn(2, 16, 4, 6)  # not square: a transposed map would be seen
    torch.testing.assert_close(layer(x), attention_by_definition(layer, x), **CLOSE)


def plain_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return (query @ key.mT).softmax(-1) @ value


@pytest.mark.parametrize("keys", [16, 300])  # on both sides of blocks.SMALL_MAP
@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_attention_of_any_width_and_its_gradients_equal_softmax_in_float64(dtype, most, keys):
    shapes = [(2, 1, 50, 3), (2, 1, keys, 3), (2, 1, keys, 12)]
    inputs = [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    grad = torch.randn(2, 1, 50, 12).to(dtype)
    out, expected = attend(*inputs), plain_attention(*exact)
    torch.testing.assert_close(out.double(), expected, rtol=0, atol=most)
    with torch.no_grad():
        torch.testing.assert_close(attend(*inputs).double(), expected, rtol=0, atol=most)
    found, right = torch.autograd.grad(out, inputs, grad), torch.autograd.grad(expected, exact, grad.double())
    for a, b in zip(found, right, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=0, atol=most * float(b.abs().max()))


@pytest.mark.parametrize("training", [True, False])
def test_attention_never_takes_the_path_that_keeps_large_matrices(training):
    """That path of PyTorch's shows as a softmax of its own over (queries, keys)."""
    query, key, value = (torch.randn(1, 1, n, c, requires_grad=training) for n, c in ((64, 2), (300, 2), (300, 8)))
    with torch.profiler.profile() as profile:
        attend(query, key, value)
    assert not [event for event in profile.events() if "softmax" in event.name]


def test_attention_has_a_scalar_gamma_and_no_bias():
    names = {name: p.shape for name, p in SelfAttention(16, spectral(1e-4)).named_parameters()}
    assert names == {
        "gamma": (),
        "theta.weight": (2, 16, 1, 1),
        "phi.weight": (2, 16, 1, 1),
        "g.weight": (8, 16, 1, 1),
        "o.weight": (16, 8, 1, 1),
    }


def test_gamma_learns_from_the_first_step():
    layer, x = SelfAttention(16, spectral(1e-4)), torch.randn(2, 16, 4, 4)
    layer(x).square().sum().backward()
    assert layer.gamma.grad.abs() > 0
    assert layer.theta.weight.grad.abs().max() == 0  # gamma is 0 still


def d_block_as_published(block: DBlock, x: Tensor) -> Tensor:
    """Specification 1.5. The first block pools and then convolves on its skip, the others the other way round."""
    h = conv(block.conv2, F.relu(conv(block.conv1, x if block.first else F.relu(x))))
    pool = F.avg_pool2d if block.down else (lambda t, _: t)
    if block.skip is None:
        return pool(h, 2) + x
    skip = conv(block.skip, pool(x, 2)) if block.first else pool(conv(block.skip, x), 2)
    return pool(h, 2) + skip


@pytest.mark.parametrize(
    ("inputs", "outputs", "down", "first"),
    [(3, 4, True, True), (4, 6, True, False), (4, 4, True, False), (4, 6, False, False), (4, 4, False, False)],
)
def test_d_block_equals_the_published_order(inputs, outputs, down, first):
    block = ready(DBlock(inputs, outputs, outputs, down=down, first=first, parts=parts("spectral-norm", 1e-4)))
    x = torch.randn(2, inputs, 8, 8)
    torch.testing.assert_close(block(x.clone()), d_block_as_published(block, x), **CLOSE)


def silence(block: DBlock) -> None:
    """Leave the skip alone: nothing passes the second ReLU of the main path."""
    block.conv1.bias.data.fill_(-1e6)
    block.conv2.bias.data.zero_()


def test_skip_of_a_d_block_sees_x_before_any_relu():
    """Trap 1: with an in-place ReLU, negative pixels would be lost on the skip, and in the caller's tensor."""
    block = ready(DBlock(4, 4, 4, down=False, first=False, parts=parts("spectral-norm", 1e-4)))
    silence(block)
    x = -torch.rand(2, 4, 4, 4)
    kept = x.clone()
    assert torch.equal(block(x), kept)
    assert torch.equal(x, kept)


def test_skip_of_a_d_block_that_widens_sees_x_before_any_relu():
    block = ready(DBlock(4, 6, 6, down=True, first=False, parts=parts("spectral-norm", 1e-4)))
    silence(block)
    x = -torch.rand(2, 4, 4, 4)
    torch.testing.assert_close(block(x), F.avg_pool2d(conv(block.skip, x), 2), **CLOSE)


@pytest.mark.parametrize(
    ("inputs", "outputs", "down", "has_skip"), [(4, 4, False, False), (4, 4, True, True), (4, 6, False, True)]
)
def test_skip_of_a_d_block_is_the_identity_only_where_nothing_changes(inputs, outputs, down, has_skip):
    block = DBlock(inputs, outputs, outputs, down=down, first=False, parts=parts("spectral-norm", 1e-4))
    assert (block.skip is not None) == has_skip


def test_first_d_block_goes_from_3_channels_to_full_width_at_once():
    """Trap 2: not 3 -> 3 -> ch."""
    block = DBlock(3, 8, 8, down=True, first=True, parts=parts("spectral-norm", 1e-4))
    assert block.conv1.weight.shape == (8, 3, 3, 3)
    assert block.conv2.weight.shape == (8, 8, 3, 3)


def test_thin_d_block_keeps_its_input_width_inside():
    block = DBlock(4, 4, 8, down=True, first=False, parts=parts("spectral-norm", 1e-4))
    assert block.conv1.weight.shape == (4, 4, 3, 3)
    assert block.conv2.weight.shape == (8, 4, 3, 3)


def g_block_as_published(block: GBlock, x: Tensor, condition: Tensor | None) -> Tensor:
    """Specification 1.4, with doubling in front of both first convolutions."""
    up = lambda t: F.interpolate(t, scale_factor=2, mode="nearest")  # noqa: E731
    h = conv(block.conv1, up(F.relu(block.norm1(x, condition))))
    h = conv(block.conv2, F.relu(block.norm2(h, condition)))
    return h + conv(block.skip, up(x))


@pytest.mark.parametrize("outputs", [4, 6])
def test_g_block_equals_the_published_order(outputs):
    norms = [ConditionalBatchNorm2d(c, SNLinear(3, c, bias=False), SNLinear(3, c, bias=False)) for c in (4, outputs)]
    block = ready(GBlock(4, outputs, norms[0], norms[1], spectral(1e-4)))
    x, condition = torch.randn(3, 4, 4, 6), torch.randn(3, 3)
    kept = x.clone()
    out = block(x, condition)
    assert out.shape == (3, outputs, 8, 12)
    torch.testing.assert_close(out, g_block_as_published(block, kept, condition), **CLOSE)
    assert torch.equal(x, kept)


def test_norms_of_a_g_block_have_the_widths_of_its_input_and_output():
    with pytest.raises(RuntimeError):
        GBlock(4, 6, BatchNorm2d(4), BatchNorm2d(4), spectral(1e-4))(torch.randn(2, 4, 4, 4), None)
