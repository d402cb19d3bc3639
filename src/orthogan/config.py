"""The settings of a run: frozen dataclasses, checked at birth.

A run is `RunConfig`. Its `generator` and `discriminator` are the configurations of two networks of any families (see
`orthogan.networks`), which sit beside the networks that they describe; everything else is here. Field docstrings are
the command line's help texts.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from orthogan.data.config import DataConfig
from orthogan.game.augment import AugmentConfig
from orthogan.game.losses import LOSSES
from orthogan.game.regularizers import RegularizerConfig, check_needs, check_stabilizer
from orthogan.networks.base import DiscriminatorConfig, GeneratorConfig
from orthogan.settings import check_choices, flatten, require

MOST = 1_000_000
"""Bound of batches and of steps in one update, hundreds of times what anybody has trained with."""

MOST_PIXELS = 2**31
"""PyTorch could not count the pixels of a side that reaches this."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Adam for both networks, each with its own learning rate (TTUR)."""

    g_lr: float = 5e-5
    """Learning rate of the generator."""
    d_lr: float = 2e-4
    """Learning rate of the discriminator."""
    beta1: float = 0.0
    beta2: float = 0.999
    eps: float = 1e-8
    decay_from_images: int | None = None
    """Real images shown after which both learning rates fall linearly, to 0 at the end of the run; none: constant."""
    lazy: bool = False
    """Let a player whose rules come once in k > 1 updates learn at StyleGAN2's rates: lr times c, betas to the power
    c, with c = k / (k + 1), though a rule joins the update in which it is due. Without such rules nothing changes."""

    def __post_init__(self) -> None:
        require(self.g_lr > 0, "optimizer.g_lr", self.g_lr, "must be positive")
        require(self.d_lr > 0, "optimizer.d_lr", self.d_lr, "must be positive")
        require(0 <= self.beta1 < 1, "optimizer.beta1", self.beta1, "must be in [0, 1)")
        require(0 <= self.beta2 < 1, "optimizer.beta2", self.beta2, "must be in [0, 1)")
        require(self.eps > 0, "optimizer.eps", self.eps, "must be positive")


@dataclass(frozen=True, kw_only=True)
class EmaConfig:
    """The moving average of G's parameters that is sampled from."""

    decay: float | None = 0.9999
    """Share of the average kept at each G update; none: halflife_images says it."""
    start_steps: int = 0
    """G's update, counted from 1, that the average begins with; before it the average is a plain copy."""
    halflife_images: float | None = None
    """Real images after which half of the average is kept, instead of a decay (StyleGAN2: 10,000 for a batch of 32)."""
    rampup: float | None = None
    """Bound of that half-life as a share of the images shown so far, so that the average is quick at first
    (StyleGAN2-ADA 0.05); none: no bound."""

    def __post_init__(self) -> None:
        require(self.decay is None or 0 <= self.decay < 1, "ema.decay", self.decay, "must be in [0, 1)")
        require(self.start_steps >= 0, "ema.start_steps", self.start_steps, "must not be negative")
        one = (self.decay is None) != (self.halflife_images is None)
        rule = "give one of ema.decay and ema.halflife_images, and none for the other"
        require(one, "ema.halflife_images", self.halflife_images, rule)
        positive = self.halflife_images is None or self.halflife_images > 0
        require(positive, "ema.halflife_images", self.halflife_images, "must be positive")
        require(self.rampup is None or self.rampup > 0, "ema.rampup", self.rampup, "must be positive")
        rule = "bounds ema.halflife_images, which is not set"
        require(self.rampup is None or self.halflife_images is not None, "ema.rampup", self.rampup, rule)


