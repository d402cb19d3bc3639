"""Noise inside generators: normal maps that depend on the image alone, not on the batch, the process or the device.

An image's key comes from the bits of its latent, and its numbers from a hash of the key (splitmix64, Steele et al.
2014) and the Box-Muller transform. Latents are addressed, so the noise is: a resumed run repeats it, two processes draw
what one would, and nothing is drawn in a forward. No normal latent comes twice in training: it is as good as fresh.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MODES = ("random", "const", "none")
"""`random`: of each image its own; `const`: the same for all images; `none`."""

MIXING, MIXED_LATENT, PATH_LENGTH = 1000, 1001, 1002
"""Streams of an image's numbers that are not the noise of a layer: layers count from 0."""

_GOLDEN = -0x61C8864680B583EB
_BITS = 24


def _shifted(x: Tensor, by: int) -> Tensor:
    """Logical shift to the right of int64."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _mixed(x: Tensor) -> Tensor:
    """The finaliser of splitmix64, on int64 that wraps around."""
    x = (x ^ _shifted(x, 30)) * -0x40A7B892E31B1A47
    x = (x ^ _shifted(x, 27)) * -0x6B2FB644ECCEEE15
    return x ^ _shifted(x, 31)


def keys(z: Tensor) -> Tensor:
    """A key (N,), int64, of every latent (N, D): of the bits of its float32 numbers."""
    bits = z.detach().float().contiguous().view(torch.int32).long()
    places = _mixed(torch.arange(1, z.shape[1] + 1, device=z.device) * _GOLDEN)
    return _mixed((_mixed(bits) ^ places).sum(1))


def uniforms(of: Tensor, stream: int, count: int) -> Tensor:
    """Numbers (N, count) in (0, 1) for keys (N,): those of another stream are independent of them."""
    # A bit less, for the halves: 2^24 - 1/2 would be rounded to 2^24, and the number to 1.
    return (_shifted(_hashed(of, stream, count), 65 - _BITS) + 0.5) * 2.0 ** (1 - _BITS)


def normals(of: Tensor, stream: int, *shape: int) -> Tensor:
    """N(0, 1), float32 (N, *shape), for keys (N,)."""
    hashed = _hashed(of, stream, math.prod(shape))
    radius = torch.sqrt(-2 * torch.log((_shifted(hashed, 64 - _BITS) + 1) * 2.0**-_BITS))
    angle = (hashed & ((1 << _BITS) - 1)) * (2 * math.pi * 2.0**-_BITS)
    return (radius * torch.cos(angle)).view(-1, *shape)


def _hashed(of: Tensor, stream: int, count: int) -> Tensor:
    first = _mixed(of + stream)[:, None]
    return _mixed(first + torch.arange(1, count + 1, device=of.device) * _GOLDEN)


@dataclass(frozen=True)
class Noise:
    """The noise of one forward: a mode of `MODES`, and the key (N,) of every image."""

    mode: str
    keys: Tensor

    @classmethod
    def of(cls, mode: str, z: Tensor) -> "Noise":
        """The noise of images by their latents, which only `random` reads."""
        return cls(mode, keys(z) if mode == "random" else z.new_zeros(z.shape[0], dtype=torch.long))


class NoiseInjection(nn.Module):
    """x + gain * strength * noise, one map for all channels. (N, C, H, W) -> same. The strength, a number, starts at 0.

    `layer` numbers the layers of a network, whose noises are independent. With a `side`, the constant noise is a buffer
    (side, side), as StyleGAN2 has it; without one, that of key 0.

    A module that is used again in a forward counts its `use`, and takes up as many numbers of layers.
    """

    const: Tensor | None
    kept: dict[tuple[int, int, int], Tensor] | None = None
    """Constant maps by use, height and width, where they are to be kept: an exported graph cannot compute hashes."""

    def __init__(self, layer: int, side: int | None = None):
        super().__init__()
        self.layer = layer
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("const", None if side is None else torch.randn(side, side))

    def forward(self, x: Tensor, noise: Noise, *, use: int = 0, gain: float = 1.0) -> Tensor:
        if noise.mode == "none":
            return x
        if noise.mode == "const":
            added = self._constant(x, use) if self.const is None else self.const
        else:
            added = normals(noise.keys, self.layer + use, 1, *x.shape[2:])
        return x + (gain * self.strength * added).to(x.dtype)

    def _constant(self, x: Tensor, use: int) -> Tensor:
        """The maps of key 0, (1, 1, H, W)."""
        height, width = x.shape[2:]
        at = (use, height, width)
        if self.kept is not None and at in self.kept:
            return self.kept[at]
        added = normals(torch.zeros(1, dtype=torch.long, device=x.device), self.layer + use, 1, height, width)
        if self.kept is not None:
            self.kept[at] = added
        return added
