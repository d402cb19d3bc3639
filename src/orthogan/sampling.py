"""Images from a generator: a stream addressed by seed and index, sheets, and ways between images.

Every image has its own latent, drawn by (seed, index), and the network always runs on chunks of one size, so an image
does not depend on how many others are asked for with it.
"""

import copy
import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from orthogan import classes as naming
from orthogan import runtime
from orthogan.classes import Classes
from orthogan.errors import UserError
from orthogan.game.latents import latents_at, lerp, sample_latents, slerp, uniform_classes
from orthogan.networks.base import Generator, StyleGenerator
from orthogan.nn.layers import bake, unbake
from orthogan.nn.noise import Noise
from orthogan.nn.spectral import advance
from orthogan.nn.standing import standing_layers, standing_statistics
from orthogan.pictures import grid, labelled
from orthogan.randomness import CLASS, STANDING, draw
from orthogan.settings import require

SINGULAR_ITERATIONS = 10
STANDING_BATCHES = 16
STANDING_BATCH = 64

Standing = tuple[float | None, str, int, int]
"""What standing statistics were collected with: truncation, its form, batches, seed."""


def to_uint8(images: Tensor) -> Tensor:
    """(N, 3, H, W) in [-1, 1] -> uint8 (N, H, W, 3), rounded to nearest."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def chunk_size(resolution: int, device: torch.device) -> int:
    """Images that the network runs on at once: fixed for a resolution and a kind of device."""
    pixels = 2**18 if device.type == "cpu" else 2**21
    return max(1, min(64 if device.type == "cpu" else 256, pixels // resolution**2))


class Sampler:
    """Draws from a generator in evaluation mode, whose weights must stay as they are: their kernels are kept.

    The standing statistics must have been set: see `collect`.
    """

    def __init__(
        self,
        generator: Generator,
        precision: str = "auto",
        device: torch.device | None = None,
        *,
        noise: str | None = None,
        cutoff: int | None = None,
        iterations: int = SINGULAR_ITERATIONS,
    ):
        """`noise` is the mode of the noise inside a generator that has any, else None; random if nothing is said.

        `cutoff` is how many layers the truncation of w acts on; None all. `iterations` are of the singular vectors:
        averaged weights have some of their own, and those they come with belong to the trained weights.
        """
        if noise is not None:
            generator.check_noise(noise)
        generator.noise = noise or "random"
        self._noise_was_said = noise is not None
        is_positive = cutoff is None or (generator.truncation == "w" and cutoff > 0)
        require(is_positive, "cutoff", cutoff, "is for truncation of w, and must be positive; leave it out")
        self.cutoff = cutoff
        self.device = device or next(generator.parameters()).device
        self.generator = generator.to(self.device).eval()
        advance(self.generator, iterations)
        self._asked, self.precision = precision, runtime.resolve_precision(precision, self.device)
        self.standing: Standing | None = None
        with runtime.autocast(self.precision, self.device):
            bake(self.generator)
        # When this sampler is gone the network is an ordinary one again; at the end of a program nobody asks.
        weakref.finalize(self, unbake, self.generator).atexit = False

    def to(self, device: torch.device) -> None:
        """Move the network, and keep its kernels anew."""
        self.device = device
        self.precision = runtime.resolve_precision(self._asked, device)
        self.generator.to(device)
        with runtime.autocast(self.precision, device):
            bake(self.generator)

    def collect(
        self, truncation: float | None = None, form: str = "redraw", batches: int = STANDING_BATCHES, seed: int = 0
    ) -> None:
        """Set the standing statistics from `batches` batches of 64 latents at this truncation, classes uniform."""
        g = self.generator
        g.check_truncation(truncation, form)
        self.standing = None

        def forwards() -> Iterator[object]:
            for i in range(batches):
                source = draw(seed, STANDING, i)
                z = sample_latents(STANDING_BATCH, g.dim_z, source, self._of_z(truncation), form, g.latent)
                y = uniform_classes(STANDING_BATCH, g.n_classes, source).to(self.device) if g.n_classes else None
                yield g.collect(z.to(self.device), y)

        if standing_layers(self.generator):
            with runtime.autocast(self.precision, self.device), torch.no_grad():
                standing_statistics(self.generator, forwards)
        self.standing = (truncation, form, batches, seed)

    def _of_z(self, truncation: float | None) -> float | None:
        """The threshold that latents are drawn with: none where truncation is of w."""
        return truncation if self.generator.truncation == "z" else None

    def images(self, truncation: float | None, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Images (N, 3, R, R), around [-1, 1], of latents and labels; `truncation` acts on w where there is one."""
        g = self.generator
        if not isinstance(g, StyleGenerator):
            images: Tensor = g(z, y)
            return images
        return g.synthesize(g.truncate(g.styles(z, y), truncation, self.cutoff), Noise.of(g.noise, z))

    def render(self, z: Tensor, y: Tensor | None, truncation: float | None = None) -> Iterator[Tensor]:
        """uint8 images (n, R, R, 3), chunk by chunk, of latents (N, dim_z) and labels or class weights of N rows.

        `truncation` acts on w where there is one; that of z is in the latents already.
        """
        rows = [z] if y is None else [z, y]
        return self._in_chunks(partial(self.images, truncation), rows)

    def _in_chunks(self, images: Callable[..., Tensor], rows: Sequence[Tensor]) -> Iterator[Tensor]:
        """uint8 (n, R, R, 3) of what `images` makes of equally long tensors, always so many rows at once."""
        size, count = chunk_size(self.generator.resolution, self.device), len(rows[0])
        with torch.inference_mode(), runtime.autocast(self.precision, self.device):
            for start in range(0, count, size):
                index = torch.arange(start, start + size).clamp(max=count - 1)
                made = images(*(tensor[index.to(tensor.device)].to(self.device) for tensor in rows))
                yield to_uint8(made)[: count - start].cpu()

    def latents(self, seed: int, first: int, n: int, truncation: float | None, form: str) -> Tensor:
        """Latents (n, dim_z) of samples first ... first + n - 1."""
        g = self.generator
        return latents_at(seed, first, n, g.dim_z, self._of_z(truncation), form, g.latent)

    def labels(self, n: int, classes: Sequence[int] | None, seed: int, first: int = 0) -> Tensor | None:
        """Classes of samples first ... first + n - 1: the given ones in turn, or uniform ones by index."""
        count = self.generator.n_classes
        if classes is not None:
            classes = naming.indices(classes, (), count)
            return torch.tensor([classes[i % len(classes)] for i in range(first, first + n)])
        if not count:
            return None
        return torch.cat([uniform_classes(1, count, draw(seed, CLASS, i)) for i in range(first, first + n)])

    @property
    def noise_between(self) -> str:
        """The mode of the noise on a way: the one that was said, else constant, for fresh noise in each frame flickers.

        Standing statistics stay those of samples.
        """
        mode = self.generator.noise
        return "const" if mode == "random" and not self._noise_was_said else mode

    def between(self, z: Tensor, y: Tensor | None = None, truncation: float | None = None) -> Iterator[Tensor]:
        """uint8 images (n, R, R, 3) as of `render`, under the noise of `noise_between`."""
        g = self.generator

        def images(*rows: Tensor) -> Tensor:
            before, g.noise = g.noise, self.noise_between
            try:
                return self.images(truncation, *rows)
            finally:
                g.noise = before

        return self._in_chunks(images, [z] if y is None else [z, y])

    def between_styles(
        self,
        start: tuple[Tensor, Tensor | None],
        end: tuple[Tensor, Tensor | None],
        steps: int,
        truncation: float | None = None,
    ) -> Iterator[Tensor]:
        """Images (rows * steps, R, R, 3) of straight ways in w between those of latents (rows, dim_z) and labels.

        Their noise is that of `noise_between`; a random one follows the bits of w.
        """
        g = self.generator
        assert isinstance(g, StyleGenerator)
        with torch.inference_mode(), runtime.autocast(self.precision, self.device):
            a, b = (g.styles(z.to(self.device), None if y is None else y.to(self.device)) for z, y in (start, end))
        ways = _in_rows(lerp(a.flatten(1), b.flatten(1), torch.linspace(0, 1, steps).to(self.device)))

        def images(w: Tensor) -> Tensor:
            noise = Noise.of(self.noise_between, w.flatten(1))
            return g.synthesize(g.truncate(w, truncation, self.cutoff), noise)

        return self._in_chunks(images, [ways.unflatten(1, a.shape[1:])])

    def check(self, n: int, classes: Classes | None, truncation: float | None, form: str) -> None:
        """Refuse what this generator cannot draw, before statistics are collected for it."""
        self.generator.check_truncation(truncation, form)
        acts = self.cutoff is None or truncation is not None
        require(acts, "cutoff", self.cutoff, "says where psi acts: give --truncation too, or leave it out")
        require(n > 0, "n", n, "must be positive")
        if classes is not None:
            naming.indices(classes, (), self.generator.n_classes)

    def stream(
        self,
        n: int,
        *,
        classes: Sequence[int] | None = None,
        truncation: float | None = None,
        form: str = "redraw",
        seed: int = 0,
        first: int = 0,
    ) -> Iterator[Tensor]:
        """Images first ... first + n - 1 of a seed as uint8 chunks (m, R, R, 3).

        What cannot be drawn is refused at once.
        """
        self.check(n, classes, truncation, form)
        size = chunk_size(self.generator.resolution, self.device)

        def chunks() -> Iterator[Tensor]:
            # Always the same images run together, wherever one begins: to the last bit the same then.
            whole = first // size * size
            for start in range(whole, first + n, size * 16):
                m = min(size * 16, first + n - start)
                z = self.latents(seed, start, m, truncation, form)
                made = self.render(z, self.labels(m, classes, seed, start), truncation)
                yield from made if start >= first else _without(made, first - whole)

        return chunks()


