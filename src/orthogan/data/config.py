"""The settings of a source of images, and how its images become squares. Free of PyTorch."""

from dataclasses import dataclass
from typing import Literal

from orthogan.settings import check_choices, require

Crop = Literal["center", "stretch", "pad", "top"]
Part = Literal["training", "held-out"]
"""What a run learns from, and what it keeps back."""
Resize = Literal["area", "bilinear", "bicubic", "lanczos"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the images come from and how they become squares."""

    source: str = ""
    """A folder, a zip, an .npz or .npy file, a Hugging Face folder, parquet files, or the word digits."""
    crop: Crop = "center"
    """How an image that is not square becomes square: cut around the centre, squeeze, add borders, or keep the top."""
    resize: Resize = "area"
    """Filter that shrinks images. BigGAN used area; enlarging is always bicubic when the filter is area."""
    background: str = "white"
    """Colour under transparent pixels and in the borders that `pad` adds: a name or #rrggbb."""
    unconditional: bool = False
    """Ignore the labels that the data has."""
    mirror: bool = False
    """Show each image mirrored half of the time."""
    random_crop: float = 1.0
    """Share of the side that each showing takes, at a random place; PFN's SN-GAN code: 0.9 for its dogs and cats."""
    dequantize: bool = False
    """Scale to x/128 - 1 and add uniform noise of one grey level, as SN-GAN did, instead of x/127.5 - 1."""
    skip_bad: bool = False
    """Leave unreadable files out and go on."""
    hold_out: float = 0.0
    """Share of the images of every class, one at least, that is kept back from training, to judge by."""
    hold_out_seed: int = 0
    """Seed of the choice of them, the same for runs of all seeds."""

    def __post_init__(self) -> None:
        check_choices(self, "data.")
        require(0.1 <= self.random_crop <= 1, "data.random_crop", self.random_crop, "must be in [0.1, 1]")
        require(0 <= self.hold_out < 1, "data.hold_out", self.hold_out, "must be a share from 0 to below 1")
        rule = "has no effect while data.hold_out is 0; set a share or leave it out"
        require(self.hold_out > 0 or self.hold_out_seed == 0, "data.hold_out_seed", self.hold_out_seed, rule)
