"""A trained generator, loaded from nothing but its checkpoint."""

import copy
import hashlib
import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from orthogan import hub, runtime, tensorfile
from orthogan.classes import Classes, indices
from orthogan.errors import UserError, one_line
from orthogan.files import STALE_SECONDS, CannotWrite, cache_folder, remove_asides
from orthogan.formats import to_json
from orthogan.interop.statistics import FACT, FROM_FILE, Collected, Held
from orthogan.metrics.measuring import in_chunks
from orthogan.networks import build_generator, family_of
from orthogan.networks.base import Generator
from orthogan.nn.layers import unbake
from orthogan.nn.standing import standing_buffers
from orthogan.sampling import SINGULAR_ITERATIONS, STANDING_BATCHES, Sampler
from orthogan.settings import digest_of_text, require
from orthogan.training import checkpoint
from orthogan.training.foreign import refuse_foreign

Seed = int | torch.Generator
"""A number, or a generator that gives one."""

Progress = Callable[[int, int], object]
"""Is called with the images that are done, and with all."""


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
        standing_folder: Path | None = None,
    ):
        """`standing_folder` keeps statistics that are collected; nothing: a folder beside the checkpoint."""
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
        self._standing_folder = standing_folder or self.path.parent / "standing"
        self._held = Held(found, generator)
        self._plain: Generator | None = None
        # Singular vectors that an imported or exported file brings are those that divide its weights: they stay.
        iterations = 0 if {"imported", FACT} & self.header.extra.keys() else SINGULAR_ITERATIONS
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
        seed: Seed = 0,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """uint8 images (n, H, W, 3). `classes` are taken in turn; without them every class is equally likely.

        A class is an index or a name: `classes=["Flags", 3]`, or one alone. `truncation` redraws every component of z
        beyond the threshold; `form="scaled"` is the released models' way. A `torch.Generator` as `seed` gives a number,
        other images at each call. `progress(done, n)` is called as images come.
        """
        chunks = self.stream(n, classes=classes, truncation=truncation, form=form, seed=seed, progress=progress)
        return torch.cat(list(chunks)).numpy()

    def images(self, n: int, **how: Any) -> list[Image.Image]:
        """The same as pictures of PIL; `how` as in `sample`."""
        return [Image.fromarray(image) for image in self.sample(n, **how)]

    def stream(
        self,
        n: int,
        *,
        classes: Classes | None = None,
        truncation: float | None = None,
        form: str = "redraw",
        seed: Seed = 0,
        batch: int | None = None,
        progress: Progress | None = None,
        first: int = 0,
    ) -> Iterator[Tensor]:
        """The same images chunk by chunk, uint8 (m, H, W, 3), `batch` in each or as many as are made at once.

        `first` leaves so many at the beginning out: images 100 to 199 of a seed are `stream(100, first=100)`.
        """
        n, number, first = whole("n", n), seed_of(seed), whole("first", first)
        require(first >= 0, "first", first, "must not be negative")
        batch = None if batch is None else whole("batch", batch)
        require(batch is None or batch > 0, "batch", batch, "must be positive")
        chosen = self.class_indices(classes)
        truncation = threshold_of(truncation)
        self.check(n, chosen, truncation, form)
        self.stand(truncation, form)
        chunks = self.sampler.stream(n, classes=chosen, truncation=truncation, form=form, seed=number, first=first)
        chunks = chunks if batch is None else in_chunks(chunks, batch)
        return chunks if progress is None else _told(chunks, n, progress)

    @property
    def generator(self) -> Generator:
        """The network alone, a copy: latents (N, dim_z) and classes (N,) -> images (N, 3, R, R) around [-1, 1].

        In evaluation and float32, with the standing statistics of the truncation that was sampled with last (none at
        first), and without gradients of its parameters until `requires_grad_()`. Psi of a StyleGAN2 is not applied.
        """
        if self.sampler.standing is None:
            self.stand()
        if self._plain is None:
            self._plain = copy.deepcopy(self.sampler.generator).requires_grad_(False)
            unbake(self._plain)
        for name, buffer in standing_buffers(self._plain).items():
            buffer.copy_(standing_buffers(self.sampler.generator)[name])
        return self._plain

    def to(self, device: str | torch.device) -> "Model":
        """Moved to a device, and itself returned."""
        self.sampler.to(runtime.pick_device(str(device)))
        if self._plain is not None:
            self._plain.to(self.sampler.device)
        return self

    def check(
        self, n: int, classes: Classes | None = None, truncation: float | None = None, form: str = "redraw"
    ) -> None:
        """Refuse what cannot be sampled, before statistics are collected for it; see `sample`."""
        self.sampler.check(n, self.class_indices(classes), threshold_of(truncation), form)

    def generate(self, z: Any, y: Any = None, *, truncation: float | None = None, form: str = "redraw") -> np.ndarray:
        """uint8 images (N, H, W, 3) of your own latents, at the model's precision and on its device.

        `z`: N latents (N, dim_z), an array, a tensor or nested lists of finite numbers, used as they are. The network
        learnt from latents of the law `header.config.generator.latent`, usually N(0, I).
        `y`: for a model with classes, N indices or names, one of them for all images, or weights (N, n_classes), an
        array, a tensor or nested lists, which mix the embeddings of classes: a row of one 1 is that class. For one
        without classes, nothing.
        `truncation` and `form` do not touch z: they choose the standing statistics, which should be those of the
        threshold that the latents were truncated with; None if they were not. Where there is an intermediate latent,
        `truncation` is psi in it.
        Raises `UserError` for other shapes.
        """
        latents, truncation = self._floats("z", z, self.dim_z), threshold_of(truncation)
        labels = None if y is None and not self.n_classes else self._labels(y, len(latents))
        self.stand(truncation, form)
        return torch.cat(list(self.sampler.render(latents, labels, truncation))).numpy()

    def _labels(self, y: Any, n: int) -> Tensor:
        require(y is not None, "y", y, f"this model has {self.n_classes} classes; give {n} labels, or one for all")
        require(self.n_classes > 0, "y", y, "this model was trained without classes; leave it out")
        if _is_table(y):
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
            found = torch.as_tensor(values).detach().cpu()
        except (TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"{name}: not an array of numbers ({error}); give (N, {columns})") from error
        require(not found.is_complex(), f"{name}.dtype", str(found.dtype), "must be real")
        rows = found.float()
        fits = rows.ndim == 2 and rows.shape[1] == columns and len(rows) > 0
        require(fits, f"{name}.shape", tuple(rows.shape), f"must be (N, {columns})")
        require(bool(rows.isfinite().all()), name, "inf or nan", "must be finite")
        return rows

    def class_indices(self, classes: Classes | None) -> list[int] | None:
        """Indices of classes given by index or by name; see `orthogan.classes`."""
        return None if classes is None else indices(classes, self.class_names, self.n_classes)

    def stand(self, truncation: float | None = None, form: str = "redraw", batches: int = STANDING_BATCHES) -> None:
        """Load or collect the standing statistics for a truncation; the checkpoint itself may hold them."""
        truncation = threshold_of(truncation)
        generator, wanted = self.sampler.generator, (truncation, form, batches)
        generator.check_truncation(truncation, form)
        if self.sampler.standing in ((*wanted, 0), (truncation, form, FROM_FILE, 0)):
            return
        buffers = standing_buffers(generator)
        kept = self._standing_file(wanted)
        noise = generator.noise if generator.noise_modes else None
        stored, of = self._held.at(Collected(*wanted, noise)) or (_read_standing(kept, buffers), batches)
        if stored is not None:
            for name, buffer in buffers.items():
                buffer.copy_(stored[name])
            self.sampler.standing = (truncation, form, of, 0)
        else:
            self.sampler.collect(truncation, form, batches)
            self._keep(kept, buffers)

    def _standing_file(self, wanted: tuple[Any, ...]) -> Path:
        """Named by all that the statistics depend on: the weights, the truncation, the precision of the forwards."""
        generator = self.sampler.generator
        noise = f"/{generator.noise}" if generator.noise_modes else ""
        key = f"{self.weights_id}/{wanted}/{self.sampler.precision}/{self.sampler.device.type}{noise}"
        return self._standing_folder / f"{self.path.stem}-{digest_of_text(key, 6)}.safetensors"

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

    def identity(self, truncation: float | None = None, form: str = "redraw") -> str | None:
        """A digest of all that decides the pixels of samples, beside their latents and classes, to the last bit.

        None where something does that has no digest: code from outside the package, or changed in a checkout of it.
        """
        commit = runtime.git_commit() or ""
        if commit.endswith("+") or not type(self.sampler.generator).__module__.startswith("orthogan."):
            return None
        truncation = threshold_of(truncation)
        self.stand(truncation, form)
        sampler = self.sampler
        on = torch.cuda.get_device_name(sampler.device) if sampler.device.type == "cuda" else sampler.device.type
        facts: list[Any] = [self.weights_digest(), runtime.versions(), commit, on, sampler.precision, sampler.cutoff]
        facts += [truncation, form]
        return digest_of_text(repr(facts))

    def weights_digest(self) -> str:
        """Of the generator in use: its settings and tensors, the standing statistics among them."""
        config, generator = self.header.config, self.sampler.generator
        facts = [to_json(config)["generator"], config.resolution, config.n_classes, generator.noise]
        found = hashlib.blake2b(repr(facts).encode(), digest_size=16)
        for name, tensor in sorted(generator.state_dict().items()):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            found.update(tensorfile.contents(tensor.cpu().contiguous()))
        return found.hexdigest()

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


