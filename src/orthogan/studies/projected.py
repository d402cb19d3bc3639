"""The comparisons of Projected GAN (Sauer et al. 2021), in small: convergence, and what the projection is made of."""

from dataclasses import dataclass, field
from typing import Any, Literal

from orthogan import presets
from orthogan.data.config import DataConfig
from orthogan.features.weights import OF_DATA
from orthogan.settings import override, require
from orthogan.studies.cells import Cell, StudyOptions, common
from orthogan.studies.sngan import check_list

Settings = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ProjectedOptions(StudyOptions):
    data: DataConfig = field(default_factory=lambda: DataConfig(unconditional=True))
    ema: float = 0.99
    """Share of the average of G kept at each update; 0 scores G itself, which varies much from update to update."""
    features: str = OF_DATA
    """Feature network of the scores: by default one that is first trained on the real images' own labels, for the
    discriminators here have seen ImageNet, and scores by such networks favour them."""
    resolution: Literal[32, 64] = 64
    """Side of the images, in pixels."""
    width: int = 32
    """FastGAN's channel multiplier (the papers: 64 or 128). StyleGAN2 has as many channels at 64 pixels (512 there),
    where FastGAN's G has twice as many, latents of 64 and styles of 128; BigGAN's multiplier is half of it (96)."""
    batch: int = 16
    """Batch of every run; 64 in the paper."""
    size: int = 128
    """Pixels a side at which the pretrained network sees images; 224 in the paper."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width > 0 and self.width % 2 == 0, "width", self.width, "must be positive and even")


def fastgan(options: ProjectedOptions) -> Settings:
    return {"generator.width": options.width}


def _fastgan_d(options: ProjectedOptions) -> Settings:
    # The published distance is a sum over the batch, here it is a mean.
    return {"discriminator.width": options.width, "regularizers.d_reconstruction.strength": float(options.batch)}


def _channels_of_stylegan2(options: ProjectedOptions, role: str) -> Settings:
    """`width` at 64 pixels, and up to four times as many below."""
    return {f"{role}.channel_base": 64 * options.width, f"{role}.channel_max": 4 * options.width}


def stylegan2(options: ProjectedOptions) -> Settings:
    return {**_channels_of_stylegan2(options, "generator"), "generator.dim_z": 64, "generator.dim_w": 128}


def _stylegan2_d(options: ProjectedOptions) -> Settings:
    gamma = 0.0002 * options.resolution**2 / options.batch
    return {**_channels_of_stylegan2(options, "discriminator"), "regularizers.d_r1.strength": gamma}


def projected(options: ProjectedOptions) -> Settings:
    return {"discriminator.size": options.size}


def _biggan(options: ProjectedOptions) -> Settings:
    return {"generator.width": options.width // 2}


def _biggan_d(options: ProjectedOptions) -> Settings:
    return {"discriminator.width": options.width // 2}


REFERENCE = "FastGAN"

ROWS: dict[str, tuple[str, tuple[Any, ...]]] = {
    REFERENCE: ("fastgan", (fastgan, _fastgan_d)),
    "Projected FastGAN": ("projected", (fastgan, projected)),
    "StyleGAN2-ADA": ("stylegan2-ada", (stylegan2, _stylegan2_d)),
    "Projected StyleGAN2": ("projected-stylegan2", (stylegan2, projected)),
    "BigGAN": ("small", (_biggan, _biggan_d)),
    "BigGAN + projected D": ("projected-small", (_biggan, projected)),
}
"""The preset of each row but for the size, and what the study's options make of it."""


@dataclass(frozen=True, kw_only=True)
class ConvergenceOptions(ProjectedOptions):
    scores: int = 8
    """Scores of each run, evenly spaced, the last at its end: the points of the curves."""
    rows: tuple[str, ...] = tuple(ROWS)
    """Which of the comparison's rows to train."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_list("rows", self.rows, tuple(ROWS))


def convergence(options: ConvergenceOptions) -> list[Cell]:
    """The same data, batch, length and seeds for each method: the paper's figures 1 and 5."""
    return [
        _cell(options, row, seed, preset, [change(options) for change in changes])
        for seed in range(options.seeds)
        for row, (preset, changes) in [(row, ROWS[row]) for row in options.rows]
    ]


ABLATIONS: dict[str, Settings] = {
    "all": {},
    "no projection": {"discriminator.projection": "none"},
    "ccm": {"discriminator.projection": "ccm"},
    "1 discriminator": {"discriminator.discriminators": 1},
    "2 discriminators": {"discriminator.discriminators": 2},
    "3 discriminators": {"discriminator.discriminators": 3},
    "lite0": {"discriminator.features": "efficientnet-lite0"},
    "lite2": {"discriminator.features": "efficientnet-lite2"},
    "random ResNet-18": {"discriminator.features": "resnet18", "discriminator.weights": "random"},
}
"""What each row changes of Projected FastGAN with CCM, CSM, four discriminators and EfficientNet-lite1."""


@dataclass(frozen=True, kw_only=True)
class AblationOptions(ProjectedOptions):
    rows: tuple[str, ...] = tuple(ABLATIONS)
    """Which of the comparison's rows to train."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_list("rows", self.rows, tuple(ABLATIONS))


def projection(options: AblationOptions) -> list[Cell]:
    """The paper's tables 1 and 2."""
    return [
        _cell(options, row, seed, "projected", [fastgan(options), projected(options), ABLATIONS[row]])
        for seed in range(options.seeds)
        for row in options.rows
    ]


def _cell(options: ProjectedOptions, row: str, seed: int, name: str, changes: list[Settings]) -> Cell:
    preset = f"{name}-{options.resolution}"
    settings: Settings = {"batch": options.batch, "ema.halflife_images": None, "ema.rampup": None}
    settings |= common(options, seed)
    for change in changes:
        settings |= change
    return Cell(row, "", override(presets.get(preset), settings), preset)
