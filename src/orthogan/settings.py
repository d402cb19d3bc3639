"""Settings as frozen dataclasses: checked, saved as JSON, compared and changed by path. Knows no name of any method."""

import dataclasses
import hashlib
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from orthogan.errors import UserError, unknown


def digest_of_text(text: str, n_bytes: int = 16) -> str:
    """A hexadecimal digest, the same in every process; of plain values by their JSON or their repr."""
    return hashlib.blake2b(text.encode(), digest_size=n_bytes).hexdigest()


def require(condition: bool, setting: str, value: object, rule: str) -> None:
    """Refuse a bad value with the setting's name, the value and what would be accepted."""
    if not condition:
        raise UserError(f"{setting}={value!r}: {rule}")


def check_choices(config: Any, where: str = "") -> None:
    """Refuse a value that is not among the choices of a field's Literal."""
    for name, hint in typing.get_type_hints(type(config)).items():
        if typing.get_origin(hint) is Literal:
            choices = typing.get_args(hint)
            require(
                getattr(config, name) in choices,
                f"{where}{name}",
                getattr(config, name),
                f"must be one of {', '.join(map(str, choices))}",
            )


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain JSON types: tuples become lists."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return list(value) if isinstance(value, tuple) else value

    return typing.cast(dict[str, Any], plain(config))


def from_dict(cls: type, values: Mapping[str, Any], where: str = "") -> Any:
    """Build the dataclass `cls` from what `to_dict` wrote. An unknown key is an error that names the nearest one."""
    fields = dataclasses.fields(cls)
    for key in values:
        if key not in {f.name for f in fields}:
            raise unknown("setting", f"{where}{key}", [f"{where}{f.name}" for f in fields])
    for f in fields:
        if f.name not in values and f.default is f.default_factory is dataclasses.MISSING:
            raise UserError(f"the setting {where}{f.name} is missing, and has no default")
    hints = typing.get_type_hints(cls)
    return cls(**{key: _typed(hints[key], value, f"{where}{key}") for key, value in values.items()})


def _typed(hint: Any, value: Any, where: str) -> Any:
    """The value as its field wants it: lists become tuples, mappings dataclasses. Refuses values of another type."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return from_dict(hint, value, f"{where}.")
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        require(value in inner, where, value, f"must be one of {', '.join(map(str, inner))}")
        return value
    if type(None) in inner:  # X | None
        return None if value is None else _typed(inner[0], value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_typed(inner[0], item, where) for item in value)
    fits = isinstance(value, origin or hint) or (hint is float and isinstance(value, int))
    name = getattr(hint, "__name__", str(hint))
    require(fits and not (isinstance(value, bool) and hint is not bool), where, value, f"must be {name}")
    return value


def flatten(config: Any) -> dict[str, Any]:
    """Every setting by its path, such as {"optimizer.g_lr": 5e-05}."""

    def walk(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    return dict(walk(config if isinstance(config, Mapping) else to_dict(config), ""))


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The opposite of `flatten`: settings by path as dictionaries in dictionaries."""
    values: dict[str, Any] = {}
    for path, value in flat.items():
        *parts, name = path.split(".")
        inside = values
        for part in parts:
            inside = inside.setdefault(part, {})
        inside[name] = value
    return values


def differences(a: Any, b: Any) -> list[tuple[str, Any, Any]]:
    """(path, value in a, value in b) of every setting in which two configurations differ, sorted by path."""
    left, right = flatten(a), flatten(b)
    paths = sorted(left.keys() | right.keys())
    return [(p, left.get(p), right.get(p)) for p in paths if left.get(p) != right.get(p)]


def override(config: Any, changes: Mapping[str, Any]) -> Any:
    """A copy with single settings replaced by path: `override(run, {"network.width": 64})`.

    An unknown path is an error that names the nearest one, a value of another type or choice one that names both.
    """
    known = flatten(config)
    for path in changes:
        if path not in known:
            raise unknown("setting", path, known)
    return _override(config, changes, "")


def _override(config: Any, changes: Mapping[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(type(config))
    parts: dict[str, dict[str, Any]] = {}
    replaced: dict[str, Any] = {}
    for path, value in changes.items():
        head, _, rest = path.partition(".")
        if rest:
            parts.setdefault(head, {})[rest] = value
        else:
            replaced[head] = _typed(hints[head], value, where + head)
    for head, inner in parts.items():
        replaced[head] = _override(getattr(config, head), inner, f"{where}{head}.")
    return dataclasses.replace(config, **replaced)
