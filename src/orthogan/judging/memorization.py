"""How much of the training images a GAN has learnt by heart: what D says of others, and how close samples come.

Brock et al. (2019) found that D takes over 98 % of ImageNet's training images for real and 50 to 55 % of the
validation images, and no sample that was a copy.
"""

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from orthogan import runtime
from orthogan.data import ImageCache, pack
from orthogan.errors import UserError
from orthogan.features import pretrained
from orthogan.features.pretrained import FeatureNet
from orthogan.judging import verdicts
from orthogan.judging.counting import Counting, silently
from orthogan.judging.reading import part_of, train_features
from orthogan.judging.request import run_folder
from orthogan.metrics import MIN_IMAGES, intervals, neighbours, protocol
from orthogan.metrics.evaluate import choose
from orthogan.metrics.measuring import batches, measure, of_array
from orthogan.model import Model, find_checkpoint
from orthogan.networks import family_of
from orthogan.pictures import grid, headed, labelled
from orthogan.settings import require

NEIGHBOURS = 5
"""Nearest training images that a sheet shows of each sample, in either space."""
SHEET_ROWS = 10
DEFINITION = "distance to the nearest training image < distance from that one to the nearest that differs"
GENERATED = "generated"


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be examined, and by what. Refuses, at birth, what cannot be."""

    source: str
    """A run folder (its newest checkpoint) or a checkpoint file."""
    held_out: str | None = None
    """Images that it was not trained on: anything that --data of `orthogan train` takes. Default: those that the run's
    --data.hold-out kept back."""
    data: str | None = None
    """The training images, where they have been moved. Default: where the run found them."""
    features: str = "efficientnet-lite0"
    """Feature network of the nearest neighbours: one of those of `orthogan evaluate`."""
    samples: int = 1_000
    """Generated images whose nearest training images are looked for."""
    most: int = 10_000
    """At most so many training and held-out images that D is asked about; of more, the same choice every time."""
    real: int = 50_000
    """At most so many training images that neighbours are looked for among; of more, the same choice every time."""
    truncation: float | None = None
    """Truncation threshold of the generated images; none if left out."""
    form: Literal["redraw", "scaled"] = "redraw"
    """Truncation as in the BigGAN paper, or as in its released models."""
    seed: int = 0
    """Seed of the latents and of the intervals. The same seed gives the same digits."""
    weights: Path | None = None
    """File with the weights of the feature network, if it is not in its usual place."""
    device: str | None = None
    """cpu, cuda, cuda:1, ... Default: the GPU if there is one."""

    def __post_init__(self) -> None:
        for name in ("samples", "most", "real"):
            require(getattr(self, name) >= MIN_IMAGES, name, getattr(self, name), f"must be at least {MIN_IMAGES}")


@dataclass(frozen=True)
class Answer:
    """What was found: plain JSON types, and the sheet of the samples that are closest to training images."""

    result: dict[str, Any]
    sheet: Image.Image


def examine(question: Question, counting: Counting = silently) -> Answer:
    """Numbers with their protocol, and a sheet. Raises `UserError` for what cannot be read."""
    examined = _Examined(question, counting)
    said = examined.said()
    spaces = examined.spaces()
    result = {
        "discriminator": said,
        "neighbours": {name: space.numbers() for name, space in spaces.items()},
        "notes": examined.notes(said),
        "protocol": examined.protocol(),
    }
    return Answer(result, _sheet(examined, spaces))


@dataclass(frozen=True)
class Space:
    """Where distances are taken: what was found for generated and for held-out images."""

    samples: neighbours.Found
    held_out: neighbours.Found

    def numbers(self) -> dict[str, Any]:
        return {GENERATED: _closeness(self.samples), "held_out": _closeness(self.held_out)}


def _closeness(found: neighbours.Found) -> dict[str, Any]:
    return {
        "images": len(found.closer),
        "share_closer": int(found.closer.sum()) / len(found.closer),
        "share_closer_interval": intervals.of_share(found.closer),
        "median_distance": float(found.distances[:, 0].median()),
        "copies": int((found.distances[:, 0] == 0).sum()),
    }


class _Examined:
    """The two networks of a checkpoint, the two sets of images, and samples; each is read or made when first wanted."""

    def __init__(self, question: Question, counting: Counting):
        self.question, self.counting = question, counting
        self.device = runtime.pick_device(question.device)
        self.found = find_checkpoint(Path(question.source).expanduser())
        self.header = self.found.header
        if not self.found.part("discriminator"):
            raise UserError(f"{question.source} holds no discriminator to ask; give the run that it was trained in")
        self.network = verdicts.discriminator_of(self.found, self.device)
        if question.data is not None:
            moved = dataclasses.replace(self.header.config.data, source=question.data)
            self.header = dataclasses.replace(self.header, config=dataclasses.replace(self.config, data=moved))
        self.training = part_of(self.header, "training", question.features, counting)
        self.held_out = self._held_out()
        for name, images in (("training", self.training), ("held-out", self.held_out)):
            if len(images) < MIN_IMAGES:
                raise UserError(f"{name} images: {len(images)}, where at least {MIN_IMAGES} are needed; give more")
        self.model = Model(self.found, question.device)
        self.model.check(question.samples, None, question.truncation, question.form)

    @property
    def config(self) -> Any:
        return self.header.config

    def _held_out(self) -> ImageCache:
        """The images that D has not seen, with the classes of the run."""
        if self.question.held_out is None:
            try:
                return part_of(self.header, "held-out", "", self.counting)
            except UserError as error:
                raise UserError(f"{error}; or give images it has not seen by --held-out SRC") from error
        whole = {"source": self.question.held_out, "random_crop": 1.0, "hold_out": 0.0, "hold_out_seed": 0}
        with self.counting("decoding held-out images") as progress:
            cache = pack(dataclasses.replace(self.config.data, **whole), self.config.resolution, progress)
        return dataclasses.replace(cache, labels=self._classes_of(cache)) if self.config.n_classes else cache

    def _classes_of(self, cache: ImageCache) -> np.ndarray:
        """Labels by the run's numbers of the classes, found by their names."""
        numbers = {name: i for i, name in enumerate(self.training.class_names)}
        strange = [name for name in cache.class_names if name not in numbers]
        if cache.labels is None or strange:
            told = (
                f"has the class {strange[0]!r}, and the run has not" if strange else "has no classes, and the run has"
            )
            raise UserError(f"held_out={self.question.held_out!r}: {told}; give images of {', '.join(numbers)}")
        return np.array([numbers[name] for name in cache.class_names])[cache.labels]

    @cached_property
    def net(self) -> FeatureNet:
        own = train_features(self.question.features, self.training, self.device, self.counting)
        return own or pretrained.load(self.question.features, self.question.weights, self.device)

    @cached_property
    def samples(self) -> Tensor:
        """uint8 (n, R, R, 3)."""
        q, parts = self.question, []
        with self.counting("generating") as progress:
            for chunk in self.model.stream(q.samples, truncation=q.truncation, form=q.form, seed=q.seed):
                parts.append(chunk)
                progress(sum(map(len, parts)), q.samples)
        return torch.cat(parts)

    def said(self) -> dict[str, Any]:
        """What D says of the images that it has seen, of others, and of generated ones."""
        network, q = self.network, self.question

        def asked(cache: ImageCache) -> np.ndarray:
            rows = choose(len(cache), q.most, "memorization")
            return verdicts.mean_logits(network, self.config, cache.checked, cache.labels, rows)

        logits = {"training": asked(self.training), "held_out": asked(self.held_out)}
        labels = self.model.sampler.labels(q.samples, None, q.seed)
        classes = None if labels is None else labels.numpy()
        logits[GENERATED] = verdicts.mean_logits(
            network, self.config, self.samples.numpy(), classes, np.arange(q.samples)
        )
        for values in logits.values():
            verdicts.require_numbers(values, self.found.path)
        told = {name: verdicts.describe(values, self.config) for name, values in logits.items()}
        return told | {"separation": verdicts.separation(logits["training"], logits["held_out"], q.seed)}

    @cached_property
    def searched(self) -> np.ndarray:
        """The training images that neighbours are looked for among."""
        return choose(len(self.training), self.question.real, "memorization/neighbours")

    def spaces(self) -> dict[str, Space]:
        """Nearest training images of samples and of held-out images, by features and by pixels."""
        held = choose(len(self.held_out), self.question.samples, "memorization/held out")
        k = min(NEIGHBOURS, len(self.searched) - 1)
        found = {}
        for name, into in (("features", self._features), ("pixels", self._pixels)):
            training = into(self.training, self.searched)
            queries = {GENERATED: into(None, np.arange(len(self.samples))), "held_out": into(self.held_out, held)}
            found[name] = Space(*(neighbours.compare(queries[key], training, k) for key in (GENERATED, "held_out")))
        return found

    def _features(self, cache: ImageCache | None, rows: np.ndarray) -> Tensor:
        what = "generated" if cache is None else "training" if cache is self.training else "held-out"
        images = [self.samples] if cache is None else of_array(cache.checked, rows, cache.fingerprint)
        with self.counting(f"features of {what} images") as progress:
            return measure(images, self.net, lambda done: progress(done, len(rows))).features

    def _pixels(self, cache: ImageCache | None, rows: np.ndarray) -> Tensor:
        if cache is None:
            return neighbours.pixels(self.samples)
        return torch.cat([neighbours.pixels(torch.from_numpy(chunk)) for chunk in batches(cache.checked, rows)])

    def notes(self, said: dict[str, Any]) -> list[str]:
        """What a reader of the numbers should know."""
        config, found = self.config, []
        if copies := verdicts.duplicates(self.held_out, self.training):
            found.append(f"{copies} held-out images are, pixel by pixel, training images too: D has seen them")
        if said["training"]["share_real"] is None:
            found.append(f"under the loss {config.loss} a logit alone says nothing: only the separation does")
        if config.augment.kind != "none":
            found.append(f"D was trained on images under {config.augment.kind}, and is asked here about plain ones")
        if config.data.random_crop < 1:
            found.append("D was trained on random crops, and is asked here about whole images")
        changed = (self.header.extra.get("parent") or {}).get("changed", {})
        if strange := sorted(path for path in changed if path.startswith("data.")):
            found.append(
                f"the run is a branch with other {', '.join(strange)}: before it the networks saw its parent's images"
            )
        return found

    def protocol(self) -> dict[str, Any]:
        q, config = self.question, self.config
        data = {"crop": config.data.crop, "resize": config.data.resize, "size": [config.resolution] * 2}
        own = {"source": config.data.source, "part": "held-out"}
        return {
            "discriminator": {
                "network": family_of(config.discriminator),
                "loss": config.loss,
                "images_in_a_forward": config.batch // config.accumulate,
                "arithmetic": "float32",
            },
            "generator": self.model.describe() | {"seed": q.seed, "images": q.samples},
            "features": protocol.describe_net(self.net),
            "pixels": {"side": min(config.resolution, neighbours.PIXELS_SIDE)},
            "training": {
                "source": config.data.source, "fingerprint": self.training.fingerprint, "of": len(self.training),
                "asked": min(q.most, len(self.training)), "searched": len(self.searched), **data,
            },
            "held_out": {
                **(own if q.held_out is None else {"source": q.held_out}),
                "fingerprint": self.held_out.fingerprint, "of": len(self.held_out),
                "asked": min(q.most, len(self.held_out)), **data,
            },
            "closer": DEFINITION,
            "intervals": {"level": intervals.LEVEL, "shares": "Wilson", "separation": "percentile bootstrap"},
            "versions": protocol.versions(),
        }  # fmt: skip