@dataclass(frozen=True, kw_only=True)
class CadenceConfig:
    """How often things happen, in real images shown, and how many checkpoints stay. May change on resume."""

    log_images: int = 10_000
    """Write a line of losses every so many images."""
    sheet_images: int = 100_000
    """Draw the sheet of fixed latents every so many images; 0 never."""
    checkpoint_images: int = 200_000
    """Save everything every so many images."""
    first_images: int = 1_000
    """Do all but scores early as well, after so many images and each doubling of it below their own number; 0 not."""
    keep_last: int = 3
    """Checkpoints kept beside the best one."""
    spectra_images: int = 10_000
    """Write a line of every layer's largest singular values every so many images; 0 never."""
    score_images: int = 0
    """Score the generator every so many images; 0 never."""
    score_features: str = "efficientnet-lite0"
    """Feature network of those scores; data is one that is first trained on the real images' own labels."""
    score_samples: int = 5_000
    """Generated images of those scores; the real side is the whole data set, or as many of it."""

    def __post_init__(self) -> None:
        for name in ("log_images", "checkpoint_images", "keep_last", "score_samples"):
            require(getattr(self, name) > 0, f"cadence.{name}", getattr(self, name), "must be positive")
        for name in ("sheet_images", "first_images", "spectra_images", "score_images"):
            require(getattr(self, name) >= 0, f"cadence.{name}", getattr(self, name), "must not be negative")


Change = Literal["none", "lower-rates", "r1"]


