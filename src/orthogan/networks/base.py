"""The contract of a network: all that the rest of the package knows of a generator and of a discriminator.

A network is a module and a frozen dataclass of its settings, both in one file, and a row in a table of
`orthogan.networks`. The side of the images and the number of classes are the run's, and the same for both players.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from orthogan.game.latents import LARGEST, check_truncation
from orthogan.nn.noise import Noise
from orthogan.nn.spectral import advance
from orthogan.nn.stabilizers import Stabilizer
from orthogan.settings import check_choices, require

MOST = 2**31
"""No size of a network reaches this: PyTorch could not count the elements."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Settings of one network, checked at birth as far as they can be without the run's resolution and classes."""

    role: ClassVar[str]
    """`generator` or `discriminator`, the first word of the settings' paths."""
    offers: ClassVar[frozenset[str]] = frozenset()
    """What the network has that only some rules can use: `w`, `reconstructions`."""

    def __post_init__(self) -> None:
        check_choices(self, f"{self.role}.")

    @classmethod
    def at(cls, resolution: int) -> Self:
        """What the network begins with where its name is all that was given: published shapes of this resolution."""
        return cls()

    def check(self, resolution: int, n_classes: int) -> None:
        """Raise `UserError` for images of a side, or a number of classes, that these settings cannot have."""

    def check_present(self) -> None:
        """Raise `UserError` where a package or file that the network is built from is missing. Reads no file."""

    def check_files(self, resolution: int) -> None:
        """Raise `UserError` where a file that the network is built from is another's or damaged. Reads it."""

    def with_whole_paths(self) -> Self:
        """The same settings with whole paths of such files, so that a run can be resumed from any folder."""
        return self

    @property
    def features_seen(self) -> str | None:
        """The pretrained network through which this one sees images."""
        return None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What must be said of a run with this network, beside its settings."""
        return ()

    def as_wide_as(self, other: "NetworkConfig") -> Self:
        """With the `width` of another network's settings, where both have one."""
        if hasattr(self, "width") and hasattr(other, "width"):
            return replace(self, width=other.width)  # type: ignore[call-arg]
        return self

    def require(self, condition: bool, name: str, rule: str) -> None:
        """Refuse a bad value of one of these settings, by its whole path."""
        require(condition, f"{self.role}.{name}", getattr(self, name), rule)

    def require_positive(self, *names: str) -> None:
        """Each of these settings is a positive number of a possible size, or a tuple of some."""
        for name in names:
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            self.require(min(numbers, default=0) > 0, name, "must be positive")
            self.require(max(numbers) < MOST, name, f"must be below {MOST}")


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(NetworkConfig):
    """What the settings of every generator have."""

    role = "generator"

    dim_z: int = 128
    """Dimensions of the latent."""
    latent: str = "normal"
    """Law of z, from orthogan.game.latents."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_positive("dim_z")


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig(NetworkConfig):
    """What the settings of every discriminator have: no fields. `StabilizedConfig` makes fields of the two below."""

    role = "discriminator"
    stabilizer: ClassVar[Stabilizer | None] = None
    """What it is built under of `orthogan.nn.stabilizers`; None where that cannot be chosen."""
    dropout: ClassVar[float] = 0.0


@dataclass(frozen=True, kw_only=True)
class StabilizedConfig(DiscriminatorConfig):
    """Of a discriminator whose stabiliser can be chosen, and that can drop features before its last layer."""

    stabilizer: Stabilizer = "spectral-norm"  # type: ignore[misc]
    """What keeps the discriminator in bounds."""
    dropout: float = 0.0  # type: ignore[misc]
    """Chance of each feature before the last layer to be dropped in training (BigGAN's sweep: 0.05 to 0.5)."""
    bn_eps: float = 1e-4
    sn_eps: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.dropout < 1, "dropout", "must be a chance from 0 to below 1")
        self.require_positive("bn_eps", "sn_eps")


class Network(nn.Module):
    """What the two players have in common. A forward writes nothing; what changes with training has its two moments."""

    memory_format: torch.memory_format = torch.channels_last
    """Layout of the feature maps; convolutions are fastest in this one, on processors and on GPUs."""

    config: NetworkConfig

    def __init__(self, config: NetworkConfig, resolution: int, n_classes: int):
        super().__init__()
        config.check(resolution, n_classes)
        self.config, self.resolution, self.n_classes = config, resolution, n_classes

    def before_update(self) -> None:
        """Called once before each update of this network: one power iteration of its normalised layers."""
        advance(self)

    def after_update(self) -> None:
        """Called once after each step of this network's optimiser."""


