"""Batch norms of networks that are never trained again, folded into the convolutions before them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


@torch.no_grad()
def fold_batch_norms(network: nn.Module, forward: Callable[[], object], kinds: tuple[type[nn.Conv2d], ...]) -> None:
    """Fold each batch norm, in evaluation, that reads what a convolution has written: the same function, cheaper.

    `forward` runs the network once on anything, to see which they are. `kinds` are the convolutions that use their
    weight as it is. Of timm's norms with an activation that remains.
    """
    names = {norm: name for name, norm in network.named_modules() if isinstance(norm, nn.BatchNorm2d)}
    for conv, norm in _neighbours(network, forward, kinds):
        assert norm.running_mean is not None
        assert norm.running_var is not None
        statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
        network.set_submodule(names[norm], getattr(norm, "act", nn.Identity()))


def _neighbours(
    network: nn.Module, forward: Callable[[], object], kinds: tuple[type[nn.Conv2d], ...]
) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions and the batch norms that read their output."""
    # Outputs are kept alive, or another one could be taken for them.
    written: list[tuple[Tensor, nn.Conv2d]] = []
    found: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def write(conv: Any, inputs: Any, output: Tensor) -> None:
        written.append((output, conv))

    def read(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        found.extend((conv, norm) for output, conv in written if output is inputs[0])

    convs = [m for m in network.modules() if type(m) in kinds]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    handles = [conv.register_forward_hook(write) for conv in convs]
    handles += [norm.register_forward_pre_hook(read) for norm in norms]
    try:
        forward()
    finally:
        for handle in handles:
            handle.remove()
    return found
