"""The regularisers, by name: a rule is one file here, with its settings beside it, and one line in the table."""

from collections.abc import Callable, Set
from dataclasses import dataclass, field
from typing import Any, Literal

from orthogan.game.regularizers import (
    clamp,
    clipping,
    consistency,
    gradient_penalty,
    lecam,
    ortho,
    orthonormal,
    path_length,
    r1,
    reconstruction,
)
from orthogan.game.regularizers.base import Regularizer, Settings
from orthogan.nn.stabilizers import STABILIZERS
from orthogan.settings import check_choices, require

Player = Literal["generator", "discriminator"]


@dataclass(frozen=True, kw_only=True)
class RegularizerConfig:
    """The rules of both players: g_ of the generator, d_ of the discriminator."""

    g_ortho: ortho.OrthoSettings = field(default_factory=ortho.OrthoSettings)
    d_ortho: ortho.OrthoSettings = field(default_factory=ortho.OrthoSettings)
    d_consistency: consistency.ConsistencySettings = field(default_factory=consistency.ConsistencySettings)
    d_clip: clipping.ClippingSettings = field(default_factory=clipping.ClippingSettings)
    d_penalty: gradient_penalty.GradientPenaltySettings = field(
        default_factory=gradient_penalty.GradientPenaltySettings
    )
    d_orthonormal: orthonormal.OrthonormalSettings = field(default_factory=orthonormal.OrthonormalSettings)
    d_reconstruction: reconstruction.ReconstructionSettings = field(
        default_factory=reconstruction.ReconstructionSettings
    )
    g_path_length: path_length.PathLengthSettings = field(default_factory=path_length.PathLengthSettings)
    d_r1: r1.R1Settings = field(default_factory=r1.R1Settings)
    g_clamp: clamp.ClampSettings = field(default_factory=clamp.ClampSettings)
    d_clamp: clamp.ClampSettings = field(default_factory=clamp.ClampSettings)
    d_lecam: lecam.LeCamSettings = field(default_factory=lecam.LeCamSettings)

    def __post_init__(self) -> None:
        for name in RULES:
            settings: Settings = getattr(self, name)
            check_choices(settings, f"regularizers.{name}.")
            settings.check(f"regularizers.{name}")
            settings.check_read(f"regularizers.{name}")
            positive = settings.strength > 0 or name not in OF_STABILIZERS
            require(positive, f"regularizers.{name}.strength", settings.strength, "must be positive")


@dataclass(frozen=True)
class Rule:
    """A regulariser of one player, built from its settings."""

    player: Player
    build: Callable[[Any], Regularizer]
    needs: str | None = None
    """What the player's network must offer: see `offers` of its configuration."""
    alone: bool = False
    """Nothing else trains what it needs, which must not be there without the rule."""


RULES = {
    "g_ortho": Rule("generator", ortho.in_form),
    "d_clip": Rule("discriminator", clipping.WeightClipping),
    "d_penalty": Rule("discriminator", gradient_penalty.GradientPenalty),
    "d_orthonormal": Rule("discriminator", orthonormal.Orthonormal),
    "d_ortho": Rule("discriminator", ortho.in_form),
    "d_consistency": Rule("discriminator", consistency.Consistency),
    "d_reconstruction": Rule("discriminator", reconstruction.Reconstruction, needs="reconstructions", alone=True),
    "g_path_length": Rule("generator", path_length.PathLength, needs="w"),
    "d_r1": Rule("discriminator", r1.R1),
    "g_clamp": Rule("generator", clamp.Clamp),
    "d_clamp": Rule("discriminator", clamp.Clamp),
    "d_lecam": Rule("discriminator", lecam.LeCam),
}
"""Every rule by its field in `RegularizerConfig`."""

HAVING = {
    "w": "such as --generator stylegan2",
    "reconstructions": "--discriminator fastgan with its --discriminator.decoders",
}
"""Networks that offer what rules need."""

OF_STABILIZERS = {kind.rule for kind in STABILIZERS.values() if kind.rule}
"""Rules that are on when their stabiliser is chosen, and at no other time."""


Rules = dict[str, Regularizer]


def of_players(config: RegularizerConfig, stabilizer: str | None = None) -> tuple[Rules, Rules]:
    """The rules of G and of D that a run's settings and D's stabiliser ask for, by name."""
    chosen = STABILIZERS[stabilizer].rule if stabilizer else None
    on = {name: rule for name, rule in RULES.items() if _is_on(name, getattr(config, name), chosen)}
    g, d = (
        {name: rule.build(getattr(config, name)) for name, rule in on.items() if rule.player == player}
        for player in ("generator", "discriminator")
    )
    return g, d


def _is_on(name: str, settings: Settings, chosen: str | None) -> bool:
    return name == chosen if name in OF_STABILIZERS else settings.strength > 0


def check_needs(config: RegularizerConfig, generator: Set[str], discriminator: Set[str]) -> None:
    """Refuse rules that the players' networks, which offer this, cannot have, and what would never be trained."""
    offers = {"generator": generator, "discriminator": discriminator}
    for name, rule in RULES.items():
        if rule.needs is not None:
            _check_need(name, rule, getattr(config, name).strength, rule.needs in offers[rule.player])


def _check_need(name: str, rule: Rule, strength: float, offered: bool) -> None:
    setting = f"regularizers.{name}.strength"
    why = f"needs a {rule.player} that has {rule.needs}, {HAVING[str(rule.needs)]}; or leave the rule out"
    require(offered or not strength, setting, strength, why)
    why = f"must be positive, for nothing else trains the {rule.needs} of this {rule.player}; or build it without them"
    require(strength > 0 or not (offered and rule.alone), setting, strength, why)


def check_stabilizer(stabilizer: str | None, config: RegularizerConfig, loss: str) -> None:
    """Refuse combinations that make no sense, and settings that D's stabiliser does not read."""
    kind = STABILIZERS[stabilizer] if stabilizer else None
    for name in OF_STABILIZERS - {kind.rule if kind else None}:
        settings = getattr(config, name)
        readers = " or ".join(other for other, row in STABILIZERS.items() if row.rule == name)
        rule = f"only discriminator.stabilizer {readers} reads it, not {stabilizer}; leave it out"
        require(settings == type(settings)(), f"regularizers.{name}", settings.strength, rule)
    if kind is None:
        return
    rule = f"needs --loss {kind.loss}" + (f"; {kind.otherwise} goes with others" if kind.otherwise else "")
    require(kind.loss in (None, loss), "discriminator.stabilizer", stabilizer, rule)
    for name in kind.contains:
        strength = getattr(config, name).strength
        require(not strength, f"regularizers.{name}", strength, f"is contained in the stabiliser {stabilizer}")
