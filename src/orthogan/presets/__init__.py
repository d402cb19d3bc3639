"""Named runs: settings by path over a base, grouped by the source that states them; one paper a file.

`get` gives the whole configuration of one, `sources` says of each of its values whose it is.
"""

from orthogan.config import RunConfig
from orthogan.errors import unknown
from orthogan.formats import ROLES, from_json, to_json
from orthogan.presets import biggan, biggan_deep, fastgan, projected, sagan, small, sngan, stylegan2
from orthogan.presets.base import OF_NETWORKS, SOURCES, Networks, Preset, both
from orthogan.settings import flatten, nested, override

__all__ = ["PRESETS", "SOURCES", "both", "describe", "find", "get", "origins", "sources"]


PRESETS: dict[str, Preset] = {
    **small.PRESETS,
    **projected.PRESETS,
    **fastgan.PRESETS,
    **stylegan2.PRESETS,
    **biggan.PRESETS,
    **biggan_deep.PRESETS,
    **sagan.PRESETS,
    **sngan.PRESETS,
    **biggan.TABLE1,
}


def find(name: str) -> Preset:
    """A preset by name. An unknown name is an error that offers the nearest one."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]


def get(name: str) -> RunConfig:
    """The configuration of a preset. An unknown name is an error that offers the nearest one."""
    preset = find(name)
    if isinstance(preset.base, str):
        return override(get(preset.base), preset.changes)
    generator, discriminator = preset.base
    return from_json(nested({"generator.family": generator, "discriminator.family": discriminator, **preset.changes}))


def sources(name: str) -> dict[str, str]:
    """Whose each setting of a preset is: its path -> a name of `SOURCES`."""
    preset = find(name)
    if isinstance(preset.base, str):
        found = sources(preset.base)
    else:
        found = {path: _of_networks(path, preset.base) for path in flatten(to_json(get(name)))}
    return found | {path: source for source, stated in preset.settings.items() for path in stated}


def _of_networks(path: str, networks: Networks) -> str:
    """Whose a value is that a preset does not state, by the networks that it starts from."""
    for role, family in zip(ROLES, networks, strict=True):
        if path.startswith(f"{role}."):
            return OF_NETWORKS[role][family]
    return OF_NETWORKS["discriminator"][networks[1]] if path == "n_classes" else "orthogan"


def origins(name: str) -> list[str]:
    """The sources that a preset and its bases name settings from, the first that is told first; orthogan left out."""
    preset = find(name)
    if isinstance(preset.base, str):
        before = origins(preset.base)
    else:
        before = [OF_NETWORKS[role][family] for role, family in zip(ROLES, preset.base, strict=True)]
    left = set(sources(name).values())
    return [source for source in dict.fromkeys([*before, *preset.settings]) if source in left - {"orthogan"}]


def describe(name: str) -> str:
    """One line on a preset."""
    return find(name).what
