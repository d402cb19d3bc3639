"""FastGAN's self-supervision of D (Liu et al. 2021): decoders make real images again from what D has left of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.errors import UserError
from orthogan.features import backbones, lpips
from orthogan.features.weights import COMPARING
from orthogan.game.moment import Moment
from orthogan.game.regularizers.base import Regularizer, Settings

Distance = Callable[[Tensor, Tensor], Tensor]
"""Images (n, 3, S, S) in [-1, 1] and what was made of them -> terms (n,)."""

QUADRANTS = 4
FEATURES = "efficientnet-lite0"


@dataclass(frozen=True, kw_only=True)
class ReconstructionSettings(Settings):
    example: ClassVar[str] = "8"

    strength: float = 0.0
    """Weight of reconstructing real images by --discriminator.decoders (FastGAN: a sum over its batch, 8 here)."""
    distance: Literal["features", "lpips", "l1"] = "features"
    """Distance of features of EfficientNet-lite0; LPIPS, of VGG16's, as FastGAN, which needs its weights in PyTorch's
    hub folder; or of pixels, which needs none."""

    def check_present(self) -> None:
        if self.strength and self.distance == "lpips":
            lpips.check_present()
        if self.strength and self.distance == "features":
            try:
                backbones.check_present(FEATURES, "", COMPARING)
            except UserError as error:
                way_out = "take --regularizers.d-reconstruction.distance l1, which needs nothing"
                raise UserError(f"{error}; or {way_out}") from error


class Reconstructing(Protocol):
    """A discriminator that offers `reconstructions`."""

    def reconstruct(self, x: Tensor, parts: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Pairs (target, reconstruction), each (n, 3, S, S), of images and of their quadrants `parts` (n,)."""


class Reconstruction(Regularizer):
    """strength * sum of distances between reconstructions of real images, as D sees them, and what they are made from.

    The quadrant that is one of the parts is drawn for each image; FastGAN draws one for the batch.
    """

    in_float32 = False

    def __init__(self, settings: ReconstructionSettings):
        self.settings, self.distance = settings, DISTANCES[settings.distance]()

    def on_loss(self, moment: Moment) -> Tensor:
        discriminator = cast(Reconstructing, moment.discriminator)
        parts = (moment.uniform * QUADRANTS).long()
        pairs = discriminator.reconstruct(moment.augment(moment.real), parts)
        with torch.autocast(moment.real.device.type, enabled=False):
            terms = [self.distance(target.float(), made.float()) for target, made in pairs]
        return self.settings.strength * torch.stack(terms).sum(0)


def l1(target: Tensor, made: Tensor) -> Tensor:
    """Mean absolute difference of the numbers of an image."""
    return (made - target).abs().flatten(1).mean(1)


class FeatureDistance:
    """Squared distance of feature vectors of length 1, the mean over the pixels of a map and over maps.

    LPIPS (Zhang et al. 2018) without its weights of channels. In [0, 4].
    """

    def __init__(self, maps: Callable[[Tensor], list[Tensor]]):
        """`maps` are frozen: images (n, 3, S, S) in [-1, 1] to maps (n, C, H, W)."""
        self.maps = maps

    def __call__(self, target: Tensor, made: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.maps(target)
        terms = [
            (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(1).mean((1, 2))
            for a, b in zip(self.maps(made), wanted, strict=True)
        ]
        return torch.stack(terms).mean(0)


def pretrained_distance() -> Distance:
    """Raises `UserError` where the weights are missing."""
    # Smaller images are enlarged to this side, at which the last of the maps is one pixel.
    network = backbones.load(FEATURES, max(backbones.STRIDES))

    def maps(images: Tensor) -> list[Tensor]:
        found: list[Tensor] = _beside(images, network)(images)
        return found

    return FeatureDistance(maps)


def lpips_distance() -> Distance:
    """Raises `UserError` where the package or the weights are missing."""
    network = lpips.load()

    def distance(target: Tensor, made: Tensor) -> Tensor:
        target, made = (backbones.resize(x, max(lpips.SIDE, x.shape[-1])) for x in (target, made))
        terms: Tensor = _beside(made, network)(made, target)
        return terms.flatten()

    return distance


def _beside(images: Tensor, network: nn.Module) -> nn.Module:
    # Fake networks, which are on the device already, cannot be moved.
    if next(network.parameters()).device != images.device:
        network.to(images.device)
    return network


DISTANCES: dict[str, Callable[[], Distance]] = {
    "features": pretrained_distance,
    "lpips": lpips_distance,
    "l1": lambda: l1,
}