def _without(chunks: Iterator[Tensor], left_out: int) -> Iterator[Tensor]:
    """The chunks without the images at the beginning of the first."""
    yield next(chunks)[left_out:]
    yield from chunks


def snapshot(generator: Generator, precision: str) -> Sampler:
    """A sampler over a copy, so that collecting statistics leaves the run's own network as it is."""
    sampler = Sampler(copy.deepcopy(generator), precision)
    sampler.collect()
    return sampler


def sheet_layout(n_classes: int, rows: int = 10, columns: int = 10) -> tuple[list[int] | None, int]:
    """Classes of a sheet in reading order, a row a class, spread over all of them; and the number of images."""
    if not n_classes:
        return None, rows * columns
    spread = np.linspace(0, n_classes - 1, min(rows, n_classes)).round().astype(int)
    return [int(c) for c in spread for _ in range(columns)], len(spread) * columns


def class_sheet(
    sampler: Sampler,
    seed: int = 0,
    truncation: float | None = None,
    form: str = "redraw",
    names: Sequence[str] | None = None,
) -> Image.Image:
    """A row of 10 fixed latents for each of up to 10 classes, with the names beside it if they are given."""
    classes, n = sheet_layout(sampler.generator.n_classes)
    images = torch.cat(list(sampler.stream(n, classes=classes, truncation=truncation, form=form, seed=seed)))
    labels = [] if names is None or classes is None else [naming.label(c, names) for c in classes[::10]]
    return labelled(grid(images, 10), labels)


