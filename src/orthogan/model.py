"""A trained generator, loaded from nothing but its checkpoint."""

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orthogan import runtime, tensorfile
from orthogan.classes import Classes, indices
from orthogan.errors import UserError
from orthogan.files import CannotWrite, remove_asides
from orthogan.interop.statistics import Brought
from orthogan.networks import build_generator, family_of
from orthogan.nn.standing import standing_buffers
from orthogan.sampling import SINGULAR_ITERATIONS, STANDING_BATCHES, Sampler
from orthogan.settings import require
from orthogan.training import checkpoint
from orthogan.training.foreign import refuse_foreign


class Model:
    """The averaged generator of a checkpoint, ready to sample.

    Standing statistics are collected at the truncation that is asked for and kept in a small file beside the
    checkpoint, so that the next request at the same truncation starts at once.
    """

    def __init__(
        self,
        found: checkpoint.Loaded,
        device: str | None = None,
        precision: str = "auto",
        noise: str | None = None,
        cutoff: int | None = None,
    ):
        self.path, self.header = found.path, found.header
        config = self.header.config
        try:
            with torch.device("meta"):
                generator = build_generator(config.generator, config.resolution, config.n_classes)
        except (RuntimeError, TypeError, ValueError, OverflowError) as error:
            why = str(error).splitlines()[0][:100]
            raise checkpoint.BadCheckpoint(f"{self.path} is damaged: its network cannot be built ({why})") from error
        # Assigned, not copied: a configuration that the tensors do not fit costs no memory.
        generator.load_state_dict(found.require_fit("ema", generator), assign=True)
        self._brought = Brought(found, generator)
        # Of another project's weights, what divides them is stored; more iterations would change its images.
        iterations = 0 if "imported" in self.header.extra else SINGULAR_ITERATIONS
        picked = runtime.pick_device(device)
        self.sampler = Sampler(generator, precision, picked, noise=noise, cutoff=cutoff, iterations=iterations)

    def __repr__(self) -> str:
        family, classes = family_of(self.header.config.generator), f"{self.n_classes or 'no'} classes"
        where = f"{self.sampler.device.type} in {self.sampler.precision}"
        return (
            f"<orthogan.Model {family}, {self.resolution}x{self.resolution}, {classes}, z of {self.dim_z} "
            f"({self.header.config.generator.latent}), {self.header.images:,} images seen, on {where}: {self.path}>"
        )

    @property
    def resolution(self) -> int:
        return self.header.config.resolution

    @property
    def n_classes(self) -> int:
        return self.header.config.n_classes

    @property
    def dim_z(self) -> int:
        """Length of a latent."""
        return self.header.config.generator.dim_z

    @property
    def class_names(self) -> list[str]:
        return list(self.header.extra.get("class_names", []))

    def sample(
        self,
        n: int,
        *,
        classes: Classes | None = None,
        truncation: float | None = None,
        form: str = "redraw",
        seed: int = 0,
    ) -> np.ndarray:
        """uint8 images (n, H, W, 3). `classes` are taken in turn; without them every class is equally likely.

        A class is an index or a name: `classes=["Flags", 3]`, or one alone. `truncation` redraws every component of z
        beyond the threshold; `form="scaled"` is the released models' way.
        """
        chunks = list(self.stream(n, classes=classes, truncation=truncation, form=form, seed=seed))
        return torch.cat(chunks).numpy()

    def stream(
        self,
        n: int,
        *,
        classes: Classes | None = None,
        truncation: float | None = None,
        form: str = "redraw",
        seed: int = 0,
    ) -> Iterator[Tensor]:
        """The same images chunk by chunk, uint8 (m, H, W, 3); see `sample`."""
        chosen = self.class_indices(classes)
        self.check(n, chosen, truncation, form)
        self.stand(truncation, form)
        return self.sampler.stream(n, classes=chosen, truncation=truncation, form=form, seed=seed)

    def check(
        self, n: int, classes: Classes | None = None, truncation: float | None = None, form: str = "redraw"
    ) -> None:
        """Refuse what cannot be sampled, before statistics are collected for it; see `sample`."""
        self.sampler.check(n, self.class_indices(classes), truncation, form)

    def generate(self, z: Any, y: Any = None, *, truncation: float | None = None, form: str = "redraw") -> np.ndarray:
        """uint8 images (N, H, W, 3) of your own latents, at the model's precision and on its device.

        `z`: N latents (N, dim_z), an array, a tensor or nested lists of finite numbers, used as they are. The network
        learnt from latents of the law `header.config.generator.latent`, usually N(0, I).
        `y`: for a model with classes, N indices or names, one of them for all images, or weights (N, n_classes) of
        floats, which mix the embeddings of classes: a row of one 1 is that class. For one without classes, nothing.
        `truncation` and `form` do not touch z: they choose the standing statistics, which should be those of the
        threshold that the latents were truncated with; None if they were not. Where there is an intermediate latent,
        `truncation` is psi in it.
        Raises `UserError` for other shapes.
        """
        latents = self._floats("z", z, self.dim_z)
        labels = None if y is None and not self.n_classes else self._labels(y, len(latents))
        self.stand(truncation, form)
        return torch.cat(list(self.sampler.render(latents, labels, truncation))).numpy()

    def _labels(self, y: Any, n: int) -> Tensor:
        require(y is not None, "y", y, f"this model has {self.n_classes} classes; give {n} labels, or one for all")
        require(self.n_classes > 0, "y", y, "this model was trained without classes; leave it out")
        if isinstance(y, Tensor | np.ndarray) and y.ndim == 2:
            weights = self._floats("y", y, self.n_classes)
            require(len(weights) == n, "y", f"{len(weights)} rows", f"must have as many as z, {n}")
            return weights
        chosen = self.class_indices(y) or []
        require(len(chosen) in (1, n), "y", f"{len(chosen)} labels", f"must be as many as z has rows, {n}, or one")
        return torch.tensor(chosen).expand(n)

    @staticmethod
    def _floats(name: str, values: Any, columns: int) -> Tensor:
        """float32 (N, columns), finite."""
        try:
            rows = torch.as_tensor(values).detach().float().cpu()
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{name}: not an array of numbers ({error}); give (N, {columns})") from error
        fits = rows.ndim == 2 and rows.shape[1] == columns and len(rows) > 0
        require(fits, f"{name}.shape", tuple(rows.shape), f"must be (N, {columns})")
        require(bool(rows.isfinite().all()), name, "inf or nan", "must be finite")
        return rows

    def class_indices(self, classes: Classes | None) -> list[int] | None:
        """Indices of classes given by index or by name; see `orthogan.classes`."""
        return None if classes is None else indices(classes, self.class_names, self.n_classes)

    def stand(self, truncation: float | None = None, form: str = "redraw", batches: int = STANDING_BATCHES) -> None:
        """Load or collect the standing statistics for a truncation; an imported file may have brought its own."""
        self.sampler.generator.check_truncation(truncation, form)
        brought = self._brought.at(truncation, form)
        if brought is not None:
            for name, buffer in standing_buffers(self.sampler.generator).items():
                buffer.copy_(brought[name])
            self.sampler.standing = (truncation, form, FROM_FILE, 0)
            return
        wanted = (truncation, form, batches)
        if self.sampler.standing == (*wanted, 0):
            return
        buffers = standing_buffers(self.sampler.generator)
        kept = self._standing_file(wanted)
        stored = _read_standing(kept, buffers)
        if stored is not None:
            for name, buffer in buffers.items():
                buffer.copy_(stored[name])
            self.sampler.standing = (*wanted, 0)
        else:
            self.sampler.collect(truncation, form, batches)
            self._keep(kept, buffers)

    def _standing_file(self, wanted: tuple[Any, ...]) -> Path:
        """Named by all that the statistics depend on: the weights, the truncation, the precision of the forwards."""
        generator = self.sampler.generator
        noise = f"/{generator.noise}" if generator.noise_modes else ""
        key = f"{self.weights_id}/{wanted}/{self.sampler.precision}/{self.sampler.device.type}{noise}"
        digest = hashlib.blake2b(key.encode(), digest_size=6).hexdigest()
        return self.path.parent / "standing" / f"{self.path.stem}-{digest}.safetensors"

    def _keep(self, path: Path, tensors: dict[str, Tensor]) -> None:
        """Best effort: a folder that cannot be written costs the next sampling a few seconds, no more."""
        try:
            tensorfile.write(path, tensors, {})
        except CannotWrite:
            return
        remove_asides(path.parent, STALE_SECONDS)
        if not self.path.exists():  # pruned while it was sampled
            path.unlink(missing_ok=True)

    @property
    def weights_id(self) -> str:
        """Checksum of all of the checkpoint's tensors, as its header states it."""
        return self.header.checksum

    def describe(self) -> dict[str, Any]:
        """What a score needs to say of the generator that it scored."""
        truncation, form, batches, _ = self.sampler.standing or (None, "redraw", STANDING_BATCHES, 0)
        return {
            "checkpoint": self.path.name,
            "weights_crc32": self.weights_id,
            "images_seen": self.header.images,
            "truncation": truncation,
            "truncation_form": form,
            "standing_statistics_batches": batches,
            "precision": self.sampler.precision,
        } | ({"noise": self.sampler.generator.noise} if self.sampler.generator.noise_modes else {})


