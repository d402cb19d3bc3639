"""Speed and memory side by side in one run: orthogan, orthogan without its defaults, and the published code.

python -m benchmarks.run --quick
python -m benchmarks.run --rival PATH_OF_A_BIGGAN_PYTORCH_CHECKOUT --json bench.json
"""

import argparse
import gc
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import ceiling, machine, memory, ours
from benchmarks.measure import Case, Spread, Timing, figures, interleave, ratio
from benchmarks.rival import Rival

PARTS = ("train", "attention", "sampling", "loader", "memory")
BATCH, D_STEPS = 64, 2
FLOPS_BATCH = 8
SAMPLED = {"biggan-128": 96, "biggan-deep-128": 128}
"""Presets that are sampled from, and their width."""
OURS, OURS_PLAIN = "orthogan bf16", "orthogan float32"
RIVAL, RIVAL_TUNED = "published float32", "published bf16"
LEGEND = (
    "published: BigGAN-PyTorch from --rival, float32 as it comes; bf16: autocast and channels_last, its modules too; "
    "float32: NCHW. Brackets: lowest and highest round. A ratio is taken round by round."
)
VARIANTS = {
    OURS: ("bf16", True),
    OURS_PLAIN: ("float32", False),
    RIVAL: ("float32", False),
    RIVAL_TUNED: ("bf16", True),
}


@dataclass(frozen=True)
class Scene:
    """A preset to train, with the images of one D step."""

    preset: str
    width: int
    batch: int

    def __str__(self) -> str:
        return f"{self.preset}, width {self.width}, batch {self.batch}"


WITH_ATTENTION = (Scene("biggan-64", 32, 16), Scene("biggan-128", 32, 8))


@dataclass
class Bench:
    """What one run was asked for, and what it has found so far."""

    device: str
    widths: list[int]
    quick: bool
    rival: Rival | None
    console: Console
    report: dict[str, Any] = field(default_factory=dict)
    fastest: float = 0.0
    """Highest training rate, images a second."""
    sample_batch: int = 16
    left_out: list[str] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 7

    def time(self, cases: Sequence[Case]) -> dict[str, Timing]:
        """Interleave the cases with this run's lengths."""
        shortest = 0.3 if self.quick else 1.0
        warmup = 1 if self.quick else 2
        return interleave(cases, device=self.device, rounds=self.rounds, warmup=warmup, min_seconds=shortest)

    def measure_ceilings(self) -> None:
        """Measure what the machine could do at best, and keep the highest of this run."""
        tries = 3 if self.quick else 8
        kept: dict[str, float] = self.report.setdefault("ceilings", {})
        for name, flops in ceiling.ceilings(self.device, tries).items():
            kept[name] = max(flops, kept.get(name, 0.0))

    def try_make(self, make: Callable[[], Callable[[], object]]) -> Callable[[], object] | None:
        """Build one side; None, with a line that says why, where it is not connected."""
        try:
            return make()
        except NotImplementedError as error:
            self.leave_out(error)
            return None

    def leave_out(self, reason: Exception) -> None:
        """Say once why something is missing from the tables."""
        if str(reason) not in self.left_out:
            self.left_out.append(str(reason))
            self.console.print(f"[yellow]left out:[/] {reason}")


def train_makers(bench: Bench, scene: Scene) -> dict[str, Callable[[], Callable[[], object]]]:
    """How to build each competitor's step."""
    makers: dict[str, Callable[[], Callable[[], object]]] = {}
    for name in (OURS, OURS_PLAIN):
        how = (*VARIANTS[name], bench.device, scene.preset)
        makers[name] = partial(ours.make_train_step, scene.width, scene.batch, *how)
    if bench.rival is not None:
        model = bench.rival.networks(scene.preset, scene.width)
        for name in (RIVAL, RIVAL_TUNED):
            makers[name] = partial(model.train_step, scene.batch, D_STEPS, *VARIANTS[name])
    return makers


def executed_flops(bench: Bench, scene: Scene) -> dict[str, float]:
    """FLOPs a real image that each competitor executes, counted on a small batch."""
    batch = min(FLOPS_BATCH, scene.batch)
    counts = {}
    for name, make in train_makers(bench, replace(scene, batch=batch)).items():
        step = bench.try_make(make)
        if step is not None:
            counts[name] = ceiling.count_flops(step) / (batch * D_STEPS)
    return counts


def bench_training(bench: Bench) -> None:
    """Training at 32x32 at each width, with the share of the convolution ceiling that it reaches."""
    bench.report["training"] = {str(w): train(bench, Scene("biggan-32", w, BATCH)) for w in bench.widths}


def bench_attention(bench: Bench) -> None:
    """Training of networks with self-attention."""
    bench.report["attention"] = {scene.preset: train(bench, scene) for scene in WITH_ATTENTION}


