"""Augmentation of what D sees, in its own update and in G's: the settings, and the augmentation that they ask for."""

from dataclasses import dataclass, fields
from typing import Literal

from orthogan.errors import unknown
from orthogan.game.augment.ada import Ada
from orthogan.game.augment.base import Augment as Augment
from orthogan.game.augment.diffaugment import POLICY, DiffAugment
from orthogan.settings import check_choices, require

Kind = Literal["none", "diffaugment", "ada"]

READ: dict[Kind, tuple[str, ...]] = {
    "none": (),
    "diffaugment": ("policy", "cutout"),
    "ada": ("pipe", "p", "target", "interval", "speed_images"),
}
"""The settings that each kind reads."""


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """What is done to real and fake images alike before D sees them; the kind, and the settings that it reads."""

    kind: Kind = "none"
    """Augmentation of what D sees: diffaugment changes every image, ada with a chance that follows how sure D is."""
    policy: str = "color,translation,cutout"
    """diffaugment: what is done, of color, translation and cutout, in this order (FastGAN: color,translation)."""
    cutout: float = 0.2
    """diffaugment: side of the square that is cut out, as a share (Projected GAN 0.2; Zhao et al. 2020: 0.5)."""
    pipe: Literal["blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc"] = "bgc"
    """ada: which changes there are; bgc is pixel moves, geometry and colour (StyleGAN2-ADA)."""
    p: float | None = None
    """ada: fixed chance of each change, in (0, 1]; none lets it follow D's signs, from 0."""
    target: float = 0.6
    """ada: mean sign of D on real images above which the chance grows (StyleGAN2-ADA 0.6)."""
    interval: int = 4
    """ada: updates of D from one change of the chance to the next (StyleGAN2-ADA 4)."""
    speed_images: int = 500_000
    """ada: real images over which the chance can go from 0 to 1 (StyleGAN2-ADA 500,000; 100,000 in transfer)."""

    def __post_init__(self) -> None:
        check_choices(self, "augment.")
        self._check_read()
        for word in self.words:
            if word not in POLICY:
                raise unknown("word of augment.policy", word, POLICY)
        self._require(len(set(self.words)) == len(self.words), "policy", "has a word twice; give each once")
        self._require(0 < self.cutout <= 1, "cutout", "must be above 0 and at most 1")
        self._require(self.p is None or 0 < self.p <= 1, "p", "must be above 0 and at most 1; or none, to adapt")
        self._require(-1 <= self.target <= 1, "target", "must be from -1 to 1")
        for name in ("interval", "speed_images"):
            self._require(getattr(self, name) > 0, name, "must be positive")

    @property
    def words(self) -> list[str]:
        """The words of the policy, in its order."""
        return [word.strip() for word in self.policy.split(",")]

    def _check_read(self) -> None:
        """Refuse settings that would not be read."""
        for kind, names in READ.items():
            self._require_read(kind == self.kind, names, f"only augment.kind={kind!r} reads it, not {self.kind!r}")
        self._require_read(self.p is None, ("target", "interval", "speed_images"), "is not read beside augment.p")
        self._require_read("cutout" in self.words, ("cutout",), "is not read without cutout in augment.policy")

    def _require_read(self, is_read: bool, names: tuple[str, ...], rule: str) -> None:
        for field in fields(self):
            left_out = field.name not in names or getattr(self, field.name) == field.default
            self._require(is_read or left_out, field.name, f"{rule}; leave it at {field.default!r}")

    def _require(self, condition: bool, name: str, rule: str) -> None:
        require(condition, f"augment.{name}", getattr(self, name), rule)


def build(config: AugmentConfig) -> Augment | None:
    """The augmentation, to be moved to the device of the images; none where images stay as they are."""
    if config.kind == "diffaugment":
        return DiffAugment(config.words, config.cutout)
    if config.kind == "ada":
        return Ada(config.pipe, config.p, config.target, config.interval, config.speed_images)
    return None
