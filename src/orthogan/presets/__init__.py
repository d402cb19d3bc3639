"""Named runs: settings by path over a base, grouped by the source that states them; one paper a file.

`get` gives the whole configuration of one, `sources` says of each of its values whose it is.
"""

from typing import Any

from orthogan.config import RunConfig
from orthogan.errors import unknown
from orthogan.formats import from_json, to_json
from orthogan.presets import biggan, biggan_deep, fastgan, projected, sagan, small, sngan, stylegan2
from orthogan.presets.base import OF_NETWORKS, SOURCES, Preset, both
from orthogan.settings import flatten, nested, override

__all__ = ["PRESETS", "SOURCES", "both", "describe", "find", "get", "origins", "sources"]

Run = RunConfig[Any, Any]

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


def get(name: str) -> Run:
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
        own = OF_NETWORKS[preset.base]
        of_networks = ("generator.", "discriminator.", "n_classes")
        found = {path: own if path.startswith(of_networks) else "orthogan" for path in flatten(to_json(get(name)))}
    return found | {path: source for source, stated in preset.settings.items() for path in stated}


def origins(name: str) -> list[str]:
    """The sources that a preset and its bases name settings from, the first that is told first; orthogan left out."""
    preset = find(name)
    before = origins(preset.base) if isinstance(preset.base, str) else [OF_NETWORKS[preset.base]]
    left = set(sources(name).values())
    return [source for source in dict.fromkeys([*before, *preset.settings]) if source in left - {"orthogan"}]


def describe(name: str) -> str:
    """One line on a preset."""
    return find(name).what
