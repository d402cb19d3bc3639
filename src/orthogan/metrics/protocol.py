"""The protocol stamp: everything that must agree before two numbers may be compared. Free of PyTorch."""

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orthogan import optional
from orthogan.settings import differences

if TYPE_CHECKING:
    from orthogan.features.pretrained import FeatureNet

Protocol = dict[str, Any]

_PACKAGES = ("orthogan", "torch", "timm", "torch-fidelity", "numpy")

_DECIDES = ("features.", "real.", "settings.", "generated.images", "generated.classes")
"""Paths, or beginnings of paths, that make two scores incomparable. The rest says what was scored, and with what."""

_EXCEPT = ("features.device", "settings.seed", "real.source", "real.part", "real.crop", "real.resize")
"""Rounding, chance, and what the fingerprint of the real images says better."""


def describe_net(net: "FeatureNet") -> dict[str, Any]:
    return {
        "network": net.name,
        "weights_sha256": net.weights_sha256,
        "resize": net.resize,
        "dimensions": net.feature_dim,
        "arithmetic": "float32",
        "device": net.device.type,
        **net.facts,
    }


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that compute scores; None for one that is not installed."""
    return {"python": platform.python_version(), **optional.versions(_PACKAGES)}


def comparable(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Why the scores of two protocols must not be compared, one sentence a setting; empty when they may be."""
    return [
        f"{path}: {left!r} and {right!r}"
        for path, left, right in differences(a, b)
        if path.startswith(_DECIDES) and path not in _EXCEPT
    ]
