"""LPIPS (Zhang et al. 2018), the distance of FastGAN's reconstructions, by its authors' package."""

import warnings
from pathlib import Path

import torch
from torch import nn

from orthogan import optional
from orthogan.errors import UserError
from orthogan.features import weights
from orthogan.features.backbones import with_weights_or_shapes
from orthogan.features.pretrained import State, read_state

SIDE = 16
"""Pixels a side below which VGG16's last maps are empty."""


def check_present() -> None:
    """Refuse where the package or VGG16's weights are missing."""
    weights.locate(weights.VGG16, purpose=weights.LPIPS)


def load() -> nn.Module:
    """Pairs of images (n, 3, S, S) in [-1, 1], S at least `SIDE` -> distances (n, 1, 1, 1). Frozen, in evaluation.

    Raises `UserError` for a missing package, and for VGG16's weights missing or not those that torchvision publishes.
    """
    return with_weights_or_shapes(_load)


def _load(filled: bool) -> nn.Module:
    package = optional.need("lpips", weights.LPIPS.extra, weights.LPIPS.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an old name of an argument of torchvision's
        # A trunk without weights, which otherwise would be fetched from the network.
        distance = package.LPIPS(net="vgg", pnet_rand=True, verbose=False)
    for k in range(len(distance.lins)):
        delattr(distance, f"lin{k}")  # the same layers under a second name, which cannot lose their values twice
    if filled:
        found = weights.locate(weights.VGG16, purpose=weights.LPIPS)
        weights.verify(weights.VGG16, found, weights.LPIPS)
        _fill(distance.net, read_state(found), found)
    frozen: nn.Module = distance.requires_grad_(False).eval()
    return frozen


@torch.no_grad()
def _fill(trunk: nn.Module, published: State, where: Path) -> None:
    """Weights under torchvision's names, features.5.weight, into the package's slices, slice2.5.weight."""
    for name, parameter in trunk.named_parameters():
        theirs = f"features.{name.split('.', 1)[1]}"
        if theirs not in published or published[theirs].shape != parameter.shape:
            raise UserError(f"{where}: not VGG16 as torchvision has it: {theirs} is missing or of another shape")
        parameter.copy_(published[theirs])