class Generator(Network):
    """z (N, dim_z) and y -> images (N, 3, R, R), around [-1, 1].

    y is class indices (N,), or weights (N, n_classes) that mix classes, or None in a generator without classes.
    """

    class_columns: ClassVar[Literal["first", "last"]] = "first"
    """Which columns of a layer that takes both are the class's; the others are those of z."""
    truncation: ClassVar[Literal["z", "w", "none"]] = "z"
    """What truncation is of: the latents; the intermediate latents w of a `StyleGenerator`; nothing, where it is
    refused."""
    noise_modes: tuple[str, ...] = ()
    """What `noise` may be: `orthogan.nn.noise.MODES` in a generator with noise inside."""
    noise: str = "random"
    """The mode of the noise inside, in a generator that has any. Training is with random noise."""

    config: GeneratorConfig

    def __init__(self, config: GeneratorConfig, resolution: int, n_classes: int):
        super().__init__(config, resolution, n_classes)
        self.checkpoint_blocks = False
        """Whether blocks keep only their inputs for the backward pass, in a generator that can do so."""

    def call_block(self, block: Callable[..., Any], *inputs: Any) -> Any:
        """What a block makes of its inputs; with `checkpoint_blocks` made once more in the backward pass."""
        return checkpoint(block, *inputs, use_reentrant=False) if self.checkpoint_blocks else block(*inputs)

    @property
    def dim_z(self) -> int:
        return self.config.dim_z

    @property
    def latent(self) -> str:
        """Law of z, from orthogan.game.latents."""
        return self.config.latent

    def check_truncation(self, threshold: float | None, form: str = "redraw") -> None:
        """Refuse what this generator cannot be sampled with; None is no truncation."""
        if self.truncation == "none":
            require(threshold is None, "truncation", threshold, "this generator has no truncation; leave it out")
            require(form == "redraw", "form", form, "this generator has no truncation; leave it out")
        elif self.truncation == "w":
            require(form == "redraw", "form", form, "truncation is of w, not of z; leave it out")
            rule = "is psi, the share of the way from the mean of w: must be a finite number of float32"
            require(threshold is None or abs(threshold) <= LARGEST, "truncation", threshold, rule)
        else:
            check_truncation(threshold, form, self.latent)

    def check_noise(self, mode: str) -> None:
        """Refuse a mode of noise that this generator does not have."""
        modes = ", ".join(self.noise_modes)
        rule = f"must be one of {modes}" if modes else "this generator has no noise inside; leave it out"
        require(mode in self.noise_modes, "noise", mode, rule)

    def collect(self, z: Tensor, y: Tensor | None) -> object:
        """One forward of the collection of standing statistics: whatever passes all layers that have some."""
        return self(z, y)


class StyleGenerator(Generator):
    """A generator with an intermediate latent w (N, L, D), one vector a layer, in which it is truncated and walked."""

    truncation = "w"

    def styles(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """w (N, L, D), in training with the mixing of styles."""
        raise NotImplementedError

    def mean_style(self) -> Tensor:
        """The mean of w, (D,), as the standing statistics have it."""
        raise NotImplementedError

    def synthesize(self, w: Tensor, noise: Noise) -> Tensor:
        """Images (N, 3, R, R) of w (N, L, D)."""
        raise NotImplementedError

    def truncate(self, w: Tensor, psi: float | None, cutoff: int | None = None) -> Tensor:
        """w drawn to its mean, psi the share of the way that is left, in the first `cutoff` layers or in all."""
        if psi is None:
            return w
        drawn = torch.lerp(self.mean_style(), w[:, :cutoff], psi)
        return drawn if cutoff is None else torch.cat([drawn, w[:, cutoff:]], dim=1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self.synthesize(self.styles(z, y), Noise.of(self.noise, z))

    def collect(self, z: Tensor, y: Tensor | None) -> object:
        return self.styles(z, y)


class Discriminator(Network):
    """Images (N, 3, R, R) in [-1, 1] and y (N,), or None without classes -> logits (N,) or, K an image, (N, K).

    Images of a batch act on one another's logits through `Coupling` modules alone, which keep real and fake ones apart.
    One that `drops` takes keys (N,), int64, too: in training; without them it drops nothing.
    """

    config: DiscriminatorConfig

    @property
    def drops(self) -> bool:
        """Whether drop-out is on, whose masks follow from the keys of the images."""
        return self.config.dropout > 0

    def stages(self) -> list[list[nn.Module]]:
        """The parts that an image passes one after another, from the image on and without the head: what may be frozen.

        Empty where nothing of that kind is trained.
        """
        return []