def _read_standing(path: Path, buffers: dict[str, Tensor]) -> dict[str, Tensor] | None:
    """Kept statistics for these buffers; None if there are none, or if they are damaged in any way."""
    try:
        stored = tensorfile.read(path).tensors
    except (tensorfile.Damaged, FileNotFoundError):
        return None
    fits = stored.keys() == buffers.keys() and all(stored[name].shape == buffers[name].shape for name in stored)
    return stored if fits and all(bool(torch.isfinite(t).all()) for t in stored.values()) else None


def whole(name: str, value: Any) -> int:
    """A whole number of any library's type. Raises `UserError` for all else."""
    try:
        number = operator.index(value)
    except TypeError:
        raise UserError(f"{name}={value!r}: must be a whole number") from None
    require(not isinstance(value, bool), name, value, "must be a whole number")
    return number


def threshold_of(truncation: Any) -> float | None:
    """A truncation threshold of any library's type. Raises `UserError` for what is no number."""
    if truncation is None:
        return None
    # Text becomes a float too, but has no method for it.
    if hasattr(truncation, "__float__") and not isinstance(truncation, bool | np.bool_):
        with suppress(TypeError, ValueError, RuntimeError, OverflowError):
            return float(truncation)
    raise UserError(f"truncation={one_line(repr(truncation), 100)}: must be a number, or None")


