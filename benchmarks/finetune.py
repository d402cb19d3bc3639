"""Fine-tuning against training from scratch at equal images: a class of a data set, a network that learnt the others.

    python -m benchmarks.finetune DATA --out FOLDER [--target CLASS] [--pretrain IMAGES] [--images IMAGES] [--seeds N]

A small-32 of width 16 first learns all classes but one. Then 50, and 200, images of that class train fresh networks,
these, and these with frozen first blocks of D, to the same number of images. All images of the class are the real side
of the scores. Runs that are there are resumed or scored again, so that a stopped comparison goes on. The table and a
figure are of what is done.
"""

import argparse
import itertools
import json
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from orthogan import optional, presets, runs
from orthogan.config import RunConfig
from orthogan.data import open_source, pack
from orthogan.data.config import DataConfig
from orthogan.metrics.evaluate import Scorer
from orthogan.model import find_checkpoint, load
from orthogan.settings import override
from orthogan.training import checkpoint
from orthogan.training.trainer import Observer, Trainer

CPU = torch.device("cpu")
ARMS: dict[str, dict[str, Any] | None] = {"from scratch": None, "fine-tuned": {}, "FreezeD": {"freeze_d_blocks": 2}}
"""What a run changes that begins from the pretrained networks; None begins from fresh ones."""
SIZES = (50, 200)
FEATURES = "efficientnet-lite0-96"
BATCH, SAMPLES = 16, 500


def quietly(done: int, total: int) -> None:
    """Counts nothing."""


def split(source: str, target: str, folder: Path) -> None:
    """`others/CLASS/*.png`, `target/CLASS/*.png` and, for each size, as many images that every smaller set has too."""
    data = open_source(source, False)
    assert data.labels is not None
    here = np.flatnonzero(np.asarray(data.labels) == data.class_names.index(target))
    np.random.default_rng(0).shuffle(here)
    sets = {f"first-{n}": set(here[:n].tolist()) for n in SIZES} | {"target": set(here.tolist())}
    for index, label in enumerate(data.labels):
        wanted = [name for name, members in sets.items() if index in members] or ["others"]
        for name in wanted:
            place = folder / name / data.class_names[int(label)] / f"{index:06d}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            with data.read(index) as image:
                image.convert("RGBA").save(place)


def settings(data: Path, images: int, seed: int, every: int) -> RunConfig:
    changes = {"data.source": str(data), "images": images, "seed": seed, "batch": BATCH, "ema.decay": 0.98}
    quiet = {"cadence.checkpoint_images": every, "cadence.keep_last": 100, "cadence.spectra_images": 0}
    early = {"cadence.first_images": 0, "cadence.sheet_images": 0}
    run: RunConfig = override(presets.get("small-32"), changes | quiet | early)
    return run


def train(folder: Path, data: Path, images: int, seed: int, every: int, init: Path | None, **changes: Any) -> None:
    """To its end, if it is not there yet."""
    if runs.is_run(folder):
        config = runs_config(folder)
        trainer = runs.resume(folder, config, Observer(), CPU, quietly)
    else:
        trainer = begun(folder, override(settings(data, images, seed, every), changes), init)
    if trainer.images < images:
        trainer.run()
    trainer.close()


def runs_config(folder: Path) -> RunConfig:
    return checkpoint.newest(folder / "checkpoints")[0].header.config


def begun(folder: Path, config: RunConfig, init: Path | None) -> Trainer:
    if init is None:
        return runs.start(config, "small-32", folder, Observer(), CPU, quietly)
    found = find_checkpoint(init)
    asked = runs.InitConfig(file=str(init))
    config = override(
        config, {"n_classes": found.header.config.n_classes}
    )  # it follows the data, as on the command line
    return runs.fine_tune(found, asked, config, "small-32", folder, Observer(), CPU, quietly)


def score(folder: Path, scorer: Scorer) -> dict[str, Any]:
    """Scores of every checkpoint but the first, by images; kept in the run's folder."""
    kept = folder / "finetune.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for path in checkpoint.numbered(folder / "checkpoints"):
        images = checkpoint.images_of(path)
        if images and str(images) not in found:
            made = load(path, "cpu").stream(SAMPLES, seed=0)
            found[str(images)] = scorer.score(made, 0)["scores"]
            kept.write_text(json.dumps(found))
    return found


def tell(results: dict[tuple[int, str], list[dict[str, Any]]], out: Path) -> None:
    """A table of the kernel distance, the mean over seeds and their range, and the figure."""
    times = sorted({int(images) for many in results.values() for found in many for images in found})
    table = Table("images of the class", "", *(f"after {images:,}" for images in times), "seeds")
    for (size, arm), many in sorted(results.items()):
        columns = []
        for images in times:
            values = [found[str(images)]["kernel_distance"] for found in many if str(images) in found]
            columns.append(f"{fmean(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "")
        table.add_row(str(size), arm, *columns, str(len(many)))
    Console(width=160).print(table)
    draw(results, out / "finetune.png")


def draw(results: dict[tuple[int, str], list[dict[str, Any]]], path: Path) -> None:
    """Kernel distance over images shown: a panel a size, a line a run, a colour an arm."""
    optional.need("matplotlib", "studies", "a figure").use("Agg")
    plt = optional.need("matplotlib.pyplot", "studies", "a figure")
    figure, panels = plt.subplots(1, len(SIZES), figsize=(10, 4), sharey=True)
    colours = dict(zip(ARMS, ("#4c4c4c", "#d62728", "#1f77b4"), strict=True))
    for panel, size in zip(panels, SIZES, strict=True):
        for (of, arm), many in sorted(results.items()):
            for number, found in enumerate(many if of == size else []):
                points = sorted((int(images), scores["kernel_distance"]) for images, scores in found.items())
                panel.plot(*zip(*points, strict=True), marker="o", color=colours[arm], label=None if number else arm)
        panel.set(title=f"{size} images of a class", xlabel="images shown to D")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("kernel distance (lower is better)")
    panels[0].legend()
    figure.savefig(path, dpi=110, bbox_inches="tight")
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--target", default="8", help="name of the class that is learnt last")
    parser.add_argument("--pretrain", type=int, default=4_000, help="real images shown to the first networks")
    parser.add_argument("--images", type=int, default=1_200, help="real images shown in each run on the class")
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if not (asked.out / "target").exists():
        split(asked.data, asked.target, asked.out)
    pretrained = asked.out / "pretrained"
    train(pretrained, asked.out / "others", asked.pretrain, 0, asked.pretrain, None)
    real = pack(DataConfig(source=str(asked.out / "target")), 32)
    scorer = Scorer(FEATURES, real.images, real.fingerprint)
    results: dict[tuple[int, str], list[dict[str, Any]]] = {}
    first = itertools.product(range(asked.seeds), SIZES, ["from scratch", "fine-tuned"])
    for seed, size, arm in itertools.chain(first, itertools.product(range(asked.seeds), SIZES, ["FreezeD"])):
        changes = ARMS[arm]
        folder = asked.out / f"{size}-{arm.replace(' ', '-')}-{seed}"
        init = None if changes is None else pretrained
        train(folder, asked.out / f"first-{size}", asked.images, seed, asked.images // 2, init, **(changes or {}))
        results.setdefault((size, arm), []).append(score(folder, scorer))
        tell(results, asked.out)


if __name__ == "__main__":
    main()