def train(bench: Bench, scene: Scene) -> dict[str, Any]:
    """Time one training, print its table, and return its numbers."""
    steps = {name: bench.try_make(make) for name, make in train_makers(bench, scene).items()}
    cases = [Case(name, step, scene.batch * D_STEPS) for name, step in steps.items() if step is not None]
    if not cases:
        return {}
    # Again before each measurement: other programs may have disturbed an earlier one, and a low ceiling flatters.
    bench.measure_ceilings()
    timings = bench.time(cases)
    del steps, cases
    gc.collect()
    bench.measure_ceilings()
    flops = executed_flops(bench, scene)
    known = ceiling.PUBLISHED_FLOPS.get(scene.width) if scene.preset == "biggan-32" else None
    if scene.preset == "biggan-32":
        bench.fastest = max(bench.fastest, *(t.rate.median for t in timings.values()))
    entry = training_entry(bench, timings, flops, flops.get(RIVAL, known))
    bench.console.print(training_table(scene, entry))
    return entry


def training_entry(
    bench: Bench, timings: dict[str, Timing], flops: dict[str, float], published: float | None
) -> dict[str, Any]:
    """All numbers of one width."""
    top = bench.report["ceilings"]["conv_bf16"]
    entry: dict[str, Any] = {"published_flops_per_image": published, "cases": {}}
    for name, timing in timings.items():
        rate = timing.rate.median
        entry["cases"][name] = {
            **timing.to_json(),
            "flops_per_image": flops[name],
            "ceiling_share_published_work": rate * published / top if published else None,
            "ceiling_share_executed_work": rate * flops[name] / top,
            "times_faster_than": {o: asdict(ratio(timing, t)) for o, t in timings.items() if o != name},
        }
    return entry


def add_ratio_columns(table: Table, cases: dict[str, Any]) -> list[str]:
    """A column for each baseline that took part: the plain variant and the published code."""
    baselines = [name for name in (OURS_PLAIN, RIVAL, RIVAL_TUNED) if name in cases]
    for name in baselines:
        table.add_column(f"x {name}", justify="right", no_wrap=True)
    return baselines


def ratio_cells(name: str, numbers: dict[str, Any], baselines: Sequence[str]) -> list[str]:
    """Ratios to the baselines, lowest and highest round beside the median."""
    return ["1" if b == name else str(Spread(**numbers["times_faster_than"][b])) for b in baselines]


def percent(share: float | None) -> str:
    """A share for people."""
    return "-" if share is None else f"{100 * share:.0f} %"


def training_table(scene: Scene, entry: dict[str, Any]) -> Table:
    """One width's table."""
    table = Table(title=f"Training {scene}, {D_STEPS} D steps: real images/s")
    table.add_column("", no_wrap=True)
    table.add_column("images/s", justify="right", no_wrap=True)
    baselines = add_ratio_columns(table, entry["cases"])
    for heading in ("GFLOP/image", "of bf16 ceiling", "... by published work"):
        table.add_column(heading, justify="right")
    for name, numbers in entry["cases"].items():
        table.add_row(
            name,
            str(Spread(**numbers["images_per_second"])),
            *ratio_cells(name, numbers, baselines),
            figures(numbers["flops_per_image"] / 1e9),
            percent(numbers["ceiling_share_executed_work"]),
            percent(numbers["ceiling_share_published_work"]),
        )
    return table


def bench_sampling(bench: Bench) -> None:
    """Images a second of each sampled preset."""
    report = bench.report["sampling"] = {"batch": bench.sample_batch}
    for preset in SAMPLED:
        report[preset] = sample(bench, preset)
        gc.collect()


def sample(bench: Bench, preset: str) -> dict[str, Any]:
    """Time draws from one G, print the table, and return its numbers."""
    batch = bench.sample_batch
    makers: dict[str, Callable[[], Callable[[], object]]] = {
        name: partial(ours.make_sampler, batch, *VARIANTS[name], bench.device, preset) for name in (OURS, OURS_PLAIN)
    }
    if bench.rival is not None:
        model = bench.rival.networks(preset, SAMPLED[preset], n_classes=1000)
        makers |= {name: partial(model.sample, batch, *VARIANTS[name]) for name in (RIVAL, RIVAL_TUNED)}
    draws = {name: bench.try_make(make) for name, make in makers.items()}
    timings = bench.time([Case(name, draw, batch) for name, draw in draws.items() if draw is not None])
    entry: dict[str, Any] = {"cases": {}}
    for name, timing in timings.items():
        faster = {o: asdict(ratio(timing, t)) for o, t in timings.items() if o != name}
        entry["cases"][name] = {**timing.to_json(), "times_faster_than": faster}
    bench.console.print(sampling_table(f"{preset}, width {SAMPLED[preset]}, batch {batch}", entry))
    return entry


