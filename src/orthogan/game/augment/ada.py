"""Adaptive discriminator augmentation (Karras et al. 2020): a pipe of random stages, and its strength p."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from orthogan.game.augment.base import Augment, Stage
from orthogan.game.augment.color import Color
from orthogan.game.augment.corruption import BandFilter, Cutout, Noise
from orthogan.game.augment.geometry import BLIT, GEOM, Geometry

PIPES: dict[str, tuple[Callable[[], Stage], ...]] = {
    "blit": (lambda: Geometry(BLIT),),
    "geom": (lambda: Geometry(GEOM),),
    "color": (Color,),
    "filter": (BandFilter,),
    "noise": (Noise,),
    "cutout": (Cutout,),
    "bg": (lambda: Geometry(BLIT + GEOM),),
    "bgc": (lambda: Geometry(BLIT + GEOM), Color),
    "bgcf": (lambda: Geometry(BLIT + GEOM), Color, BandFilter),
    "bgcfn": (lambda: Geometry(BLIT + GEOM), Color, BandFilter, Noise),
    "bgcfnc": (lambda: Geometry(BLIT + GEOM), Color, BandFilter, Noise, Cutout),
}
"""The stages of each published pipe, in their order."""


class Ada(Augment):
    """A pipe at strength p, which starts at 0 and follows how sure D is of real images; or at a fixed p.

    The controller is of tensors alone, so that no update waits for the device.
    """

    p: Tensor
    signs: Tensor
    images: Tensor
    updates: Tensor

    def __init__(self, pipe: str, p: float | None, target: float, interval: int, speed_images: int):
        super().__init__()
        stages = [build() for build in PIPES[pipe]]
        self.stages = nn.ModuleList(stages)
        self.shares = [stage.numbers for stage in stages]
        self.numbers = sum(self.shares)
        self.adaptive, self.target, self.interval, self.speed_images = p is None, target, interval, speed_images
        self.register_buffer("p", torch.tensor(p or 0.0), persistent=self.adaptive)
        for sum_since in ("signs", "images", "updates"):
            self.register_buffer(sum_since, torch.tensor(0.0), persistent=self.adaptive)

    def forward(self, images: Tensor, uniform: Tensor) -> Tensor:
        # In bf16 the matrices would move pixels, and their products blur them.
        with torch.autocast(images.device.type, enabled=False):
            for stage, numbers in zip(self.stages, uniform.split(self.shares, dim=1), strict=True):
                images = stage(images, numbers, self.p)
        return images

    @torch.no_grad()
    def after_update(self, signs: Tensor, images: int) -> None:
        """Every `interval` updates p goes up where the mean sign since the last time is above target, or else down."""
        if not self.adaptive:
            return
        self.signs += signs
        self.images += images
        self.updates += 1
        due = self.updates >= self.interval
        step = (self.signs / self.updates - self.target).sign() * self.images / self.speed_images
        # Above 1 everything is applied to every image; p may go there, as published.
        self.p.copy_(torch.where(due, (self.p + step).clamp(min=0), self.p))
        for sum_since in (self.signs, self.images, self.updates):
            sum_since.mul_(~due)

    def stats(self) -> dict[str, Tensor]:
        return {"ada_p": self.p.clone()}
