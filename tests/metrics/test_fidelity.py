"""Agreement with torch-fidelity's own command over the same images, by a feature extractor registered with it."""

import numpy as np
import pytest
import torch
from tiny import TinyFeatures
from torch.utils.data import Dataset

from orthogan.features.pretrained import FeatureNet
from orthogan.metrics.evaluate import evaluate

fidelity = pytest.importorskip("torch_fidelity")
base = pytest.importorskip("torch_fidelity.feature_extractor_base")


class Registered(base.FeatureExtractorBase):  # type: ignore[misc, name-defined]
    """The tiny network as torch-fidelity wants one, its features of a type to choose."""

    dtype = torch.float32

    def __init__(self, name: str, features_list: list[str], **kwargs: object):
        super().__init__(name, features_list)
        self.net = TinyFeatures()

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("features", "logits")

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        features, logits = self.net(images)
        found = {"features": features, "logits": logits}
        return tuple(found[name].to(self.dtype) for name in self.features_list)


class Images(Dataset[torch.Tensor]):
    def __init__(self, images: np.ndarray):
        self.images = torch.from_numpy(images).permute(0, 3, 1, 2)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.images[index]


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    fidelity.register_feature_extractor("tiny", Registered)


def noise(n: int, seed: int, low: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, 256, (n, 8, 8, 3), dtype=np.uint8)


# torch-fidelity computes KID in the type of the features, orthogan always in float64.
@pytest.mark.parametrize(("n", "dtype", "kid"), [(120, "float32", {"abs": 1e-6}), (1100, "float64", {"rel": 1e-6})])
def test_scores_agree_with_torch_fidelity_over_the_same_images(
    n: int, dtype: str, kid: dict[str, float], tiny: FeatureNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Registered, "dtype", getattr(torch, dtype))
    real, fake = noise(n, 0), noise(n, 1, low=20)
    ours = evaluate([real], [fake], tiny, seed=7)
    settings = ours["protocol"]["settings"]
    theirs = fidelity.calculate_metrics(
        input1=Images(fake),
        input2=Images(real),
        cuda=False,
        batch_size=50,
        feature_extractor="tiny",
        **{f"feature_layer_{score}": "features" for score in ("fid", "kid", "prc")},
        feature_layer_isc="logits",
        **dict.fromkeys(("fid", "kid", "isc", "prc"), True),
        kid_subsets=settings["kernel_subsets"],
        kid_subset_size=settings["kernel_subset_size"],
        isc_splits=settings["classifier_splits"],
        rng_seed=7,
        verbose=False,
        cache=False,
        save_cpu_ram=True,  # no processes that load
    )
    found = ours["scores"]
    assert settings["kernel_subsets"] == (1 if n == 120 else 100)
    assert found["frechet_distance"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-3)
    assert found["kernel_distance"] == pytest.approx(theirs["kernel_inception_distance_mean"], **kid)
    assert found["kernel_distance_std"] == pytest.approx(theirs["kernel_inception_distance_std"], **kid)
    assert found["classifier_score"] == pytest.approx(theirs["inception_score_mean"], rel=1e-5)
    assert found["precision"] == pytest.approx(theirs["precision"], abs=2 / n)
    assert found["recall"] == pytest.approx(theirs["recall"], abs=2 / n)
