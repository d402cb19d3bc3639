"""What an augmentation is, and how its draws are read off uniform numbers."""

import torch
from torch import Tensor, nn


class Augment(nn.Module):
    """Base: a differentiable change of images before D sees them, the same law for real and fake ones.

    Nothing is drawn inside: an image and its row of numbers decide what comes out. Its buffers belong on the device of
    the images, and its `state_dict` into checkpoints.
    """

    numbers: int = 0
    """Uniform numbers that an image needs."""

    def forward(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Images (N, 3, R, R) in [-1, 1] -> the same shape, not clamped, by numbers (N, `numbers`) in [0, 1)."""
        raise NotImplementedError

    def after_update(self, signs: Tensor, images: int) -> None:
        """Called once after each update of D, in all processes with the same arguments.

        `signs` is the mean sign of D(x) less the loss's boundary, over its real images x, a scalar on the device;
        `images` is how many these are.
        """

    def stats(self) -> dict[str, Tensor]:
        """Scalars for the log."""
        return {}


def integers(uniform: Tensor, count: int) -> Tensor:
    """Uniform numbers in [0, 1) -> integers 0 ... count - 1, as floats."""
    return (uniform * count).floor()


def normal(uniform: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) -> N(0, 1), by the inverse of its distribution function."""
    # A float32 in [0, 1) is a multiple of 2^-24: half of that stands for 0, whose image would be infinite.
    return torch.special.ndtri(uniform.clamp(min=2.0**-25))


def of_images(values: Tensor) -> Tensor:
    """(N,) -> (N, 1, 1, 1): one number an image."""
    return values[:, None, None, None]


class Stage(nn.Module):
    """One of the stages that a pipe of ADA goes through."""

    numbers: int = 0
    """Uniform numbers that an image needs."""

    def forward(self, images: Tensor, uniform: Tensor, p: Tensor) -> Tensor:
        """Images (N, 3, R, R) -> the same shape, by numbers (N, `numbers`) in [0, 1), at the strength p, a scalar."""
        raise NotImplementedError
