"""Noise inside generators: against splitmix64 and Box-Muller in Python's integers, and what depends on what."""

import math
import struct

import pytest
import torch
from torch import Tensor

import orthogan.nn.noise
from orthogan.nn.noise import MODES, Noise, NoiseInjection, keys, normals, uniforms

MASK = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
SEED_0 = (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC)
"""The first outputs of splitmix64 from the state 0, as its reference code gives them."""


def finish(x: int) -> int:
    """splitmix64's finaliser, of a state that has been advanced."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def splitmix64(state: int, count: int) -> list[int]:
    return [finish((state + k * GOLDEN) & MASK) for k in range(1, count + 1)]


def key_of(z: list[float]) -> int:
    """Each number's bits, sign-extended and mixed, against its place mixed; their sum mixed."""
    total = 0
    for place, value in zip(splitmix64(0, len(z)), z, strict=True):
        (bits,) = struct.unpack("<i", struct.pack("<f", value))
        total += finish(bits & MASK) ^ place
    return finish(total & MASK)


def box_muller(hashed: int) -> float:
    radius = math.sqrt(-2 * math.log(((hashed >> 40) + 1) / 2**24))
    return radius * math.cos(2 * math.pi * (hashed & 0xFFFFFF) / 2**24)


def unsigned(tensor: Tensor) -> list[int]:
    return [int(x) & MASK for x in tensor]


def latents(n: int, dim: int = 8) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(0))


def test_splitmix64_is_the_published_one():
    assert tuple(splitmix64(0, 4)) == SEED_0
    expected = [((x >> 41) + 0.5) / 2**23 for x in SEED_0]
    assert uniforms(torch.zeros(1, dtype=torch.long), 0, 4)[0].tolist() == expected


def test_keys_against_integers():
    z = torch.tensor([[0.0, -0.0, 1.5], [-2.25, 1e-30, 3e20], [1.5, 0.0, -0.0]])
    assert unsigned(keys(z)) == [key_of(row) for row in z.tolist()]


def test_numbers_against_integers():
    of = keys(latents(2))
    for key, found, uniform in zip(unsigned(of), normals(of, 5, 1, 2, 3), uniforms(of, 5, 6), strict=True):
        hashed = splitmix64(finish(key + 5 & MASK), 6)
        assert found.flatten().tolist() == pytest.approx([box_muller(x) for x in hashed], abs=1e-5)
        assert uniform.tolist() == [((x >> 41) + 0.5) / 2**23 for x in hashed]


@pytest.mark.parametrize(("hashed", "expected"), [(0, 2**-24), (-1, 1 - 2**-24)])
def test_the_ends_of_the_uniform_numbers_are_open(monkeypatch, hashed, expected):
    monkeypatch.setattr(orthogan.nn.noise, "_hashed", lambda *_: torch.tensor([[hashed]]))
    assert uniforms(torch.tensor([0]), 0, 1).item() == expected


def test_a_key_is_of_every_bit_and_its_place():
    z = latents(1)
    moved = z.clone()
    moved[0, 3] = torch.nextafter(moved[0, 3], torch.tensor(9.0))
    assert len({int(keys(x)) for x in (z, moved, z.flip(1), -z, torch.zeros_like(z))}) == 5
    assert torch.equal(keys(z.double()), keys(z))


def test_moments_of_normals_and_uniforms():
    """Within four standard errors; no normal beyond what 24 bits of radius can give."""
    of = keys(latents(16))
    n = 16 * 128 * 128
    x = normals(of, 0, 128, 128).double().flatten()
    assert abs(x.mean()) < 4 / math.sqrt(n)
    assert abs(x.square().mean() - 1) < 4 * math.sqrt(2 / n)
    assert abs(x.pow(3).mean()) < 4 * math.sqrt(15 / n)
    assert abs(x.pow(4).mean() - 3) < 4 * math.sqrt(96 / n)
    assert x.abs().max() <= math.sqrt(48 * math.log(2)) + 1e-6
    u = uniforms(of, 0, 128 * 128).double().flatten()
    assert 0 < u.min() < 1e-4
    assert 1 > u.max() > 1 - 1e-4
    assert abs(u.mean() - 0.5) < 4 * math.sqrt(1 / 12 / n)
    assert abs(u.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / n)


def test_pixels_streams_and_keys_are_independent():
    of = keys(torch.tensor([[0.0, 0.0], [0.0, 1e-45]]))  # latents that differ in one bit
    a, b = normals(of, 0, 256, 256).double()
    other = normals(of[:1], 1, 256, 256)[0].double()
    for x, y in ((a, b), (a, other), (b, other), (a, a.roll(1, 0)), (a, a.roll(1, 1)), (a**2, a.roll(1, 1) ** 2)):
        assert abs(torch.corrcoef(torch.stack([x.flatten(), y.flatten()]))[0, 1]) < 4 / 256


def test_the_noise_of_an_image_is_its_own_whatever_the_batch():
    z = latents(5)
    together = normals(keys(z), 3, 1, 4, 4)
    assert torch.equal(together[2:3], normals(keys(z[2:3]), 3, 1, 4, 4))
    assert torch.equal(together.flip(0), normals(keys(z.flip(0)), 3, 1, 4, 4))
    assert torch.equal(together, normals(keys(z), 3, 1, 4, 4))


def injection(side: int | None = None) -> NoiseInjection:
    module = NoiseInjection(4, side)
    module.strength.data.fill_(2.0)
    return module


def test_modes():
    x, of = torch.ones(3, 2, 4, 4), keys(latents(3))
    module = injection()
    random, const, none = (module(x, Noise(mode, of)) for mode in MODES)
    torch.testing.assert_close(random, 1 + 2 * normals(of, 4, 1, 4, 4).expand_as(x))
    torch.testing.assert_close(const, 1 + 2 * normals(torch.tensor([0]), 4, 1, 4, 4).expand_as(x))
    assert torch.equal(none, x)
    assert not torch.equal(random[0], random[1])


def test_constant_noise_of_a_side_is_the_buffer():
    module = injection(side=4)
    found = module(torch.zeros(2, 3, 4, 4), Noise("const", keys(latents(2))))
    torch.testing.assert_close(found, (2 * module.const).expand(2, 3, 4, 4))


def test_a_second_use_has_the_noise_of_the_next_layer():
    x, noise = torch.zeros(2, 1, 4, 4), Noise("random", keys(latents(2)))
    module = injection()
    again = module(x, noise, use=1)
    torch.testing.assert_close(again, 2 * normals(noise.keys, 5, 1, 4, 4))
    assert not torch.equal(again, module(x, noise))


def test_it_begins_without_noise_and_learns_its_strength():
    module = NoiseInjection(0)
    x, noise = torch.randn(2, 3, 4, 4), Noise("random", keys(latents(2)))
    assert torch.equal(module(x, noise), x)
    module(x, noise).sum().backward()
    torch.testing.assert_close(module.strength.grad, 3 * normals(noise.keys, 0, 4, 4).sum())


def test_the_type_of_the_map_stays():
    x = torch.zeros(1, 2, 4, 4, dtype=torch.bfloat16)
    assert injection()(x, Noise("random", keys(latents(1)))).dtype == torch.bfloat16
