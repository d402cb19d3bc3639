"""From two streams of images to one dictionary of scores, notes and their protocol."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orthogan import ranks
from orthogan.errors import UserError
from orthogan.features import pretrained
from orthogan.features.pretrained import FeatureNet
from orthogan.features.weights import OF_DATA
from orthogan.metrics import intervals, of_data, protocol, scores
from orthogan.metrics.intervals import Resampling
from orthogan.metrics.measuring import Images, ImageSet, Pixels, Progress, measure, of_array
from orthogan.metrics.sides import Measured, Real
from orthogan.metrics.suite import Steps, suite
from orthogan.randomness import draw

AS_DATA = "as often as the data has them"
"""What a protocol says of the classes of generated images which follow those of the real ones."""

MAX_REAL = 50_000
"""Real images looked at, unless told otherwise; of more, as many are drawn, always the same ones."""


def evaluate(
    real: Images,
    fake: Images,
    net: FeatureNet,
    *,
    seed: int,
    resamples: int = 0,
    real_source: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **stamp: Any,
) -> dict[str, Any]:
    """Score generated images against real ones, both batches of uint8 (B, H, W, 3) of one size.

    `real_source` says in plain values where the real images come from; `stamp` takes further entries of the protocol,
    such as generator={...}. Returns plain JSON types:

        {"scores": {"frechet_distance": ..., ...}, "notes": [...], "protocol": {...}}

    and, with `resamples`, "intervals": {"frechet_distance": [low, high], ...}. Where classes are compared too (see
    `Scorer`), "classes" holds the scores of each.

    The same images, network and seed give the same digits. Raises UserError for too few images or several sizes.
    """
    measured = measure(real, net, progress)
    side = Real(measured.features, measured.size, real_source or {})
    return compare(side, measure(fake, net, progress), net, seed=seed, resamples=resamples, **stamp)


class Scorer:
    """Scores many generators, or one generator many times, against the same real images."""

    def __init__(
        self,
        features_name: str,
        real_images: Pixels | ImageSet,
        fingerprint: str,
        device: torch.device | str = "cpu",
        *,
        weights: Path | None = None,
        max_real: int = MAX_REAL,
        source: Mapping[str, Any] | None = None,
        progress: Progress | None = None,
        labels: np.ndarray | None = None,
        class_names: Sequence[str] = (),
        net: FeatureNet | None = None,
    ) -> None:
        """Compute, or take from the cache, the features of real images uint8 (N, H, W, 3), perhaps memory-mapped.

        `fingerprint` must change whenever the pixels or the `labels` (N,) do: the feature network `data` reads the
        latter, and so do scores of images whose classes are given. `source` adds plain values to the protocol's `real`.
        `net` is the feature network, if it is loaded. With several processes each has to make this scorer and to ask
        for the same scores: they share the features of both sides, and all are given what the first has computed.
        Raises UserError for unknown networks, missing packages and missing weights, and for too few images.
        """
        count = real_images.count if isinstance(real_images, ImageSet) else len(real_images)
        scores.check_count("real", count)
        if net is not None:
            self.net = net
        elif features_name == OF_DATA:
            assert not isinstance(real_images, ImageSet), "it is trained on pixels: give `net`"
            self.net = of_data.load(real_images, labels, fingerprint, device)
        else:
            self.net = pretrained.load(features_name, weights, device)
        chosen = choose(count, max_real)
        source = {"fingerprint": fingerprint, "of": count} | dict(source or {})
        images = real_images if isinstance(real_images, ImageSet) else of_array(real_images, chosen, fingerprint)
        side = measure(images, self.net, progress)
        classes = None if labels is None else torch.from_numpy(labels[chosen])
        self.real = Real(side.features, side.size, source, classes, tuple(class_names))

    def score(
        self, fake: Images | ImageSet, seed: int, *, progress: Progress | None = None, resamples: int = 0, **stamp: Any
    ) -> dict[str, Any]:
        """As `evaluate`, against the real images of this scorer."""
        return self.compare(measure(fake, self.net, progress), seed, resamples=resamples, **stamp)

    def compare(
        self, fake: Measured, seed: int, *, resamples: int = 0, progress: Steps | None = None, **stamp: Any
    ) -> dict[str, Any]:
        """As `score`, of images measured before, whose `labels` have the classes compared too."""
        how: dict[str, Any] = {"seed": seed, "resamples": resamples, "progress": progress, **stamp}
        return ranks.of_first(lambda: compare(self.real, fake, self.net, **how))


def classes_like(labels: np.ndarray | None, n: int) -> list[int] | None:
    """Classes of n generated images in the proportions of real ones' labels (N,), the same every time; None without."""
    if labels is None:
        return None
    return [int(label) for label in labels[np.linspace(0, len(labels) - 1, n).round().astype(int)]]


