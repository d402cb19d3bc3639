"""What a discriminator says of images: which of them it takes for real, and how it tells two sets of them apart."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from orthogan.config import RunConfig
from orthogan.data import ImageCache
from orthogan.errors import UserError
from orthogan.features.pretrained import exact_float32
from orthogan.game.losses import LOSSES
from orthogan.metrics import intervals
from orthogan.metrics.measuring import Pixels
from orthogan.networks import build_discriminator
from orthogan.networks.base import Discriminator
from orthogan.training.checkpoint import Loaded
from orthogan.training.state import NetworkPart


def discriminator_of(found: Loaded, device: torch.device) -> Discriminator:
    """The discriminator of a checkpoint, its frozen parts included."""
    config = found.header.config
    with torch.random.fork_rng(devices=[]):
        network = build_discriminator(config.discriminator, config.resolution, config.n_classes)
    NetworkPart(network).take(found, "discriminator")
    return network.to(device)


@torch.no_grad()
def mean_logits(
    network: Discriminator,
    config: RunConfig,
    images: Pixels,
    labels: np.ndarray | None,
    rows: np.ndarray,
) -> np.ndarray:
    """What D says of images uint8 (N, R, R, 3), (n,) for n rows of them; of several logits an image their mean.

    As in training, but in float32, and without augmentation, mirroring and drop-out: in micro-batches, whose images
    may act on one another.
    """
    device, size = next(network.parameters()).device, config.batch // config.accumulate
    before = network.training
    network.train()
    found = []
    with exact_float32(device):
        for start in range(0, len(rows), size):
            # The last micro-batch is filled up from the beginning.
            chunk = rows[(start + np.arange(size)) % len(rows)]
            x = torch.from_numpy(np.array(images[chunk])).permute(0, 3, 1, 2).to(device)
            y = torch.from_numpy(np.asarray(labels)[chunk]).to(device) if config.n_classes else None
            logits = network(_scaled(x, config.data.dequantize), y).float()
            found.append(logits.flatten(1).mean(1).cpu() if logits.ndim > 1 else logits.cpu())
    network.train(before)
    return torch.cat(found)[: len(rows)].numpy()


def _scaled(x: Tensor, dequantize: bool) -> Tensor:
    """Grey values to [-1, 1], as training has them, the noise of dequantising at its mean."""
    return (x.float() + 0.5) / 128 - 1 if dequantize else x.float() / 127.5 - 1


def share_real(logits: np.ndarray, config: RunConfig) -> float | None:
    """Share of the images that D takes for real.

    None under a loss that gives a single logit no meaning, and where one is no number, as after a divergence.
    """
    boundary = LOSSES[config.loss].boundary
    return None if boundary is None or not np.isfinite(logits).all() else float((logits > boundary).mean())


def require_numbers(logits: np.ndarray, path: Path) -> None:
    """Raises `UserError` where D has diverged."""
    if not np.isfinite(logits).all():
        lost = int((~np.isfinite(logits)).sum())
        raise UserError(
            f"the discriminator of {path} has diverged: its logits of {lost} of {len(logits)} images are no numbers; "
            "give an earlier checkpoint"
        )


def describe(logits: np.ndarray, config: RunConfig) -> dict[str, Any]:
    """The share that D takes for real, with Wilson's interval of 95 %, and the mean and deviation of the logits."""
    found: dict[str, Any] = {"images": len(logits), "share_real": share_real(logits, config)}
    if found["share_real"] is not None:
        real = torch.from_numpy(logits > (LOSSES[config.loss].boundary or 0))
        found["share_real_interval"] = intervals.of_share(real)
    return found | {"mean_logit": float(logits.mean()), "std_logit": float(logits.std())}


def separation(training: np.ndarray, held_out: np.ndarray, seed: int) -> dict[str, Any]:
    """How far D tells two sets of images apart, each number with a bootstrap interval of 95 %.

    `auc` is the chance that D rates an image of the first set above one of the second, 0.5 where it does not tell
    them apart; `gap` the difference of the mean logits.
    """
    found: dict[str, Any] = {}
    for name, statistic in (("auc", auc), ("gap", _gap)):
        drawn = stats.bootstrap(
            (training, held_out),
            statistic,
            n_resamples=intervals.RESAMPLES,
            vectorized=False,
            confidence_level=intervals.LEVEL,
            method="percentile",
            random_state=np.random.default_rng(seed),
        ).confidence_interval
        found |= {name: statistic(training, held_out), f"{name}_interval": [float(drawn.low), float(drawn.high)]}
    return found


def auc(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the pairs in which the first is larger, ties half: Mann and Whitney's U over all pairs."""
    ranks = stats.rankdata(np.concatenate([a, b]))[: len(a)]
    return float((ranks.sum() - len(a) * (len(a) + 1) / 2) / (len(a) * len(b)))


def _gap(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.mean(dtype=np.float64) - b.mean(dtype=np.float64))


def duplicates(part: ImageCache, other: ImageCache) -> int:
    """How many images of a part have their very pixels in the other."""
    ours, theirs = (np.asarray(c.sums)[slice(None) if c.rows is None else c.rows] for c in (part, other))
    return int(np.isin(ours, theirs).sum())
