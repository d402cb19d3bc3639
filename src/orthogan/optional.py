"""The one way to packages that only an extra brings: found without being imported, imported with a way out."""

import importlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from orthogan.errors import UserError


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
