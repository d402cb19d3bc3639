"""A feature network small enough to score with in a millisecond, and a cache folder of the test's own."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from orthogan.metrics.features import FeatureNet


class Tiny(nn.Module):
    """Four features: mean of each channel and of the image's upper half. Three logits."""

    def forward(self, images_nchw: Tensor) -> tuple[Tensor, Tensor]:
        x = images_nchw.float() / 255
        means = x.mean((2, 3))
        return torch.cat([means, x[:, :, : x.shape[2] // 2].mean((1, 2, 3))[:, None]], dim=1), 5 * means


@pytest.fixture
def tiny() -> FeatureNet:
    return FeatureNet("tiny", Tiny(), weights_sha256="0" * 64, resize="none", feature_dim=4)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORTHOGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
