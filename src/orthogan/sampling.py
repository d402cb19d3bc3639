"""Images from a generator: a stream addressed by seed and index, sheets, and ways between images.

Every image has its own latent, drawn by (seed, index), and the network always runs on chunks of one size, so an image
does not depend on how many others are asked for with it.
"""

import copy
import importlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from orthogan import runtime
from orthogan.config import require
from orthogan.errors import UserError
from orthogan.game.latents import check_truncation, latents_at, lerp, sample_latents, slerp, uniform_classes
from orthogan.nn.layers import baked
from orthogan.nn.norm import norm_layers, standing_statistics
from orthogan.nn.spectral import advance
from orthogan.randomness import draw

SINGULAR_ITERATIONS = 10
STANDING_BATCHES = 16
STANDING_BATCH = 64


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

    def __init__(self, generator: nn.Module, precision: str = "auto", device: torch.device | None = None):
        self.device = device or next(generator.parameters()).device
        self.generator = generator.to(self.device).eval()
        # Averaged weights have singular vectors of their own; those they come with belong to the trained weights.
        advance(self.generator, SINGULAR_ITERATIONS)
        self.network: Any = generator.config
        self.precision = runtime.resolve_precision(precision, self.device)
        self._kept = ExitStack()
        with runtime.autocast(self.precision, self.device):
            self._kept.enter_context(baked(self.generator))

    def collect(
        self, truncation: float | None = None, form: str = "redraw", batches: int = STANDING_BATCHES, seed: int = 0
    ) -> None:
        """Set the standing statistics from `batches` batches of 64 latents at this truncation, classes uniform."""
        if not norm_layers(self.generator):
            return

        def forwards() -> Iterator[Tensor]:
            for i in range(batches):
                source = draw(seed, "standing", i)
                z = sample_latents(STANDING_BATCH, self.network.dim_z, source, truncation, form, self.network.latent)
                y = uniform_classes(STANDING_BATCH, self.network.n_classes, source) if self.network.n_classes else None
                yield self._forward(z, y)

        with runtime.autocast(self.precision, self.device), torch.no_grad():
            standing_statistics(self.generator, forwards)

    def _forward(self, z: Tensor, y: Tensor | None) -> Tensor:
        images: Tensor = self.generator(z.to(self.device), None if y is None else y.to(self.device))
        return images

    def render(self, z: Tensor, y: Tensor | None) -> Iterator[Tensor]:
        """uint8 images (n, R, R, 3), chunk by chunk, of latents (N, dim_z) and labels or class weights of N rows."""
        size = chunk_size(self.network.resolution, self.device)
        with torch.inference_mode(), runtime.autocast(self.precision, self.device):
            for start in range(0, len(z), size):
                index = torch.arange(start, start + size).clamp(max=len(z) - 1)
                images = self._forward(z[index], None if y is None else y[index])
                yield to_uint8(images)[: len(z) - start].cpu()

    def labels(self, n: int, classes: Sequence[int] | None, seed: int, first: int = 0) -> Tensor | None:
        """Classes of samples first ... first + n - 1: the given ones in turn, or uniform ones by index."""
        count = self.network.n_classes
        if not count:
            require(classes is None, "classes", classes, "this model was trained without classes; leave it out")
            return None
        if classes is None:
            return torch.cat([uniform_classes(1, count, draw(seed, "class", i)) for i in range(first, first + n)])
        for c in classes:
            require(0 <= c < count, "classes", c, f"this model has classes 0 to {count - 1}")
        require(len(classes) > 0, "classes", classes, "name at least one class or leave it out")
        return torch.tensor([classes[i % len(classes)] for i in range(first, first + n)])

    def stream(
        self,
        n: int,
        *,
        classes: Sequence[int] | None = None,
        truncation: float | None = None,
        form: str = "redraw",
        seed: int = 0,
    ) -> Iterator[Tensor]:
        """n images of a seed as uint8 chunks (m, R, R, 3)."""
        check_truncation(truncation, form, self.network.latent)
        require(n > 0, "n", n, "must be positive")
        size = chunk_size(self.network.resolution, self.device)
        self.labels(1, classes, seed)
        for first in range(0, n, size * 16):
            m = min(size * 16, n - first)
            z = latents_at(seed, first, m, self.network.dim_z, truncation, form, self.network.latent)
            yield from self.render(z, self.labels(m, classes, seed, first))


def snapshot(generator: nn.Module, precision: str) -> Sampler:
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


