"""A trained generator, loaded from nothing but its checkpoint."""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from orthogan import runtime
from orthogan.errors import UserError
from orthogan.networks import build_generator
from orthogan.nn.norm import norm_layers
from orthogan.sampling import STANDING_BATCHES, Sampler
from orthogan.training import checkpoint


class Model:
    """The averaged generator of a checkpoint, ready to sample.

    Standing statistics are collected at the truncation that is asked for and kept in a small file beside the
    checkpoint, so that the next request at the same truncation starts at once.
    """

    def __init__(self, path: Path, device: str | None = None, precision: str = "auto"):
        self.path = path
        self.header, tensors = checkpoint.load(path, "ema.")
        network = self.header.config.network
        with torch.device("meta"):
            generator = build_generator(network)
        generator.to_empty(device="cpu")
        generator.load_state_dict(tensors)
        self.sampler = Sampler(generator, precision, runtime.pick_device(device))
        self._standing: tuple[Any, ...] | None = None

    @property
    def resolution(self) -> int:
        return self.header.config.network.resolution

    @property
    def n_classes(self) -> int:
        return self.header.config.network.n_classes

    @property
    def class_names(self) -> list[str]:
        return list(self.header.extra.get("class_names", []))

    def sample(
        self,
        n: int,
        *,
        classes: Sequence[int] | None = None,
        truncation: float | None = None,
        form: str = "redraw",
        seed: int = 0,
    ) -> np.ndarray:
        """uint8 images (n, H, W, 3). `classes` are taken in turn; without them every class is equally likely.

        `truncation` redraws every component of z beyond the threshold; `form="scaled"` is the released models' way.
        """
        chunks = list(self.stream(n, classes=classes, truncation=truncation, form=form, seed=seed))
        return torch.cat(chunks).numpy()

    def stream(self, n: int, *, truncation: float | None = None, form: str = "redraw", **how: Any) -> Iterator[Tensor]:
        """The same images chunk by chunk, uint8 (m, H, W, 3); see `sample`."""
        self.stand(truncation, form)
        return self.sampler.stream(n, truncation=truncation, form=form, **how)

    def stand(self, truncation: float | None = None, form: str = "redraw", batches: int = STANDING_BATCHES) -> None:
        """Load or collect the standing statistics for a truncation."""
        wanted = (truncation, form, batches)
        if self._standing == wanted:
            return
        layers = norm_layers(self.sampler.generator)
        names = [f"{i}.{name}" for i in range(len(layers)) for name in ("mean", "var")]
        buffers = [getattr(layers[int(n.split(".")[0])], n.split(".")[1]) for n in names]
        kept = self._standing_file(wanted)
        stored = self._read(kept, names)
        if stored is not None:
            for name, buffer in zip(names, buffers, strict=True):
                buffer.copy_(stored[name])
        else:
            self.sampler.collect(truncation, form, batches)
            self._keep(kept, {name: b.cpu() for name, b in zip(names, buffers, strict=True)})
        self._standing = wanted

    def _standing_file(self, wanted: tuple[Any, ...]) -> Path:
        """Named by all that the statistics depend on: the weights, the truncation, the precision of the forwards."""
        key = f"{self.weights_id}/{wanted}/{self.sampler.precision}/{self.sampler.device.type}"
        digest = hashlib.blake2b(key.encode(), digest_size=6).hexdigest()
        return self.path.parent / "standing" / f"{self.path.stem}-{digest}.safetensors"

    @staticmethod
    def _read(path: Path, names: list[str]) -> dict[str, Tensor] | None:
        """What was kept; None if there is nothing, or if a power cut tore it."""
        try:
            stored = load_file(path)
        except (OSError, SafetensorError):
            return None
        return stored if stored.keys() == set(names) else None

    @staticmethod
    def _keep(path: Path, tensors: dict[str, Tensor]) -> None:
        try:
            path.parent.mkdir(exist_ok=True)
            partial = path.with_suffix(".partial")
            save_file(tensors, partial)
            partial.replace(path)
        except OSError:
            # A folder that cannot be written costs the next sampling a few seconds, no more.
            return

    @property
    def weights_id(self) -> str:
        """Checksum of all of the checkpoint's tensors, as its header states it."""
        return self.header.checksum

    def describe(self) -> dict[str, Any]:
        """What a score needs to say of the generator that it scored."""
        truncation, form, batches = self._standing or (None, "redraw", STANDING_BATCHES)
        return {
            "checkpoint": self.path.name,
            "weights_crc32": self.weights_id,
            "images_seen": self.header.images,
            "truncation": truncation,
            "truncation_form": form,
            "standing_statistics_batches": batches,
            "precision": self.sampler.precision,
        }


def find_checkpoint(path: Path) -> Path:
    """A checkpoint file itself, or the newest whole checkpoint of a run folder."""
    if path.is_dir():
        newest, complaints = checkpoint.newest(path / "checkpoints")
        for complaint in complaints:
            warnings.warn(f"skipped: {complaint}", stacklevel=2)
        return newest
    if not path.exists():
        raise UserError(f"{path} does not exist; give a run folder or a checkpoint file")
    return path


def load(path: str | Path, device: str | None = None, precision: str = "auto") -> Model:
    """Open a run folder (its newest checkpoint) or a checkpoint file for sampling.

    Raises `UserError` if there is no checkpoint of orthogan there. No code in the file is run.
    """
    return Model(find_checkpoint(Path(path)), device, precision)