def truncation_sheet(
    sampler: Sampler,
    thresholds: Sequence[float | None],
    seed: int = 0,
    columns: int = 10,
    stand: Callable[[float | None], None] | None = None,
) -> Image.Image:
    """A row of images for each threshold, which stands beside it, with the standing statistics of that threshold.

    None is no truncation. The same classes in every row. `stand` sets the statistics; without it they are collected.
    Those of the last threshold are left behind: see `Sampler.standing`.
    """
    require(len(thresholds) > 0, "thresholds", tuple(thresholds), "give at least one")
    for threshold in thresholds:
        sampler.generator.check_truncation(threshold)
    count = sampler.generator.n_classes
    classes = [i * count // columns for i in range(columns)] if count else None
    rows: list[Tensor] = []
    for threshold in thresholds:
        (stand or sampler.collect)(threshold)
        rows.extend(sampler.stream(columns, classes=classes, truncation=threshold, seed=seed))
    return labelled(grid(torch.cat(rows), columns), ["none" if t is None else f"{t:g}" for t in thresholds])


Walk = Literal["latents", "classes", "both"]


def walk(
    sampler: Sampler,
    between: Walk,
    rows: int,
    steps: int,
    *,
    path: Literal["slerp", "lerp"] | None = None,
    classes: Sequence[int] | None = None,
    truncation: float | None = None,
    form: str = "redraw",
    seed: int = 0,
) -> Iterator[Tensor]:
    """Images (rows * steps, R, R, 3) in reading order: a row goes from one latent or class to the next one's start.

    The statistics of the sampler must fit the truncation. Walking between classes mixes their embeddings. Where there
    is an intermediate latent w, the way is a straight one between two of them; else `path` is between latents, a great
    circle if nothing is said. Noise inside a generator is constant on the way, unless the sampler was given a mode.
    """
    g = sampler.generator
    g.check_truncation(truncation, form)
    y = walk_classes(sampler, between, rows, classes, seed)
    z = sampler.latents(seed, 0, rows + 1, truncation, form)
    from_z, to_z = z[:-1], z[1:] if between != "classes" else z[:-1]
    weights = None if y is None else torch.nn.functional.one_hot(y, g.n_classes).float()
    from_y, to_y = (
        (None, None) if weights is None else (weights[:-1], weights[1:] if between != "latents" else weights[:-1])
    )
    if isinstance(g, StyleGenerator):
        require(path is None, "path", path, "this generator is walked straight in w; leave it out")
        return sampler.between_styles((from_z, from_y), (to_z, to_y), steps, truncation)
    t = torch.linspace(0, 1, steps)
    latents = _in_rows((lerp if path == "lerp" else slerp)(from_z, to_z, t))
    return sampler.between(latents, None if from_y is None or to_y is None else _in_rows(lerp(from_y, to_y, t)))


def _in_rows(way: Tensor) -> Tensor:
    """(steps, rows, D) -> (rows * steps, D)."""
    return way.transpose(0, 1).flatten(0, 1)


def walk_classes(
    sampler: Sampler, between: Walk, rows: int, classes: Sequence[int] | None, seed: int = 0
) -> Tensor | None:
    """The class that each row of a walk starts from, and the one that the last row may go to: (rows + 1,)."""
    count = sampler.generator.n_classes
    if not count and between != "latents":
        raise UserError(f"between={between!r}: this model was trained without classes; walk between latents")
    return sampler.labels(rows + 1, classes if classes is not None or not count else range(count), seed)


def walk_names(
    sampler: Sampler, between: Walk, rows: int, classes: Sequence[int] | None, names: Sequence[str]
) -> list[str]:
    """What stands beside each row of a walk's sheet: its class, or its two; nothing for a model without classes."""
    y = walk_classes(sampler, between, rows, classes)
    if y is None:
        return []
    told = [naming.label(int(c), names) for c in y]
    return told[:-1] if between == "latents" else [f"{a} - {b}" for a, b in itertools.pairwise(told)]