def grid(images: Tensor, columns: int) -> Image.Image:
    """One picture of many: uint8 (N, H, W, 3) in reading order, colours untouched, the rest of the last row white."""
    n, h, w, _ = images.shape
    rows = -(-n // columns)
    canvas = torch.full((rows * columns, h, w, 3), 255, dtype=torch.uint8)
    canvas[:n] = images
    tiled = canvas.view(rows, columns, h, w, 3).permute(0, 2, 1, 3, 4).reshape(rows * h, columns * w, 3)
    return Image.fromarray(tiled.numpy())


def class_sheet(sampler: Sampler, seed: int = 0, truncation: float | None = None, form: str = "redraw") -> Image.Image:
    """A row of 10 fixed latents for each of up to 10 classes."""
    classes, n = sheet_layout(sampler.network.n_classes)
    images = torch.cat(list(sampler.stream(n, classes=classes, truncation=truncation, form=form, seed=seed)))
    return grid(images, 10)


def truncation_sheet(sampler: Sampler, thresholds: Sequence[float], seed: int = 0, columns: int = 10) -> Image.Image:
    """A row of images for each threshold, each with the standing statistics of its own threshold.

    The same classes in every row. Leaves the statistics of the last threshold behind.
    """
    count = sampler.network.n_classes
    classes = [i * count // columns for i in range(columns)] if count else None
    rows: list[Tensor] = []
    for threshold in thresholds:
        sampler.collect(threshold)
        rows.extend(sampler.stream(columns, classes=classes, truncation=threshold, seed=seed))
    return grid(torch.cat(rows), columns)


def save_images(images: Iterator[Tensor], n: int, out: Path, layout: str) -> Path:
    """Write a stream as numbered PNG files, as one grid, or as an npz with the array `images`."""
    out.mkdir(parents=True, exist_ok=True)
    if layout == "images":
        for i, image in enumerate(image for chunk in images for image in chunk):
            Image.fromarray(image.numpy()).save(out / f"{i:06d}.png")
        return out
    every = torch.cat(list(images))
    if layout == "grid":
        path = out / "grid.png"
        grid(every, max(1, round(n**0.5))).save(path)
        return path
    if layout == "npz":
        path = out / "samples.npz"
        np.savez(path, images=every.numpy())
        return path
    raise UserError(f"unknown layout {layout!r}; known: images, grid, npz")


Walk = Literal["latents", "classes", "both"]


def walk(
    sampler: Sampler,
    between: Walk,
    rows: int,
    steps: int,
    *,
    path: Literal["slerp", "lerp"] = "slerp",
    classes: Sequence[int] | None = None,
    truncation: float | None = None,
    form: str = "redraw",
    seed: int = 0,
) -> Iterator[Tensor]:
    """Images (rows * steps, R, R, 3) in reading order: a row goes from one latent or class to the next one's start.

    The statistics of the sampler must fit the truncation. Walking between classes mixes their embeddings.
    """
    network = sampler.network
    if between != "latents" and not network.n_classes:
        raise UserError(f"between={between!r}: this model was trained without classes; walk between latents")
    z = latents_at(seed, 0, rows + 1, network.dim_z, truncation, form, network.latent)
    t = torch.linspace(0, 1, steps)
    way = slerp if path == "slerp" else lerp
    ends = z[1:] if between != "classes" else z[:-1]
    latents = way(z[:-1], ends, t).transpose(0, 1).reshape(rows * steps, -1)
    if not network.n_classes:
        sampler.labels(1, classes, seed)
        return sampler.render(latents, None)
    order = classes if classes is not None else range(network.n_classes)
    y = sampler.labels(rows + 1, list(order), seed)
    assert y is not None
    one_hot = torch.nn.functional.one_hot(y, network.n_classes).float()
    goal = one_hot[1:] if between != "latents" else one_hot[:-1]
    return sampler.render(latents, lerp(one_hot[:-1], goal, t).transpose(0, 1).reshape(rows * steps, -1))


def save_film(images: Iterator[Tensor], steps: int, path: Path, fps: int) -> None:
    """A GIF or an MP4 that shows every row of a walk at once, going there and back."""
    rows = torch.cat(list(images)).unflatten(0, (-1, steps))
    columns = max(1, round(len(rows) ** 0.5))
    frames = [grid(rows[:, i], columns) for i in [*range(steps), *range(steps - 2, 0, -1)]]
    if path.suffix == ".gif":
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0)
        return
    try:
        film = importlib.import_module("imageio.v3")
        importlib.import_module("imageio_ffmpeg")
    except ImportError as error:
        raise UserError(
            "writing MP4 needs two more packages: pip install 'orthogan[video]'; or write a .gif"
        ) from error
    film.imwrite(path, [np.asarray(frame) for frame in frames], fps=fps, macro_block_size=2)