def default_out(question: Question, result: dict[str, Any]) -> Path:
    """memorization-<features>-<images seen>-n<N>[-t<truncation>][-s<seed>].json, beside the run's other files."""
    parts = ["memorization", question.features, str(result["protocol"]["generator"]["images_seen"])]
    parts.append(f"n{question.samples}")
    if question.truncation is not None:
        parts.append(f"t{question.truncation:g}")
    if question.seed:
        parts.append(f"s{question.seed}")
    return (run_folder(Path(question.source).expanduser()) or Path()) / ("-".join(parts) + ".json")


def _sheet(examined: _Examined, spaces: dict[str, Space]) -> Image.Image:
    """The samples that are closest to a training image for what that one's gap is, each beside its neighbours."""
    ratios = spaces["features"].samples.ratios
    rows = ratios.argsort(stable=True)[:SHEET_ROWS]
    shown, white = [], torch.full_like(examined.samples[:1], 255)
    for row in rows:
        shown.append(examined.samples[row][None])
        for space in spaces.values():
            near = examined.searched[space.samples.indices[row].numpy()]
            shown += [white, torch.from_numpy(examined.training.checked[near])]
    columns = sum(map(len, shown)) // len(rows)
    side = examined.config.resolution
    scale = max(1, 64 // side)
    names = [f"{float(ratios[row]):.2f}" for row in rows]
    plain = grid(torch.cat(shown), columns, scale)
    picture = labelled(plain, names)
    margin = picture.width - plain.width
    k = spaces["features"].samples.indices.shape[1]
    headings = [(0, "sample"), (2, "nearest training images by features"), (3 + k, "by pixels")]
    return headed(picture, [(margin + column * side * scale, text) for column, text in headings])