FROM_FILE = 0
"""Batches of statistics that were not collected here."""
STALE_SECONDS = 3600
"""Several programs may sample one checkpoint; what was being written for so long has lost its writer."""


def _read_standing(path: Path, buffers: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Kept statistics for these buffers; None if there are none, or if they are damaged in any way."""
    try:
        stored = tensorfile.read(path).tensors
    except (tensorfile.Damaged, FileNotFoundError):
        return None
    fits = stored.keys() == buffers.keys() and all(stored[name].shape == buffers[name].shape for name in stored)
    return stored if fits and all(bool(torch.isfinite(t).all()) for t in stored.values()) else None


def find_checkpoint(path: Path) -> checkpoint.Loaded:
    """A checkpoint file itself, or the newest whole checkpoint of a run folder."""
    if path.is_dir():
        newest, complaints = checkpoint.newest(path / "checkpoints")
        for complaint in complaints:
            warnings.warn(f"skipped: {complaint}", stacklevel=2)
        return newest
    if not path.exists():
        raise UserError(f"{path} does not exist; give a run folder or a checkpoint file")
    refuse_foreign(path)
    return checkpoint.load(path)


def load(
    path: str | Path,
    device: str | None = None,
    precision: str = "auto",
    *,
    noise: str | None = None,
    cutoff: int | None = None,
) -> Model:
    """Open a run folder (its newest checkpoint) or a checkpoint file for sampling.

    Of generators with noise inside, `noise` chooses "random" (of each image its own, unless something else is said),
    "const" or "none"; of those that are truncated in w, `cutoff` chooses how many of the first layers are.
    Raises `UserError` if there is no checkpoint of orthogan there. No code in the file is run.
    """
    return Model(find_checkpoint(Path(path)), device, precision, noise, cutoff)
