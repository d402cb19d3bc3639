"""DiffAugment (Zhao et al. 2020): colour, shift and cut-out of every image, as its published code draws them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from orthogan.game.augment.base import Augment, integers, of_images

SHIFT = 0.125
"""Largest shift, as a share of the side."""

Change = Callable[[Tensor, Tensor, float], Tensor]
"""Images (N, C, H, W), uniform numbers (N, k) and the share of the side that is cut out -> images."""


def color(images: Tensor, uniform: Tensor, cutout: float) -> Tensor:
    """Brightness +-0.5, then saturation by 0 to 2, then contrast by 0.5 to 1.5."""
    brightness, saturation, contrast = (of_images(u) for u in uniform.unbind(1))
    brightness, saturation, contrast = brightness - 0.5, 2 * saturation, contrast + 0.5
    grey = images.mean(1, keepdim=True)  # (N, 1, H, W)
    mean = grey.mean((2, 3), keepdim=True)
    # Saturation keeps the grey of a pixel, so the three are one product and one sum:
    # contrast * (saturation * (x - grey) + grey - mean) + mean + brightness.
    added = mean + contrast * ((1 - saturation) * grey - mean) + brightness
    return torch.addcmul(added, contrast * saturation, images)


def translation(images: Tensor, uniform: Tensor, cutout: float) -> Tensor:
    """Moved by whole pixels, up to an eighth of the side each way; what comes in is 0 (grey)."""
    _, channels, height, width = images.shape
    rows, rows_inside = _moved(uniform[:, 0], height)
    columns, columns_inside = _moved(uniform[:, 1], width)
    source = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)  # (N, H * W)
    # A gather and not an index, whose backward pass is slow on processors.
    moved = images.flatten(2).gather(2, source[:, None].expand(-1, channels, -1)).view_as(images)
    return moved.masked_fill(~(rows_inside[:, :, None] & columns_inside[:, None, :])[:, None], 0)


def _moved(uniform: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Where each row of each image comes from (N, side), and whether that is inside the image."""
    most = int(side * SHIFT + 0.5)
    by = integers(uniform, 2 * most + 1).long() - most
    source = torch.arange(side, device=uniform.device) - by[:, None]
    return source.clamp(0, side - 1), (source >= 0) & (source < side)


def cut_out(images: Tensor, uniform: Tensor, cutout: float) -> Tensor:
    """A square set to 0 (grey), its middle anywhere in the image."""
    height, width = images.shape[2:]
    rows, columns = _cut(uniform[:, 0], height, cutout), _cut(uniform[:, 1], width, cutout)
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def _cut(uniform: Tensor, side: int, cutout: float) -> Tensor:
    """Which rows of each image the square covers, (N, side)."""
    size = int(side * cutout + 0.5)
    # An even square has one more place than an odd one, for its middle lies between pixels.
    first = integers(uniform, side + 1 - size % 2) - size // 2
    after = torch.arange(side, device=uniform.device) - first[:, None]
    return (after >= 0) & (after < size)


@dataclass(frozen=True)
class Word:
    """A word of a policy: the change that it stands for, and the uniform numbers that this needs."""

    change: Change
    numbers: int


POLICY = {"color": Word(color, 3), "translation": Word(translation, 2), "cutout": Word(cut_out, 2)}


class DiffAugment(Augment):
    """The words of a policy in the order given, each on every image."""

    def __init__(self, policy: Sequence[str], cutout: float):
        super().__init__()
        self.words = [POLICY[name] for name in policy]
        self.cutout = cutout
        self.numbers = sum(word.numbers for word in self.words)

    def forward(self, images: Tensor, uniform: Tensor) -> Tensor:
        for word, numbers in zip(self.words, uniform.split([w.numbers for w in self.words], dim=1), strict=True):
            images = word.change(images, numbers, self.cutout)
        return images