def sampling_table(what: str, entry: dict[str, Any]) -> Table:
    """The sampling table."""
    table = Table(title=f"Sampling {what}: images/s")
    table.add_column("", no_wrap=True)
    table.add_column("images/s", justify="right", no_wrap=True)
    baselines = add_ratio_columns(table, entry["cases"])
    for name, numbers in entry["cases"].items():
        rate = str(Spread(**numbers["images_per_second"]))
        table.add_row(name, rate, *ratio_cells(name, numbers, baselines))
    return table


def bench_loader(bench: Bench) -> None:
    """Images a second that the loader delivers, and how far that is ahead of the fastest training."""
    fetch = bench.try_make(lambda: ours.make_loader(BATCH, bench.device))
    if fetch is None:
        return
    timing = bench.time([Case("loader", fetch, BATCH)])["loader"]
    ahead = timing.rate.median / bench.fastest if bench.fastest else None
    bench.report["loader"] = {**timing.to_json(), "times_fastest_training": ahead}
    words = f", {figures(ahead)} times the fastest training above" if ahead else ""
    bench.console.print(f"Loader, 32x32, batch {BATCH}: {timing.rate} images/s{words}")


def bench_memory(bench: Bench) -> None:
    """Peak memory of a step at each width, every one in its own process."""
    report = bench.report["memory"] = {}
    for width in bench.widths:
        found = {}
        for name, (precision, channels_last) in VARIANTS.items():
            theirs = name in (RIVAL, RIVAL_TUNED)
            if theirs and bench.rival is None:
                continue
            path = str(bench.rival.path) if theirs and bench.rival else ""
            side = "rival" if theirs else "ours"
            case = memory.MemoryCase(side, width, BATCH, precision, channels_last, bench.device, path)
            try:
                found[name] = memory.measure(case)
            except memory.MeasurementError as error:
                bench.leave_out(error)
        report[str(width)] = {name: asdict(use) for name, use in found.items()}
    if any(report.values()):
        bench.console.print(memory_table(report))


def memory_table(report: dict[str, dict[str, dict[str, int]]]) -> Table:
    """Peak memory: the step above the built networks, and all of it."""
    table = Table(title=f"Peak memory of a training step, 32x32, batch {BATCH}: MiB")
    for heading in ("width", "", "step", "with networks", "of published"):
        table.add_column(heading, justify="left" if heading == "" else "right")
    for width, cases in report.items():
        base = cases.get(RIVAL)
        for name, use in cases.items():
            share = percent(use["step"] / base["step"]) if base else "-"
            cells = (f"{use[key] / memory.MIB:,.0f}" for key in ("step", "total"))
            table.add_row(width, name, *cells, share)
    return table


def show_machine(bench: Bench) -> None:
    """Describe the machine and measure what it could do at best."""
    bench.report["machine"] = machine.describe(bench.device)
    for key, value in bench.report["machine"].items():
        bench.console.print(f"{key:>8}: {', '.join(value) if isinstance(value, list) else value}", highlight=False)
    bench.measure_ceilings()
    for name, flops in bench.report["ceilings"].items():
        bench.console.print(f"ceiling, {name.replace('_', ', ')}: {figures(flops / 1e12)} TFLOP/s", highlight=False)
    bench.console.print(LEGEND, highlight=False)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__.splitlines()[0])
    parser.add_argument("--rival", type=Path, help="folder of a BigGAN-PyTorch checkout to time on the same work")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 32, 64], help="channel multipliers at 32x32")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: minutes, wider spread")
    parser.add_argument("--sample-batch", type=int, help="images a sampling call (default: 16 on a CPU, 64 on cuda)")
    parser.add_argument("--json", type=Path, help="also write all numbers to this file")
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to run, from {','.join(PARTS)}")
    options = parser.parse_args(arguments)
    options.only = options.only.split(",")
    wrong = [part for part in options.only if part not in PARTS]
    if wrong:
        parser.error(f"--only: unknown part {wrong[0]!r}; there are {', '.join(PARTS)}")
    return options


def make_console() -> Console:
    """A console wide enough for the tables where the output goes to a file or a log."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts that were asked for and write the report."""
    options = parse(arguments)
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    rival = Rival(options.rival, options.device) if options.rival else None
    bench = Bench(options.device, options.widths, options.quick, rival, make_console())
    bench.sample_batch = options.sample_batch or (64 if options.device == "cuda" else 16)
    show_machine(bench)
    parts = {"train": bench_training, "attention": bench_attention, "sampling": bench_sampling}
    parts |= {"loader": bench_loader, "memory": bench_memory}
    for name, part in parts.items():
        if name in options.only:
            part(bench)
            gc.collect()
    bench.report["left_out"] = bench.left_out
    if options.json:
        options.json.write_text(json.dumps(bench.report, indent=2) + "\n")


if __name__ == "__main__":
    main()
