"""Images from where people have them: sources, checks before training, the packed cache, batches.

    cache = pack(DataConfig(source="pictures/"), resolution=64)
    images, labels = BatchStream(cache, seed=0, mirror=True).batch(position=0, count=32)

Only `BatchStream` needs PyTorch. It is imported when first used, so that decoding processes start quickly.
"""

import importlib
from typing import TYPE_CHECKING, Any

from orthogan.data.cache import ImageCache
from orthogan.data.checks import DataReport, inspect_source, layout_warnings
from orthogan.data.pack import pack
from orthogan.data.source import Source
from orthogan.data.sources import open_source

if TYPE_CHECKING:
    from orthogan.data.sampler import BatchStream

__all__ = [
    "BatchStream",
    "DataReport",
    "ImageCache",
    "Source",
    "inspect_source",
    "layout_warnings",
    "open_source",
    "pack",
]


def __getattr__(name: str) -> Any:
    if name == "BatchStream":
        return importlib.import_module("orthogan.data.sampler").BatchStream
    raise AttributeError(f"module 'orthogan.data' has no attribute {name!r}")
