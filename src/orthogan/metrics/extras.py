"""Packages that only scoring needs: found without being imported, imported with a way out."""

import importlib
import importlib.util
from types import ModuleType

from orthogan.errors import UserError

INSTALL = "pip install 'orthogan[scores]'"


def is_installed(module: str) -> bool:
    """Whether a top-level module could be imported; takes microseconds, whatever it weighs."""
    return importlib.util.find_spec(module) is not None


def need(module: str) -> ModuleType:
    """Import an optional module, or say how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise missing([(error.name or module).partition(".")[0]]) from error


def missing(modules: list[str]) -> UserError:
    return UserError(f"scores need {' and '.join(modules)}, not installed here: {INSTALL}")
