"""Does the collapse watch see collapses, and is it silent without? Tiny trainings, broken on purpose and whole.

    python -m benchmarks.collapses --out DIR [--jobs 2] [--emoji emoji-64.zip] [--judge-only]

Every trainer is the package's own; faults are put into it from here. Runs are of 16 px, 80 healthy steps and then as
many with the fault, a look every 8 steps; what the watch saw is kept in DIR, so a call that was stopped goes on, and
`--judge-only` judges again by the rules as they are now. Thresholds were chosen on some seeds and reported on others.
"""

import argparse
import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from orthogan import runs
from orthogan.config import CadenceConfig, EmaConfig, OptimizerConfig, RunConfig
from orthogan.data import pack
from orthogan.data.config import DataConfig
from orthogan.networks import DISCRIMINATORS, GENERATORS
from orthogan.nn.spectral import SpectralNorm
from orthogan.settings import override
from orthogan.stability import watch
from orthogan.training.logs import read_config
from orthogan.training.observer import Observer
from orthogan.training.player import NonFiniteError
from orthogan.training.trainer import Trainer

CPU = torch.device("cpu")
BATCH = 16
PAIRS = {"biggan": ("biggan", "biggan"), "sngan": ("sngan", "sngan"), "fastgan": ("fastgan", "projected")}
CHOSEN_ON, REPORTED_ON = (0, 1), (2,)
"""Seeds: the rules were chosen by looking at the first, and looked at the second once, afterwards."""
NEVER = 10**9


def base(pair: str, source: str, seed: int, steps: int, **changes: Any) -> RunConfig:
    """A run whose steps take tens of milliseconds. One with a checkpoint at its end alone."""
    g, d = PAIRS[pair]
    config = RunConfig(
        resolution=16,
        n_classes=pack(DataConfig(source=source), 16).n_classes,
        generator=GENERATORS[g].tiny,
        discriminator=DISCRIMINATORS[d].tiny,
        data=DataConfig(source=source),
        optimizer=OptimizerConfig(g_lr=1e-3, d_lr=1e-3),
        ema=EmaConfig(decay=0.9),
        cadence=CadenceConfig(
            spectra_images=0, sheet_images=0, checkpoint_images=NEVER, first_images=0, log_images=8 * BATCH
        ),
        images=steps * BATCH,
        batch=BATCH,
        d_steps=1,
        precision="float32",
        seed=seed,
    )
    return override(config, {"watch.every_images": 8 * BATCH, **changes})


# -- faults: from outside, each at the beginning of a step ------------------------------------------------------------


def faster(g: float = 1.0, d: float = 1.0) -> Callable[[Trainer], None]:
    """Learning rates times so much."""

    def apply(trainer: Trainer) -> None:
        for player, factor in ((trainer.game.g, g), (trainer.game.d, d)):
            player.optimizer.param_groups[0]["lr"] *= factor

    return apply


def without_spectral_norm(trainer: Trainer) -> None:
    """And D ten times as fast: in so few steps its weights would else stay as they were, and nothing happen."""
    faster(d=10)(trainer)
    for layer in trainer.game.d.network.modules():
        if isinstance(layer, SpectralNorm):
            layer.weight_in_use = partial(getattr, layer, "weight")  # type: ignore[method-assign]


def constant_generator(trainer: Trainer) -> None:
    trainer.game.g.network.register_forward_hook(lambda module, inputs, out: out.mean(0, keepdim=True).expand_as(out))


