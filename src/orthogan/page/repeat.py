"""The commands that do a run and its scores again."""

import shlex
from collections.abc import Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

from orthogan import presets
from orthogan.config import RunConfig
from orthogan.data.config import DataConfig
from orthogan.errors import UserError
from orthogan.game.augment import AugmentConfig
from orthogan.networks import family_of
from orthogan.page.read import Facts, Score
from orthogan.pair import with_networks
from orthogan.settings import differences, override
from orthogan.training.cadence import follow_length

LEFT_OUT = ("n_classes", "data.source")
"""Taken from the data; said as --data."""


def begun_from(config: RunConfig, preset: str) -> RunConfig | None:
    """The preset as `orthogan train` has it with these networks and this length; None if there is none of the name."""
    try:
        plain = presets.get(preset)
        named = {role: family_of(getattr(config, role)) for role in ("generator", "discriminator")}
        begun = with_networks(plain, named, config.resolution)
    except UserError:
        return None
    fitted = follow_length(begun, config.images, config.batch, config.d_steps)
    if config.augment.kind != fitted.augment.kind:
        fitted = replace(fitted, augment=AugmentConfig(kind=config.augment.kind))
    return fitted


NETWORKS = ("generator.", "discriminator.", "resolution")
"""Settings that come from the file where a run begins from one."""


def begin_words(facts: Facts, changes: Mapping[str, Any] | None = None) -> list[str]:
    """`train ...` or `branch ...` that begins this run again, with these changes; nothing where it cannot be said."""
    changes = changes or {}
    if facts.parent and "init" not in facts.parent:
        return branch_words(facts.parent, changes)
    return train_words(override(facts.config, changes), facts.preset, facts.parent)


def train_words(config: RunConfig, preset: str, parent: Mapping[str, Any] | None = None) -> list[str]:
    """`train PRESET ...` that gives a run this configuration, begun from the checkpoint of a parent if it has one."""
    begun = begun_from(config, preset)
    if begun is None:
        return []
    plain = presets.get(preset)
    words = ["train", preset, "--data", config.data.source, *_init_words(parent)]
    for role in () if parent else ("generator", "discriminator"):
        if (named := family_of(getattr(config, role))) != family_of(getattr(plain, role)):
            words += [f"--{role}", named]
    changed = [*differences(begun, config)]
    for path in ("resolution", "augment.kind", "images", "batch", "d_steps"):  # they decide what the rest begins with
        if path not in {changed_path for changed_path, _, _ in changed}:
            changed += [one for one in differences(plain, config) if one[0] == path]
    for path, _, value in changed:
        if path not in LEFT_OUT and not (parent and path.startswith(NETWORKS)):
            words += option(path, value)
    return words


def _init_words(parent: Mapping[str, Any] | None) -> list[str]:
    """How a fine-tuned run began."""
    if not parent:
        return []
    words = ["--init", str(parent.get("checkpoint", ""))]
    if (how := _part(parent, "init").get("classes")) in ("name", "fresh"):
        words += ["--init.classes", how]
    return words + (["--init.discriminator", "fresh"] if "discriminator" in parent else [])


def option(path: str, value: Any) -> list[str]:
    """A setting as words of the command line."""
    if isinstance(value, bool):
        room, dot, name = path.rpartition(".")
        return [f"--{room}{dot}{'' if value else 'no-'}{name}".replace("_", "-")]
    values = value if isinstance(value, list | tuple) else [value]
    return [f"--{path}".replace("_", "-"), *(str(one) for one in values)]


def score_words(facts: Facts, score: Score) -> list[str] | None:
    """`evaluate ...` that gives this score again; None for one that the training took."""
    if score.file == "scores.jsonl":
        return None
    return ["evaluate", *_judged(facts, score.protocol), *_option_if("--truncation", score.truncation)]


def truncation_words(facts: Facts, found: Mapping[str, Any]) -> list[str]:
    """`truncation ...` that gives this curve again."""
    thresholds = [f"{p['truncation']:g}" for p in found["points"] if p.get("truncation") is not None]
    return ["truncation", *_judged(facts, found.get("protocol", {})), "--thresholds", *thresholds]


def _judged(facts: Facts, protocol: Mapping[str, Any]) -> list[str]:
    real, generated, settings = (_part(protocol, name) for name in ("real", "generated", "settings"))
    generator = _part(protocol, "generator")
    place = facts.folder / "checkpoints" / str(generator.get("checkpoint", ""))
    judged = place if place.is_file() else facts.folder
    words = [str(judged), "--against", str(real.get("source", facts.config.data.source))]
    words += _option_if("--features", _part(protocol, "features").get("network"))
    words += _option_if("--samples", generated.get("images"))
    return words + _option_if("--seed", settings.get("seed"))


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = values.get(name)
    return part if isinstance(part, Mapping) else {}


def _option_if(name: str, value: Any) -> list[str]:
    return [] if value is None else [name, str(value)]


def branch_words(parent: Mapping[str, Any], changes: Mapping[str, Any]) -> list[str]:
    """`branch RUN ...` that begins the same branch, with these changes."""
    words = [
        "branch",
        str(Path(str(parent.get("checkpoint", ""))).parent.parent),
        "--at",
        str(parent.get("images", "")),
    ]
    told = {
        path: pair[1] for path, pair in _part(parent, "changed").items() if isinstance(pair, list) and len(pair) == 2
    }
    return words + [word for path, value in (told | dict(changes)).items() for word in option(path, value)]


def again_words(facts: Facts) -> list[str]:
    """The words that do this run again; nothing where they cannot be said."""
    words = begin_words(facts)
    return [*words, "--out", str(facts.folder)] if words else []


def commands(facts: Facts) -> list[tuple[str, str]]:
    """What each command does, and the command as a shell reads it."""
    found = []
    if words := again_words(facts):
        found.append(("Branch it again" if words[0] == "branch" else "Train it again", words))
    found.append(("Go on with it, or make it longer", ["resume", str(facts.folder)]))
    found.append(("Draw 64 samples", ["sample", str(facts.folder), "-n", "64", "--out", "samples"]))
    for score in facts.scores:
        if (scored := score_words(facts, score)) is not None:
            found.append((f"Score it again ({score.file})", scored))
    for file, values in facts.truncations:
        found.append((f"Draw its truncation curve again ({file})", truncation_words(facts, values)))
    found.append(("Write this page again", ["report", str(facts.folder)]))
    return [(told, shlex.join(["orthogan", *words])) for told, words in found]


def changed_words(options: Any) -> list[str]:
    """The settings of a dataclass that are not its defaults, as words; --data for the source."""
    words: list[str] = []
    for field in fields(options):
        value = getattr(options, field.name)
        plain: Any = field.default
        if field.default_factory is not MISSING:
            plain = field.default_factory()
        if isinstance(value, DataConfig):
            words += ["--data", value.source]
            changed = differences(replace(value, source=plain.source), plain)
            words += [word for path, here, _ in changed for word in option(f"{field.name}.{path}", here)]
        elif value != plain:
            words += option(field.name, str(value) if isinstance(value, Path) else value)
    return words
