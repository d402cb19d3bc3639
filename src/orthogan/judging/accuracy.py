"""Whether each side's images teach the other's classes: two small classifiers, each tested on the other side.

Conditional accuracy is the share of generated images in which a classifier trained on real ones sees their class
(GAN-test, Shmelkov et al. 2018). The classification accuracy score is the share of real images that a classifier
trained on generated ones knows (Ravuri & Vinyals 2019, who train a ResNet-50). Both are trained by `metrics.of_data`.
"""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orthogan import ranks
from orthogan.data import ImageCache
from orthogan.errors import UserError
from orthogan.features.pretrained import FeatureNet
from orthogan.judging.counting import Counting
from orthogan.judging.request import Request
from orthogan.metrics import evaluate, intervals, of_data
from orthogan.metrics.measuring import Pixels, batches


def check_classes(source: str, labels: np.ndarray | None, real: ImageCache) -> None:
    """Refuse, before anything long, what has no classes to be accurate about."""
    if real.labels is None or real.n_classes < 2:
        raise UserError(f"accuracy=True: {real.source} has no two classes; leave it out, or give labelled images")
    if labels is None or labels.min() < 0:
        raise UserError(
            f"accuracy=True: not every image of {source} has one of the {real.n_classes} classes of {real.source}; "
            "leave it out, or give images with these classes (folders of their names, or labels in an .npz)"
        )


def accuracies(
    fake_images: np.ndarray,
    fake_labels: np.ndarray,
    real: ImageCache,
    request: Request,
    device: torch.device,
    counting: Counting,
) -> dict[str, dict[str, Any]]:
    """Further scores, intervals and entries of the protocol, from images uint8 (N, H, W, 3) and their labels.

    Of several processes, all of which call this, only the first needs the images.
    """
    labels = real.labels
    assert labels is not None
    with counting("training a classifier of the real images") as progress:
        of_real = of_data.load(real.checked, labels, real.fingerprint, device, progress)
    with counting("training a classifier of the generated images") as progress:
        own = fingerprint_of(fake_images, fake_labels)
        of_fake = of_data.load(fake_images, fake_labels, own, device, progress)
    chosen = evaluate.choose(len(real), request.real)
    hits = ranks.of_first(
        lambda: {
            "conditional_accuracy": _hits(of_real, fake_images, np.arange(len(fake_images)), fake_labels),
            "classification_accuracy_score": _hits(of_fake, real.checked, chosen, labels[chosen]),
        }
    )
    told = {"of_real": _described(of_real), "of_generated": _described(of_fake)}
    found: dict[str, dict[str, Any]] = {
        "scores": {name: float(each.double().mean()) for name, each in hits.items()},
        "protocol": {"accuracy": {"network": of_data.NETWORK, "recipe": of_data.RECIPE, **told}},
    }
    if request.resamples:
        found["intervals"] = {name: intervals.of_share(each) for name, each in hits.items()}
    return found


def _hits(net: FeatureNet, images: Pixels, chosen: np.ndarray, labels: np.ndarray) -> Tensor:
    """Which of the chosen images (N,) the network gives their label."""
    logits = torch.cat([net(batch)[1] for batch in batches(images, chosen)])
    return logits.argmax(1) == torch.from_numpy(labels)


def _described(net: FeatureNet) -> dict[str, Any]:
    return {"weights_sha256": net.weights_sha256, **net.facts}


def fingerprint_of(images: np.ndarray, labels: np.ndarray | None) -> str:
    """A digest of pixels and labels that are not in a pack."""
    found = hashlib.blake2b(np.ascontiguousarray(images).data, digest_size=16)
    found.update(str(images.shape).encode())
    if labels is not None:
        found.update(labels.astype(np.int64).tobytes())
    return found.hexdigest()
