"""The one place where the benchmark touches orthogan's training, sampling and loading.

Same work as the rival's callables: `Rival.small(width).train_step`, `Rival.large().sample`.
"""

from collections.abc import Callable


class NotConnectedError(NotImplementedError):
    """This side of the comparison cannot run yet; the report leaves it out and says so."""


def make_train_step(
    width: int, batch: int, precision: str = "bf16", channels_last: bool = True, device: str = "cpu"
) -> Callable[[], object]:
    """Build a fresh 32x32 pair (10 classes, per-class BN tables, no attention); return one iteration.

    Args:
        width: channel multiplier of both networks (64 as published).
        batch: real images of one D update; an iteration has 2 D updates, one G update and the weight average, so it
            consumes 2 * batch real images.
        precision: "bf16" (autocast) or "float32".
        channels_last: memory layout of weights and activations.
        device: "cpu" or "cuda".
    """
    raise NotConnectedError("benchmarks/ours.py: make_train_step is not connected to orthogan.training.steps")


def make_sampler(
    batch: int, precision: str = "bf16", channels_last: bool = True, device: str = "cpu"
) -> Callable[[], object]:
    """Build BigGAN-128 (width 96, 1000 classes) for sampling; return a draw of `batch` images, fresh z and y."""
    raise NotConnectedError("benchmarks/ours.py: make_sampler is not connected to orthogan.sampling")


def make_loader(batch: int, device: str = "cpu") -> Callable[[], object]:
    """Open a packed 32x32 data set as a training would; return what fetches the next batch, ready on the device."""
    raise NotConnectedError("benchmarks/ours.py: make_loader is not connected to orthogan.data")
