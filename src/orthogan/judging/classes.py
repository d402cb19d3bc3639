"""The classes of generated images among those of the real ones."""

from collections.abc import Sequence

import numpy as np

from orthogan.data import ImageCache

NAMED = 5
"""Classes that a note names."""


def matched(labels: np.ndarray | None, names: Sequence[str], real: ImageCache) -> tuple[np.ndarray | None, list[str]]:
    """Labels (N,) among the real classes, -1 for a class that these lack, matched by name; and what to know of it.

    None where either side has no classes, or none in common. Numbers, and classes without names, are matched by index.
    """
    if labels is None or real.labels is None:
        return None, []
    if not names:
        return (labels if int(labels.max()) < real.n_classes else None), []
    index = {name: i for i, name in enumerate(real.class_names)}
    if not index.keys() & set(names) and all(name.isdecimal() and int(name) < real.n_classes for name in names):
        index = {str(i): i for i in range(real.n_classes)}  # an array file has numbers where a folder has names
    table = np.array([index.get(name, -1) for name in names])
    lacking = [name for name, at in zip(names, table, strict=True) if at < 0]
    if len(lacking) == len(names):
        return None, [
            f"no class of the generated images ({_some(names)}) is one of the real ones ({_some(real.class_names)}): "
            "nothing is compared by class"
        ]
    notes = [f"classes of the generated images that the real ones lack: {_some(lacking)}"] if lacking else []
    return table[labels], notes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