def choose(n: int, at_most: int, purpose: str = "scores/real") -> np.ndarray:
    """Indices of at most so many of n images, in order; the same ones every time, whatever a run's seed."""
    if n <= at_most:
        return np.arange(n)
    return torch.randperm(n, generator=draw(0, purpose, n))[:at_most].sort().values.numpy()


def compare(
    real: Real,
    fake: Measured,
    net: FeatureNet,
    *,
    seed: int,
    resamples: int = 0,
    progress: Steps | None = None,
    **stamp: Any,
) -> dict[str, Any]:
    """The dictionary that `evaluate` returns, from both sides' features."""
    if real.size != fake.size:
        raise UserError(f"generated images of {_x(fake.size)} against real ones of {_x(real.size)}; use one size")
    settings = scores.Settings.of(len(real.features), len(fake.features))
    own = {
        "features": protocol.describe_net(net),
        "real": {"images": len(real.features), "size": list(real.size), **real.source},
        "generated": {"images": len(fake.features), **stamp.pop("generated", {})},
        "settings": {"seed": seed, **dataclasses.asdict(settings)},
        "versions": protocol.versions(),
    }
    if resamples:
        own["intervals"] = {"level": intervals.LEVEL, "resamples": resamples}
    clash = sorted(own.keys() & stamp.keys())
    assert not clash, f"entries of the protocol that scoring writes itself: {clash}"
    found = suite(real, fake, net, settings, Resampling(seed, resamples), progress)
    of_few = notes(len(real.features), len(fake.features), net.feature_dim, found.classes)
    result: dict[str, Any] = {"scores": found.scores, "notes": of_few + found.notes, "protocol": own | stamp}
    parts = {"intervals": found.intervals, "classes": found.classes}
    return result | {name: part for name, part in parts.items() if part}


def notes(
    n_real: int, n_fake: int, feature_dim: int, classes: Mapping[str, Mapping[str, Any]] | None = None
) -> list[str]:
    """What a reader of the numbers, and of those of the classes, should know about so few images."""
    found = []
    few = [f"{n} {side}" for side, n in (("real", n_real), ("generated", n_fake)) if n <= feature_dim]
    sizes = [min(scored["real"], scored["generated"]) for scored in (classes or {}).values()]
    if few_classes := sum(size <= feature_dim for size in sizes):
        few.append(f"those of {few_classes} of {len(sizes)} classes")
    if few:
        found.append(
            f"no more images than the {feature_dim} feature dimensions ({', '.join(few)}): such Fréchet distances are "
            "strongly biased upwards; compare them only at the same numbers of images"
        )
    if max(n_real, n_fake) > 2 * min(n_real, n_fake):
        told = "precision and recall, density and coverage expect similar numbers"
        found.append(f"{n_real} real and {n_fake} generated images: {told}")
    return found


def partial_to(seen: str | None, features: str) -> list[str]:
    """What to know of a score over `features` if the GAN's discriminator has looked through the network `seen`."""
    if seen is None or features == OF_DATA:
        return []
    return [
        f"the discriminator looked through {seen}, a pretrained network as {features} is: these distances may favour "
        "it over other GANs (Kynkäänniemi et al. 2023); compare it with others by the features `data`"
    ]


def _x(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
