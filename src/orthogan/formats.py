"""A run's configuration as plain JSON, and as it was called in earlier formats."""

from collections.abc import Collection, Mapping
from typing import Any

from orthogan.config import RunConfig
from orthogan.errors import unknown
from orthogan.networks import family_of, find
from orthogan.settings import flatten, from_dict, nested, to_dict

ROLES = ("generator", "discriminator")

BOTH = {name: (f"generator.{name}", f"discriminator.{name}") for name in ("width", "bn_eps", "sn_eps", "init")}

OLD_RULES = ("g_ortho", "d_clip", "d_penalty", "d_orthonormal", "d_ortho", "d_consistency")

RENAMED: dict[str, tuple[str, ...]] = {
    "network.resolution": ("resolution",),
    "network.n_classes": ("n_classes",),
    "network.latent": ("generator.latent",),
    **{f"network.{name}": paths for name, paths in BOTH.items()},
    "network.g_channels": ("generator.channels",),
    "network.d_channels": ("discriminator.channels",),
    "network.d_downs": ("discriminator.downs",),
    "network.g_attention": ("generator.attention",),
    "network.d_attention": ("discriminator.attention",),
    "network.dim_z": ("generator.dim_z",),
    "network.skip_z": ("generator.skip_z",),
    "network.shared_embedding": ("generator.shared_embedding",),
    "network.shared_dim": ("generator.shared_dim",),
    "network.stabilizer": ("discriminator.stabilizer",),
    "network.d_labels": ("discriminator.labels",),
    "network.head_bias": ("discriminator.head_bias",),
    **{f"regularizers.{rule}": (f"regularizers.{rule}.strength",) for rule in OLD_RULES},
    "regularizers.g_ortho_form": ("regularizers.g_ortho.form",),
    "regularizers.d_ortho_form": ("regularizers.d_ortho.form",),
}
"""Paths of settings in the formats 1 and 2, in which both networks had one configuration and no rule its own, and where
they went."""


def renamed(path: str, known: Collection[str]) -> tuple[str, ...]:
    """The known paths that an old one stands for; none if there are none."""
    return tuple(new for new in RENAMED.get(path, ()) if new in known)


def whole_paths(name: str, known: Collection[str]) -> tuple[str, ...]:
    """The paths that a name means: itself, or where it went, with or without `network.`; unknown, itself."""
    found = (name,) if name in known else renamed(name, known) or renamed(f"network.{name}", known)
    return found or (name,)


def to_json(run: RunConfig) -> dict[str, Any]:
    """The settings in plain types, each network's with the name of its family."""
    values = to_dict(run)
    for role in ROLES:
        values[role] = {"family": family_of(getattr(run, role)), **values[role]}
    return values


def from_json(values: Mapping[str, Any]) -> RunConfig:
    """What `to_json` wrote. Raises `UserError` for a setting or a family that does not exist."""
    networks = {role: dict(values[role]) for role in ROLES}
    built = {role: from_dict(find(role, own.pop("family")).config, own, f"{role}.") for role, own in networks.items()}
    run: RunConfig = from_dict(RunConfig, {**values, **built})
    return run


def upgrade(family: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of format 1 or 2, in which one family gave both networks, as `to_json` writes them now."""
    known = {"resolution", "n_classes"}.union(*(flatten({role: to_dict(find(role, family).tiny)}) for role in ROLES))
    upgraded: dict[str, Any] = {f"{role}.family": family for role in ROLES}
    for old, value in flatten(values).items():
        went = RENAMED.get(old, (old,))
        paths = [path for path in went if path in known or not old.startswith("network.")]
        if not paths or (old.startswith("network.") and old not in RENAMED):
            raise unknown("setting", old, RENAMED)
        upgraded |= dict.fromkeys(paths, value)
    return nested(upgraded)
