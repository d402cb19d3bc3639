"""The comparisons of SN-GAN (Miyato et al. 2018): stabilisers over settings, and D's last feature dimension."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from orthogan import presets
from orthogan.data.config import DataConfig
from orthogan.networks.sngan import SNGANCNNDiscriminatorConfig, SNGANDiscriminatorConfig
from orthogan.nn.stabilizers import Stabilizer
from orthogan.settings import override, require
from orthogan.studies.cells import Cell, StudyOptions, common

Setting = Literal["A", "B", "C", "D", "E", "F"]

SETTINGS: dict[Setting, tuple[float, float, float, int]] = {
    "A": (1e-4, 0.5, 0.9, 5),  # Gulrajani et al. 2017
    "B": (1e-4, 0.5, 0.999, 1),  # Warde-Farley and Bengio 2017
    "C": (2e-4, 0.5, 0.999, 1),  # Radford et al. 2016
    "D": (1e-3, 0.5, 0.9, 5),
    "E": (1e-3, 0.5, 0.999, 5),
    "F": (1e-3, 0.9, 0.999, 5),
}
"""Learning rate, beta1, beta2 and D steps of the paper's table 1."""


def setting(name: Setting) -> dict[str, float]:
    """A column of table 1 as settings of a run, by path."""
    lr, beta1, beta2, d_steps = SETTINGS[name]
    adam = {"optimizer.g_lr": lr, "optimizer.d_lr": lr, "optimizer.beta1": beta1, "optimizer.beta2": beta2}
    return {**adam, "d_steps": d_steps}


@dataclass(frozen=True, kw_only=True)
class SNGANOptions(StudyOptions):
    data: DataConfig = field(default_factory=lambda: DataConfig(unconditional=True))
    preset: str = "sngan-cnn-32"
    """Networks and loss; a preset of the SN-GAN family."""
    stabilizers: tuple[Stabilizer, ...] = get_args(Stabilizer)
    """Rows of the table."""
    width: int = 16
    """Channels of G's last map and of D's first; 64 in the paper."""
    batch: int = 64
    """Batch, of the paper if left out; a smaller one makes more updates of the same images."""

    def __post_init__(self) -> None:
        super().__post_init__()
        discriminator = presets.get(self.preset).discriminator
        rule = "must be one of the SN-GAN family, such as sngan-cnn-32"
        fits = isinstance(discriminator, SNGANDiscriminatorConfig | SNGANCNNDiscriminatorConfig)
        require(fits, "preset", self.preset, rule)
        check_list("stabilizers", self.stabilizers, get_args(Stabilizer))


def check_list(name: str, values: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Refuse a list that is empty, repeats itself, or has a name that does not exist."""
    fine = bool(values) and set(values) <= set(known) and len(set(values)) == len(values)
    require(fine, name, values, f"must be some of {', '.join(known)}, each once")


@dataclass(frozen=True, kw_only=True)
class StabilizersOptions(SNGANOptions):
    settings: tuple[Setting, ...] = get_args(Setting)
    """Columns of the table: learning rate, betas and D steps of the paper's table 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_list("settings", self.settings, get_args(Setting))


def stabilizers(options: StabilizersOptions) -> list[Cell]:
    """Every stabiliser under every setting: the paper's figures 1 to 3 and its table 2."""
    return [
        _cell(options, stabilizer, column, column, seed)
        for seed in range(options.seeds)
        for stabilizer in options.stabilizers
        for column in options.settings
    ]


FACTORS = {"x0.5": 0.5, "x1": 1, "x2": 2, "x4": 4}


@dataclass(frozen=True, kw_only=True)
class WidthOptions(SNGANOptions):
    setting: Setting = "C"
    """Learning rate, betas and D steps, of the paper's table 1; the paper took C."""
    stabilizers: tuple[Stabilizer, ...] = ("spectral-norm", "orthonormal")
    """Rows of the table."""

    def __post_init__(self) -> None:
        super().__post_init__()
        channels = channels_of(self.preset)
        require(channels[-1] % 2 == 0, "preset", self.preset, "its D must end in an even multiple of the width")


def channels_of(preset: str) -> tuple[int, ...]:
    """Multiples of D's width."""
    channels: tuple[int, ...] = getattr(presets.get(preset).discriminator, "channels", ())
    require(bool(channels), "preset", preset, "its D has no discriminator.channels to vary; take an sngan preset")
    return channels


def width(options: WidthOptions) -> list[Cell]:
    """Stabilisers while the last feature map of D grows: the paper's figure 4."""
    *first, last = channels_of(options.preset)
    return [
        _cell(
            options,
            stabilizer,
            factor,
            options.setting,
            seed,
            **{"discriminator.channels": (*first, int(last * times))},
        )
        for seed in range(options.seeds)
        for stabilizer in options.stabilizers
        for factor, times in FACTORS.items()
    ]


def _cell(
    options: SNGANOptions, stabilizer: Stabilizer, column: str, name: Setting, seed: int, **changes: object
) -> Cell:
    network = {**presets.both(width=options.width), "discriminator.stabilizer": stabilizer}
    loss = {"loss": "wasserstein"} if stabilizer == "wgan-gp" else {}
    training = {"batch": options.batch, "optimizer.decay_from_images": None}
    settings = {**common(options, seed), **network, **training, **setting(name), **loss, **changes}
    return Cell(stabilizer, column, override(presets.get(options.preset), settings), options.preset)
