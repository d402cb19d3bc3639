"""ADA's corruptions, which its usual pipe leaves out: filtered bands, noise, and a square cut out."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from orthogan.game.augment.base import Stage, normal, of_images
from orthogan.game.augment.resampling import reflected
from orthogan.nn import noise

SYM2 = (-0.1294095226, 0.2241438680, 0.8365163037, 0.4829629131)
"""The low-pass filter of the symlet of order 2, orthonormal."""
POWER = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
"""Expected share of each band in the power of an image: about 1 / f."""


def bands() -> Tensor:
    """Four symmetric filters that split a signal into octaves, the lowest first, and add up to 1. (4, 43)."""
    low = np.correlate(SYM2, SYM2, "full") / np.sum(SYM2) ** 2
    # The low-pass of the whole, of its lower half and of the lower half of that, one after the other.
    passes = [np.ones(1)]
    for spacing in (1, 2, 4):
        spaced = np.zeros((len(low) - 1) * spacing + 1)
        spaced[::spacing] = low
        passes.append(np.convolve(passes[-1], spaced))
    longest = len(passes[-1])
    wide = [np.pad(taps, (longest - len(taps)) // 2) for taps in passes]
    split = [wide[3], wide[2] - wide[3], wide[1] - wide[2], wide[0] - wide[1]]
    return torch.tensor(np.stack(split).tolist())


class BandFilter(Stage):
    """Each band by 2^N(0, 1) with chance p; the expected power of the image stays."""

    bands: Tensor
    power: Tensor
    numbers = 2 * len(POWER)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bands", bands(), persistent=False)
        self.register_buffer("power", torch.tensor(POWER), persistent=False)

    def forward(self, images: Tensor, uniform: Tensor, p: Tensor) -> Tensor:
        split = self._matrices(images.shape[-1])
        filters = torch.einsum("nb,boi->noi", self._gains(uniform, p), split)[:, None].to(images.dtype)
        return filters @ images @ filters.mT

    def _gains(self, uniform: Tensor, p: Tensor) -> Tensor:
        """(N, 4): the product of what each band that was drawn does to all four."""
        drawn, values = uniform.chunk(2, dim=1)
        one = torch.eye(len(POWER), dtype=torch.bool, device=uniform.device)
        gains = torch.where(one, torch.exp2(normal(values))[:, :, None], 1.0)  # (N, the band drawn, 4)
        gains = gains / (gains.square() @ self.power).sqrt()[:, :, None]
        return torch.where((drawn < p)[:, :, None], gains, 1.0).prod(1)

    def _matrices(self, side: int) -> Tensor:
        """The four filters as matrices over a reflected axis, (4, side, side)."""
        reach = self.bands.shape[1] // 2
        return F.conv1d(reflected(reach, side, reach, self.bands)[:, None], self.bands[:, None]).permute(1, 2, 0)


class Noise(Stage):
    """Independent noise in every number of an image, its deviation the absolute value of N(0, 0.1)."""

    numbers = 2

    def forward(self, images: Tensor, uniform: Tensor, p: Tensor) -> Tensor:
        deviation = torch.where(uniform[:, 0] < p, 0.1 * normal(uniform[:, 1]).abs(), 0.0)
        added = noise.normals(noise.keys(uniform), 0, *images.shape[1:])
        return torch.addcmul(images, of_images(deviation).to(images.dtype), added.to(images.dtype))


class Cutout(Stage):
    """A square of half the side set to 0 (grey), its middle anywhere in the image."""

    numbers = 3
    size = 0.5

    def forward(self, images: Tensor, uniform: Tensor, p: Tensor) -> Tensor:
        side = images.shape[-1]
        middles = (torch.arange(side, device=images.device) + 0.5) / side
        near = (middles - uniform[:, 1:, None]).abs() < self.size / 2  # (N, 2, side)
        applied = near & (uniform[:, :1, None] < p)
        return images.masked_fill((applied[:, 0, :, None] & applied[:, 1, None, :])[:, None], 0)