def lost_class(trainer: Trainer) -> None:
    """All images of class 1 are one."""

    def alike(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
        of_class = (inputs[1] == 1).view(-1, 1, 1, 1)
        mean = (out * of_class).sum(0, keepdim=True) / of_class.sum().clamp(min=1)
        return torch.where(of_class, mean, out)

    trainer.game.g.network.register_forward_hook(alike)


def scaled(role: str, factor: float) -> Callable[[Trainer], None]:
    """The weights of the second layer of a network times so much."""

    def apply(trainer: Trainer) -> None:
        player = trainer.game.g if role == "generator" else trainer.game.d
        matrices = [p for p in player.trained if p.ndim > 1]
        with torch.no_grad():
            matrices[1].mul_(factor)

    return apply


def not_a_number(trainer: Trainer) -> None:
    with torch.no_grad():
        trainer.game.g.trained[0].view(-1)[0] = float("nan")


def shuffled_labels(trainer: Trainer) -> None:
    feed, real, source = trainer.feed, trainer.feed.real, torch.Generator().manual_seed(0)

    def shuffled(images: int) -> list[Any]:
        return [(x, None if y is None else y[torch.randperm(len(y), generator=source)]) for x, y in real(images)]

    feed.real = shuffled  # type: ignore[method-assign]


FAULTS: dict[str, Callable[[Trainer], None]] = {
    "g-rate-x100": faster(g=100),
    "d-rate-x100": faster(d=100),
    "both-rates-x100": faster(g=100, d=100),
    "no-spectral-norm": without_spectral_norm,
    "constant-generator": constant_generator,
    "g-layer-x20": scaled("generator", 20),
    "nan": not_a_number,
    "shuffled-labels": shuffled_labels,
    "lost-class": lost_class,
}
FROM_THE_START: dict[str, dict[str, Any]] = {
    "few-images": {"data.source": "FEW", "optimizer.d_lr": 1e-2, "optimizer.g_lr": 2e-4, "d_steps": 2},
}


# -- runs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A run: healthy (no fault), or broken at half its length, or from its start by its settings."""

    name: str
    pair: str
    seed: int
    fault: str = ""
    changes: tuple[tuple[str, Any], ...] = ()
    source: str = "digits"
    steps: int = 160

    @property
    def onset(self) -> int:
        """Images before the fault."""
        return 0 if self.fault in FROM_THE_START else self.steps // 2 * BATCH


def tasks(options: argparse.Namespace) -> Iterator[Task]:
    """Each pair whole, then broken; then other data and settings, whole."""
    for seed in (*CHOSEN_ON, *REPORTED_ON):
        for pair in PAIRS:
            yield Task(f"whole-{pair}-{seed}", pair, seed)
            for fault in FAULTS:
                yield Task(f"{fault}-{pair}-{seed}", pair, seed, fault)
            for fault, changes in FROM_THE_START.items():
                yield Task(f"{fault}-{pair}-{seed}", pair, seed, fault, tuple(changes.items()))
        yield from healthy(seed, options.emoji)


def healthy(seed: int, emoji: str) -> Iterator[Task]:
    for pair in PAIRS:
        yield Task(f"whole-shapes-{pair}-{seed}", pair, seed, source="SHAPES")
        if emoji:
            yield Task(f"whole-emoji-{pair}-{seed}", pair, seed, source=emoji)
    for name, pair, changes in (
        ("unlabelled", "biggan", {"data.unconditional": True}),
        ("logistic-r1", "sngan", {"loss": "non-saturating", "regularizers.d_r1.strength": 1.0}),
        ("wgan-gp", "sngan", {"loss": "wasserstein", "discriminator.stabilizer": "wgan-gp"}),
        ("two-d-steps", "biggan", {"d_steps": 2}),
        ("diffaugment", "biggan", {"augment.kind": "diffaugment"}),
        ("slow-g", "sngan", {"optimizer.g_lr": 2e-4, "optimizer.d_lr": 8e-4, "optimizer.beta1": 0.5}),
        ("long", "sngan", {}),
    ):
        steps = 400 if name == "long" else 160
        yield Task(f"whole-{name}-{pair}-{seed}", pair, seed, "", tuple(changes.items()), steps=steps)


def source_of(word: str, out: Path) -> str:
    if word not in ("FEW", "SHAPES"):
        return word
    path = out / f"{word.lower()}.npz"
    if not path.exists():
        images, labels = shapes() if word == "SHAPES" else few()
        partial = path.with_name(f".{multiprocessing.current_process().pid}.npz")
        np.savez(partial, images=images, labels=labels)
        partial.replace(path)
    return str(path)


def few() -> tuple[np.ndarray, np.ndarray]:
    """The first two digits of each class."""
    digits = pack(DataConfig(source="digits"), 16)
    labels = np.asarray(digits.labels)
    chosen = np.concatenate([np.flatnonzero(labels == c)[:2] for c in range(10)])
    return np.asarray(digits.images)[chosen], labels[chosen]


def shapes(count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Discs, squares and triangles of any colour, place and size."""
    rng, images = np.random.default_rng(0), []
    for i in range(count):
        picture = Image.new("RGB", (16, 16), tuple(int(v) for v in rng.integers(0, 60, 3)))
        colour = tuple(int(v) for v in rng.integers(90, 256, 3))
        x, y, r = (int(v) for v in rng.integers((5, 5, 3), (11, 11, 6)))
        pen, box = ImageDraw.Draw(picture), [x - r, y - r, x + r, y + r]
        corners = [(x, y - r), (x - r, y + r), (x + r, y + r)]
        if i % 3 == 0:
            pen.ellipse(box, colour)
        elif i % 3 == 1:
            pen.rectangle(box, colour)
        else:
            pen.polygon(corners, colour)
        images.append(np.asarray(picture))
    return np.stack(images), np.arange(count) % 3


def quiet(done: int, total: int) -> None:
    """Packing tells nothing here."""


def start(task: Task, out: Path, folder: Path, steps: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    changes = {path: source_of(value, out) if path == "data.source" else value for path, value in task.changes}
    source = changes.pop("data.source", None) or source_of(task.source, out)
    if changes.get("data.unconditional"):
        changes["n_classes"] = 0
    config = base(task.pair, source, task.seed, steps, **changes)
    runs.start(config, "digits", folder, Observer(), CPU, quiet).run()


def do(task: Task, out: Path) -> str:
    """Run a task to its end, the healthy first half of broken ones once for all of them."""
    torch.set_num_threads(1)
    folder = out / "runs" / task.name
    end: dict[str, Any] = {"stopped": None}
    if not task.onset or not task.fault:
        start(task, out, folder, task.steps * dict(task.changes).get("d_steps", 1))
    else:
        half = out / "runs" / f"half-{task.pair}-{task.seed}"
        with FileLock(out / f"{half.name}.lock"):
            if not half.with_suffix(".done").exists():
                start(task, out, half, task.steps // 2)
                half.with_suffix(".done").touch()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(half, folder)
        config = override(read_config(folder), {"images": task.steps * BATCH})
        trainer = runs.resume(folder, config, Observer(), CPU, quiet)
        FAULTS[task.fault](trainer)
        try:
            trainer.run()
        except NonFiniteError as error:
            end = {"stopped": str(error), "images": trainer.images}
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    shutil.rmtree(folder / "curves", ignore_errors=True)
    (folder / "done.json").write_text(json.dumps(end))
    return task.name


# -- what the watch makes of them ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What the rules, as they are now, say of a run that was kept."""

    task: Task
    early: str = ""
    """Of a false alarm, before the fault or without any: what it named."""
    steps: int | None = None
    """From the fault to the alarm; None where there was none."""
    named: str = ""


def judge(task: Task, out: Path) -> Verdict | None:
    """None for a run that has not been done."""
    folder = out / "runs" / task.name
    if not (folder / "done.json").exists():
        return None
    end = json.loads((folder / "done.json").read_text())
    seen, found = watch.Judge(), []
    for line in (folder / "watch.jsonl").read_text().splitlines():
        values = json.loads(line)
        images, _ = values.pop("images"), values.pop("steps")
        seen, alarm = seen.after(images, values)
        if alarm is not None:
            kind = "notice: " if alarm.notice else ""
            found.append((images, f"{kind}{alarm.signs[0].what} ({len(alarm.signs)} signs)"))
    if end["stopped"]:
        found.append((end["images"], end["stopped"]))
    early = next((named for images, named in found if not task.fault or images <= task.onset), "")
    late = [(images, named) for images, named in found if task.fault and images > task.onset]
    if not late:
        return Verdict(task, early)
    per_step = BATCH * dict(task.changes).get("d_steps", 1)
    return Verdict(task, early, -(-(late[0][0] - task.onset) // per_step), late[0][1])


def report(verdicts: list[Verdict], console: Console) -> None:
    """A table for the seeds that the rules were chosen on, and one for those that they were only tried on."""
    for seeds, what in ((CHOSEN_ON, "on which the rules were chosen"), (REPORTED_ON, "on which they were tried")):
        own = [v for v in verdicts if v.task.seed in seeds]
        heading = f"seeds {', '.join(map(str, seeds))}, {what}"
        table = Table("fault", "seen", "steps to the alarm", "named first", title=heading, title_justify="left")
        for fault in [*FAULTS, *FROM_THE_START]:
            broken = [v for v in own if v.task.fault == fault]
            caught = [v for v in broken if v.steps is not None]
            steps = ", ".join(f"{v.task.pair} {v.steps}" for v in caught)
            named = "; ".join(sorted({v.named for v in caught}))
            table.add_row(fault, f"{len(caught)} of {len(broken)}", steps, named)
        console.print(table)
        whole = [v for v in own if not v.task.fault]
        told = [f"{v.task.name}: {v.early}" for v in own if v.early]
        console.print(f"{len(whole)} healthy runs; told in them, or before faults: {len(told)}", *told, sep="\n  ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--emoji", default="", help="a zip or folder of images in classes")
    parser.add_argument("--judge-only", action="store_true")
    parser.add_argument("--only", default="", help="a word in the names of the runs to do")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    todo = [task for task in tasks(options) if options.only in task.name]
    left = [task for task in todo if not (options.out / "runs" / task.name / "done.json").exists()]
    console = Console()
    if not options.judge_only:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(options.jobs, context) as pool:
            futures = [pool.submit(do, task, options.out) for task in left]
            for number, future in enumerate(as_completed(futures), 1):
                console.print(f"{number}/{len(left)} {future.result()}")
    report([found for task in todo if (found := judge(task, options.out)) is not None], console)


if __name__ == "__main__":
    main()
