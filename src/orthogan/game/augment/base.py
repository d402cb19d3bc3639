"""What an augmentation of D's images is: the contract."""

from collections.abc import Mapping

from torch import Tensor


class Augment:
    """A differentiable change of images before D sees them, the same law for real and fake ones."""

    numbers: int = 0
    """Uniform numbers that an image needs."""

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Images (n, 3, H, W) in [-1, 1] -> same shape, by numbers (n, `numbers`) in [0, 1)."""
        raise NotImplementedError

    def after_update(self, signs: Tensor, images: int) -> None:
        """Called once after each update of D: the mean sign of its logits of the real images, and their number.

        The mean is over all processes, a scalar on the device that must not be waited for.
        """

    def stats(self) -> dict[str, Tensor]:
        """Scalars on the device for the log."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """What the next update depends on and a checkpoint must hold."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take up the state of a checkpoint."""