@dataclass(frozen=True, kw_only=True)
class WatchConfig:
    """How often a run is looked at for signs of a collapse, and what happens then. May change on resume."""

    every_images: int = 1_000
    """Look for signs of a collapse every so many images, but not more often than every 8 steps; 0 never."""
    on_collapse: Literal["warn", "stop", "rollback"] = "warn"
    """What an alarm does: a warning, an end of the run, or a return to the checkpoint before the first sign."""
    rollbacks: int = 3
    """So many returns at most; after them the run stops."""
    change: Change = "none"
    """What a return changes: nothing but the draws, both learning rates, or the strength of R1."""
    rate_factor: float = 0.5
    """Each return multiplies both learning rates by it, with change lower-rates."""
    r1_gamma: float = 1.0
    """R1's gamma after the first return, doubled by each further one, with change r1."""

    def __post_init__(self) -> None:
        require(self.every_images >= 0, "watch.every_images", self.every_images, "must not be negative")
        require(self.rollbacks > 0, "watch.rollbacks", self.rollbacks, "must be positive")
        require(0 < self.rate_factor < 1, "watch.rate_factor", self.rate_factor, "must be between 0 and 1")
        require(self.r1_gamma > 0, "watch.r1_gamma", self.r1_gamma, "must be positive")
        rule = "watch.every_images=0 never looks, so nothing would be answered; set both or neither"
        require(self.every_images > 0 or self.on_collapse == "warn", "watch.on_collapse", self.on_collapse, rule)
        plain, rolls = WatchConfig, self.on_collapse == "rollback"
        for name, read, reader in (
            ("rollbacks", rolls, "watch.on_collapse rollback"),
            ("change", rolls, "watch.on_collapse rollback"),
            ("rate_factor", self.change == "lower-rates", "watch.change lower-rates"),
            ("r1_gamma", self.change == "r1", "watch.change r1"),
        ):
            value = getattr(self, name)
            rule = f"only {reader} reads it; set that, or leave this out"
            require(read or value == getattr(plain, name), f"watch.{name}", value, rule)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a training run computes."""

    resolution: int
    """Side of the square images, in pixels."""
    n_classes: int = 0
    """Number of classes; 0 trains without labels. `orthogan train` takes it from the data."""
    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    regularizers: RegularizerConfig = field(default_factory=RegularizerConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    cadence: CadenceConfig = field(default_factory=CadenceConfig)
    watch: WatchConfig = field(default_factory=WatchConfig)
    loss: str = "hinge"
    """Name of the loss, from orthogan.game.losses."""
    images: int = 1_000_000
    """Length of the run in real images shown to the discriminator."""
    batch: int = 64
    """Real images in one update of D, over all processes and micro-batches; G's update has g_batches times as many."""
    accumulate: int = 1
    """Micro-batches that each process splits its share of D's and of G's batch into; more need less memory."""
    fake_classes: Literal["uniform", "data"] = "uniform"
    """Classes that fakes are made for: each equally often (BigGAN, SN-GAN), or as often as the data has it
    (StyleGAN2-ADA, Projected GAN)."""
    bn_over: Literal["micro-batch", "batch"] = "micro-batch"
    """Batch norm statistics of G over one micro-batch of all processes, or over all micro-batches of an update."""
    d_steps: int = 2
    """Updates of D for each update of G."""
    g_batches: int = 1
    """Size of G's batch in batches, normalised together as one; SN-GAN's code took twice the batch."""
    freeze: Literal["none", "generator", "discriminator"] = "none"
    """Which network is not updated: its weights, its optimizer and, of the generator, the average stay as they are."""
    compile: Literal["none", "generator", "discriminator", "both"] = "none"
    """Networks to translate by torch.compile when the run begins: quicker steps after a minute or more; on a processor
    it needs a C++ compiler."""
    freeze_d_blocks: int = 0
    """Blocks of the discriminator, from the image on, that are not trained (FreezeD), for fine-tuning."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Arithmetic of the networks; auto is bf16 where the processor is fast at it."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        for path, value in flatten(self).items():
            finite = not isinstance(value, float) or math.isfinite(value)
            require(finite, path, value, "must be a finite number")
        for name in ("resolution", "images", "batch", "accumulate", "d_steps", "g_batches"):
            require(getattr(self, name) > 0, name, getattr(self, name), "must be positive")
        for name in ("batch", "accumulate", "d_steps", "g_batches"):
            require(getattr(self, name) <= MOST, name, getattr(self, name), f"must be at most {MOST:,}")
        require(
            self.batch % self.accumulate == 0,
            "accumulate",
            self.accumulate,
            f"must divide batch={self.batch}",
        )
        require(
            self.bn_over == "micro-batch" or self.accumulate > 1,
            "bn_over",
            self.bn_over,
            "has no effect while accumulate is 1, for each update is then one batch; set accumulate or leave it out",
        )

        require(self.resolution < MOST_PIXELS, "resolution", self.resolution, f"must be below {MOST_PIXELS}")
        require(self.freeze_d_blocks >= 0, "freeze_d_blocks", self.freeze_d_blocks, "must not be negative")
        require(self.n_classes >= 0, "n_classes", self.n_classes, "must not be negative")
        self.generator.check(self.resolution, self.n_classes)
        self.discriminator.check(self.resolution, self.n_classes)
        start = self.optimizer.decay_from_images
        rule = f"must be from 0 to below the run's length, images={self.images}"
        require(start is None or 0 <= start < self.images, "optimizer.decay_from_images", start, rule)
        check_needs(self.regularizers, self.generator.offers, self.discriminator.offers)
        check_stabilizer(self.discriminator.stabilizer, self.regularizers, self.loss)
        rule = "its logits have no boundary between real and fake for ADA to follow; set augment.p, or another loss"
        followed = self.augment.kind == "ada" and self.augment.p is None
        require(not followed or LOSSES[self.loss].boundary is not None, "loss", self.loss, rule)
        if self.watch.change == "r1":
            self._check_r1_after_rollbacks()

    def _check_r1_after_rollbacks(self) -> None:
        """What a rollback will change must fit the run that it changes."""
        gamma, own = self.watch.r1_gamma, self.regularizers.d_r1
        rule = f"must be more than regularizers.d_r1.strength={own.strength}, which it takes the place of"
        require(gamma > own.strength, "watch.r1_gamma", gamma, rule)
        changed = replace(self.regularizers, d_r1=replace(own, strength=gamma))
        check_stabilizer(self.discriminator.stabilizer, changed, self.loss)

    @property
    def images_per_step(self) -> int:
        """Real images one whole step (d_steps updates of D, one of G) shows."""
        return self.batch * self.d_steps


def may_change_on_resume(config: "RunConfig") -> tuple[str, ...]:
    """Beginnings of the paths that `orthogan resume` accepts a new value for: cadences, watch, data, length.

    Not the length of a run whose steps depend on it: by a falling learning rate, or by an annealed latent. Whether the
    data is the same, its fingerprint decides, and of pretrained weights their digest.
    """
    depends = config.optimizer.decay_from_images is not None or config.generator.latent == "annealed-normal"
    may = ("cadence.", "watch.", "data.source", "data.skip_bad", "discriminator.weights")
    return may if depends else ("images", *may)
