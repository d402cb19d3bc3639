"""What is to be scored, against what and how. Free of PyTorch."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, cast, get_args

from orthogan import hub
from orthogan.data.config import Crop, Part, Resize
from orthogan.data.sources import NAMED
from orthogan.errors import UserError
from orthogan.metrics import MIN_IMAGES
from orthogan.settings import require
from orthogan.training import foreign

PARTS = get_args(Part)
MIN_RESAMPLES = 100
"""Fewer do not find the ends of an interval."""


@dataclass(frozen=True, kw_only=True)
class How:
    """How generated images are scored, and against which real ones. Refuses, at birth, what has no meaning."""

    against: str = ""
    """The real images: anything that --data of `orthogan train` takes, or a generator's: a run folder, a checkpoint
    file, hf://OWNER/NAME; of a run also the words training, the images that it learnt from, and held-out, those that
    --data.hold-out kept back. Default: training; of images none, so it must be given."""
    features: str = "efficientnet-lite0"
    """Feature network: inception (the usual FID), efficientnet-lite0, efficientnet-lite0-96 (a fifth of the work),
    efficientnet-lite1 or efficientnet-lite2; timm:NAME for any of timm's; or data, a small one that is trained on the
    real images' own labels."""
    samples: int | None = None
    """Generated images to score. By default 5,000 of a generator, or all images of a folder."""
    real: int = 50_000
    """At most so many real images; of more, the same choice is made every time."""
    accuracy: bool = False
    """Also train two small classifiers, on the real and on the generated images, and tell how well each knows the
    other's classes: minutes."""
    resamples: int = 1000
    """How often images are drawn again for the confidence intervals; 0 for none."""
    truncation: float | None = None
    """Truncation threshold of the latents of a generator; none if left out."""
    form: Literal["redraw", "scaled"] = "redraw"
    """Truncation as in the BigGAN paper, or as in its released models."""
    seed: int = 0
    """Seed of the latents and of the scores. The same seed gives the same digits."""
    weights: Path | None = None
    """File with the weights of the feature network, if it is not in its usual place."""
    resolution: int | None = None
    """Side in pixels to score images at. Default: the generator's, or the common size of the generated images."""
    crop: Crop | None = None
    """How real images become squares. Default: as in the run, else center."""
    resize: Resize | None = None
    """Filter that shrinks real images. Default: as in the run, else area."""
    unconditional: bool = False
    """Ignore the labels that the real images have."""
    skip_bad: bool = False
    """Leave unreadable files out and go on."""
    device: str | None = None
    """cpu, cuda, cuda:1, ... Default: the GPU if there is one."""

    def __post_init__(self) -> None:
        for name, least in (("samples", MIN_IMAGES), ("real", MIN_IMAGES), ("resolution", 1)):
            value = getattr(self, name)
            require(value is None or value >= least, name, value, f"must be at least {least}")
        few = f"must be at least {MIN_RESAMPLES}, or 0 for no intervals"
        require(self.resamples == 0 or self.resamples >= MIN_RESAMPLES, "resamples", self.resamples, few)
        require(
            not (self.accuracy and self.unconditional), "accuracy", True, "needs the labels; leave unconditional out"
        )
        if self.against and is_model(Path(self.against).expanduser()):
            for name in ("crop", "resize"):
                value = getattr(self, name)
                require(value is None, name, value, f"no effect on a generator's images; {self.against} is one")

    def of(self, source: str) -> "Request":
        """The request to score this."""
        own = {field.name: getattr(self, field.name) for field in fields(How)}
        return Request(source=source, **own)


@dataclass(frozen=True, kw_only=True)
class Request(How):
    """Generated images against real ones. Refuses, at birth, what cannot be scored."""

    source: str
    """A run folder, a checkpoint file, hf://OWNER/NAME, or generated images: a folder, a zip, an .npz or .npy file."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path.suffix in foreign.SUFFIXES and not hub.is_address(self.path):
            foreign.refuse_foreign(self.path)
        if is_model(self.path) and self.resolution is not None:
            raise UserError(f"resolution={self.resolution}: a generator is scored at its own; leave it out")
        if self.own is None and self.against in PARTS and not Path(self.against).exists():
            raise UserError(f"against={self.against!r}: {self.source} is no run, so it has no such part; give images")
        if self.own is None and not self.against:
            raise UserError(f"against='': {self.source} is no run; give real images by --against DATA")
        if self.own is not None and (self.unconditional or self.crop or self.resize or self.skip_bad):
            raise UserError(f"against={self.own!r}: the run's images are read as it read them; leave --data.* out")
        if not is_model(self.path) and (self.truncation is not None or self.form != "redraw"):
            raise UserError(
                f"truncation={self.truncation}, form={self.form}: no effect on images; {self.source} is not a generator"
            )

    @property
    def own(self) -> Part | None:
        """The part of a run's own images that it is scored against; None for other images."""
        found = self.against or "training"
        return cast(Part, found) if found in PARTS and is_model(self.path) else None

    @property
    def path(self) -> Path:
        return Path(self.source).expanduser()

    def check_present(self) -> None:
        """Refuse what is not there, before another request of the same command has taken its minutes."""
        for given in (self.source, *(() if self.own else (self.against,))):
            if hub.is_address(given):
                hub.local(given)
            elif given not in NAMED and not Path(given).expanduser().exists():
                raise UserError(f"{given!r}: no such file or folder; correct the path")
            elif is_begun(Path(given).expanduser()):
                raise UserError(f"{given!r} is a run that has no checkpoint yet; let it train until it has one")


def is_model(path: Path) -> bool:
    """Whether to load a generator: a checkpoint file, a run folder or an address of the hub. Else it is images."""
    if hub.is_address(path):
        return True
    if path.is_dir():
        return (path / "config.json").is_file() and (path / "checkpoints").is_dir()
    return path.suffix == ".safetensors"


def is_begun(path: Path) -> bool:
    """Whether a folder is that of a run which has written no checkpoint."""
    return (path / "config.json").is_file() and (path / "status.json").is_file() and not is_model(path)


def run_folder(path: Path) -> Path | None:
    """The run folder that a folder is or that a checkpoint file lies in, if any."""
    return next(
        (folder for folder in (path, *path.absolute().parents[:2]) if is_model(folder) and folder.is_dir()), None
    )
