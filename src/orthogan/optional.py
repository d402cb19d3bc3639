"""What packages are here, and the one way to those that only an extra brings: imported with a way out."""

import importlib
import importlib.metadata
import importlib.util
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from orthogan.errors import UserError

_REQUIREMENT = re.compile(r"""([\w.-]+) *(?:\[([^]]*)])?[^;]*(?:;.*\bextra *== *["']([\w.-]+)["'])?""")
"""A line of a package's metadata: a name, extras of it, and the extra that asks for it."""


def version(package: str) -> str | None:
    """Of an installed package, by the name that pip knows; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    return {package: version(package) for package in packages}


def requirements() -> dict[str, list[str]]:
    """Names of the packages that each extra brings, and under "" those that nothing works without."""
    try:
        lines = importlib.metadata.requires("orthogan") or []
    except importlib.metadata.PackageNotFoundError:  # the source alone, on the path
        lines = []
    asked: dict[str, list[tuple[str, str]]] = {"": []}
    for line in lines:
        if found := _REQUIREMENT.match(line):
            name, extras, asker = found.groups(default="")
            asked.setdefault(asker, []).append((name, extras))

    def unfolded(extra: str) -> Iterable[str]:
        for name, extras in asked.get(extra, []):
            if name != "orthogan":
                yield name
            else:
                for inner in extras.split(","):
                    yield from unfolded(inner.strip())

    return {extra: list(dict.fromkeys(unfolded(extra))) for extra in asked}


def install(extra: str) -> str:
    """The line that installs an extra."""
    return f"pip install 'orthogan[{extra}]'"


def is_installed(module: str) -> bool:
    """Whether a top-level module could be imported; takes microseconds, whatever it weighs."""
    return importlib.util.find_spec(module) is not None


def folders(package: str) -> list[Path]:
    """Where the files of a top-level package lie; none if it is not installed."""
    spec = importlib.util.find_spec(package)
    return [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ()]


def need(module: str, extra: str, purpose: str, otherwise: str = "") -> ModuleType:
    """Import a module of an extra. Raises `UserError` with the line that installs it, and what to do `otherwise`.

    `purpose` is what needs it, in the singular: need("datasets", "hf", "data.source='saved'").
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing([module], extra, purpose, str(error), otherwise) from error


def missing(
    modules: Iterable[str], extra: str, purpose: str, reason: str = "not installed here", otherwise: str = ""
) -> UserError:
    """The error for modules that cannot be imported."""
    way_out = install(extra) + (f"; or {otherwise}" if otherwise else "")
    return UserError(f"{purpose} needs {' and '.join(modules)} ({reason}): {way_out}")
