"""orthogan: train, resume, sample and score GANs of the hinge family.

orthogan.build("biggan-128", device="meta")       the networks of a preset
orthogan.load("runs/digits").sample(64, seed=0)    images from a run folder or a checkpoint file
orthogan.UserError                                what bad input raises: one line with a way out
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orthogan.api import Model, Pair, UserError, build, load

__version__ = "0.1.0"
__all__ = ["Model", "Pair", "UserError", "__version__", "build", "load"]


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import; `orthogan --help` and error messages should not wait for it.
    if name in __all__:
        return getattr(importlib.import_module("orthogan.api"), name)
    raise AttributeError(f"module 'orthogan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
