"""A feature network that has seen nothing but the real images: a small classifier trained on their own labels.

A network pretrained on ImageNet favours a GAN whose discriminator looks through one (Kynkäänniemi et al. 2023). This
one looks at what tells the classes of the data apart, or, without labels, which way up it is (Gidaris et al. 2018).
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan import optional, ranks, runtime, tensorfile
from orthogan.data.cache import CheckedImages
from orthogan.data.config import DataConfig
from orthogan.features.pretrained import FeatureNet
from orthogan.features.weights import OF_DATA
from orthogan.files import CannotWrite, cache_folder
from orthogan.nn.resample import shift
from orthogan.randomness import draw
from orthogan.settings import digest_of_text

NETWORK = "resnet10t"
"""timm's name of it: 4.9 million parameters, features of 512 numbers."""
LEAST_SIDE, MOST_SIDE = 64, 128
"""Images smaller or larger than these are resized, in pixels."""
VIEWS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 40_000, 64, 1e-3, 0.05
"""Images shown in training, at least two of each; AdamW, its rate falling to 0 along a cosine."""
HELD_OUT = 0.1
"""Share of the images that the accuracy is measured on, and not trained on."""
RECIPE = 1
"""Counts changes of all this: networks of another recipe are trained anew."""

Progress = Callable[[int, int], None]
Images = np.ndarray | CheckedImages


class OfData(nn.Module):
    """uint8 (N, 3, H, W) -> features (N, 512) and logits (N, K)."""

    def __init__(self, n_classes: int, side: int):
        super().__init__()
        timm = optional.need("timm", "scores", f"the feature network {OF_DATA}")
        self.body = timm.create_model(NETWORK, num_classes=n_classes).to(memory_format=torch.channels_last)
        self.side = min(max(side, LEAST_SIDE), MOST_SIDE)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = images.float() / 127.5 - 1
        if x.shape[-1] != self.side:
            x = F.interpolate(x, (self.side, self.side), mode="bilinear", antialias=True)
        maps = self.body.forward_features(x.contiguous(memory_format=torch.channels_last))
        features = self.body.forward_head(maps, pre_logits=True)
        return features, self.body.get_classifier()(features)


def data_for(features: str, config: DataConfig) -> DataConfig:
    """How the real images of a score are read: with their labels where the feature network learns from them."""
    return dataclasses.replace(config, unconditional=config.unconditional and features != OF_DATA)


def load(
    images: Images,
    labels: np.ndarray | None,
    fingerprint: str,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> FeatureNet:
    """The network of a data set, trained if it has not been, which takes a minute or two, and kept in the cache.

    `images` uint8 (N, H, W, 3); `labels` (N,), None for one that tells four rotations apart; `fingerprint` changes
    whenever either does. Its accuracy on held-out images is in `facts`. Several processes must all call this; the first
    one trains.
    """
    torch_device = torch.device(device)
    if labels is not None and not labels.any():  # one class tells nothing apart
        labels = None
    task = "classes" if labels is not None else "rotations"
    n_classes = int(labels.max()) + 1 if labels is not None else 4
    identity = {"recipe": RECIPE, "fingerprint": fingerprint, "task": task, "shape": list(images.shape)}
    place = cache_folder() / "networks" / f"{digest_of_text(json.dumps(identity), 12)}.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(0, "of data/weights", 0).initial_seed())
        net = OfData(n_classes, images.shape[1])

    def kept_or_trained() -> tuple[dict[str, Tensor], float]:
        try:
            kept = tensorfile.read(place)
            net.load_state_dict(kept.tensors)
            accuracy = float(kept.facts["accuracy"])
        except (FileNotFoundError, tensorfile.Damaged, RuntimeError, KeyError):
            accuracy = _train(net.to(torch_device), images, labels, torch_device, progress)
            _keep(net, place, {**identity, "accuracy": accuracy})
        return _tensors(net), accuracy

    tensors, accuracy = ranks.of_first(kept_or_trained)
    net.load_state_dict(tensors)
    facts = {"trained_on": task, "held_out_accuracy": round(accuracy, 4)}
    resize = "none" if net.side == images.shape[1] else f"bilinear, antialiased, to {net.side}x{net.side}"
    sha256 = hashlib.sha256(b"".join(map(tensorfile.contents, _tensors(net).values()))).hexdigest()
    return FeatureNet(
        OF_DATA, net, weights_sha256=sha256, resize=resize, feature_dim=512, device=torch_device, facts=facts
    )


def _tensors(net: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.cpu().contiguous() for name, tensor in net.state_dict().items()}


def _keep(net: nn.Module, place: Any, facts: dict[str, Any]) -> None:
    """A cache that cannot be written costs another training, no more."""
    try:
        tensorfile.write(place, _tensors(net), facts)
    except CannotWrite:
        return


def _train(
    net: OfData, images: Images, labels: np.ndarray | None, device: torch.device, progress: Progress | None
) -> float:
    """Train on nine tenths of the images; returns the accuracy on the rest."""
    n = len(images)
    order = torch.randperm(n, generator=draw(0, "of data/split", n)).numpy()
    held_out, shown = np.split(order, [max(1, round(HELD_OUT * n))])
    steps = -(-max(VIEWS, 2 * n) // BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    precision = runtime.resolve_precision("auto", device)
    net.train()
    for step in range(steps):
        source = draw(0, "of data/batch", step)
        rows = shown[torch.randint(len(shown), (BATCH,), generator=source).numpy()]
        x, y = _task(images, labels, np.sort(rows), source)
        with runtime.autocast(precision, device):
            logits = net(_moved(x, source).to(device))[1].float()
        loss = F.cross_entropy(logits, y.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress:
            progress((step + 1) * BATCH, steps * BATCH)
    net.eval()
    return _accuracy(net, images, labels, np.sort(held_out), device)


@torch.no_grad()
def _accuracy(net: OfData, images: Images, labels: np.ndarray | None, rows: np.ndarray, device: torch.device) -> float:
    right = 0
    for k, start in enumerate(range(0, len(rows), BATCH)):
        x, y = _task(images, labels, rows[start : start + BATCH], draw(0, "of data/held out", k))
        right += int((net(x.to(device))[1].argmax(1).cpu() == y).sum())
    return right / len(rows)


def _task(
    images: Images, labels: np.ndarray | None, rows: np.ndarray, source: torch.Generator
) -> tuple[Tensor, Tensor]:
    """uint8 (n, 3, H, W) and what is to be said of them (n,): their labels, or how often each was turned."""
    x = torch.from_numpy(np.array(images[rows])).permute(0, 3, 1, 2)
    if labels is not None:
        return x, torch.from_numpy(labels[rows]).long()
    turns = torch.randint(4, (len(rows),), generator=source)
    return torch.stack([torch.rot90(image, int(k), (1, 2)) for image, k in zip(x, turns, strict=True)]), turns


def _moved(x: Tensor, source: torch.Generator) -> Tensor:
    """Each image shifted by up to an eighth of its side, its border repeated."""
    most = x.shape[-1] // 8
    down, right = torch.randint(2 * most + 1, (2, len(x)), generator=source) - most
    return shift(x.float(), down, right)