def _is_table(y: Any) -> bool:
    """Whether labels are rows of weights: an array, a tensor or nested lists."""
    if isinstance(y, Tensor | np.ndarray):
        return y.ndim == 2
    return isinstance(y, list | tuple) and any(isinstance(row, list | tuple) or np.ndim(row) > 0 for row in y)


def seed_of(seed: Seed) -> int:
    """The seed itself, or the next number of a generator, which moves on."""
    if isinstance(seed, torch.Generator):
        return int(torch.randint(2**62, (), generator=seed, device=seed.device))
    try:
        return whole("seed", seed)
    except UserError as error:
        raise UserError(f"{error}, or a torch.Generator") from None


def _told(chunks: Iterator[Tensor], n: int, progress: Progress) -> Iterator[Tensor]:
    done = 0
    for chunk in chunks:
        done += len(chunk)
        progress(done, n)
        yield chunk


def find_checkpoint(path: str | Path) -> checkpoint.Loaded:
    """A checkpoint file itself, the newest whole checkpoint of a run folder, or that of `hf://owner/name`."""
    path = hub.local(path)
    if path.is_dir():
        if not (path / "checkpoints").is_dir():
            raise UserError(f"{path} is not the folder of a run; give one that `orthogan train` has written, or a file")
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
    """Open a run folder (its newest checkpoint), a checkpoint file or `hf://owner/name` for sampling.

    Of generators with noise inside, `noise` chooses "random" (of each image its own, unless something else is said),
    "const" or "none"; of those that are truncated in w, `cutoff` chooses how many of the first layers are.
    Raises `UserError` if there is no checkpoint of orthogan there. No code in the file is run.
    """
    # The cache of the hub is that library's: nothing is put beside a file there.
    kept = cache_folder() / "standing" if hub.is_address(path) else None
    return Model(find_checkpoint(path), device, precision, noise, cutoff, kept)
