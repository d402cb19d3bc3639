"""`orthogan study NAME --data SOURCE --budget MINUTES`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from orthogan import plots, runs, runtime
from orthogan.commands.options import expand, parse
from orthogan.errors import UserError, unknown
from orthogan.metrics.evaluate import Scorer
from orthogan.reports import StudyView, console, counting, table
from orthogan.studies import STUDIES, summary
from orthogan.studies import plan as planning
from orthogan.studies.cells import Cell, Study, StudyOptions
from orthogan.studies.plan import Planned, run_folder
from orthogan.studies.pool import Pool, measuring, places
from orthogan.studies.work import ERROR, Place
from orthogan.training.trainer import processes

USAGE = "usage: orthogan study {} --data SOURCE --budget MINUTES [options]\n"


def usage() -> str:
    lines = [f"  {name:<12} {study.title}" for name, study in STUDIES.items()]
    return "\n".join(
        [
            USAGE.format("NAME"),
            "Trains every cell of a paper's comparison on your images with equal budgets, scores them alike, and",
            "writes tables and figures. The same command goes on with a study that was stopped.",
            "",
            *lines,
            "",
            "The options of a study:  orthogan study NAME --help",
        ]
    )


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        console.print(usage(), markup=False)
        return 0
    name, *words = argv
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    study = STUDIES[name]
    options: StudyOptions = parse(study.options, expand(words), f"study {name}", f"Study: {study.title}.")
    folder = options.out or Path("studies") / name
    if processes()[1] > 1:
        raise UserError("a study starts its own processes: run it without torchrun or srun, on one machine")
    plots.check_installed()
    runs.check_writable(folder)
    device = runtime.pick_device(options.device)
    where = places(device, options.jobs)
    planned = make_plan(name, study, options, folder, where)
    stopped_by = train(planned, folder, where)
    if stopped_by:
        left = sum(not summary.is_done(folder, run) for run in planned)
        console.print(f"stopped with {left} of {len(planned)} runs to go; the same command goes on", markup=False)
        return 128 + stopped_by
    return report(study, folder, planned)


def make_plan(name: str, study: Study, options: StudyOptions, folder: Path, where: list[Place]) -> list[Planned]:
    """Take up the plan of this folder, or measure and write one."""
    if (folder / planning.PLAN).exists():
        return planning.read_plan(folder, name, options)
    device = runtime.pick_device(options.device)
    cells = prepare(study, options)
    speeds: planning.Speeds = {}
    if options.budget is None:
        units = planning.given_units(cells, options)
    else:
        console.print("measuring the speed of each kind of run", markup=False)
        with measuring(where) as workers:
            speeds, scoring = planning.measure(cells, options, device, workers)
        units = planning.fit_budget(cells, options, speeds, scoring, len(where))
    cells = [planning.lengthen(cell, options, units) for cell in cells]
    return planning.write_plan(folder, name, options, cells, speeds)


def prepare(study: Study, options: StudyOptions) -> list[Cell]:
    """Look at the data, have the real features in the cache, and fill in what depends on data and machine."""
    cells, device = study.cells(options), runtime.pick_device(options.device)
    with counting("reading images") as progress:
        cache = runs.load_data(cells[0].config, progress)
    if study.needs_classes and not cache.n_classes:
        raise UserError(
            f"data.source={options.data.source!r}: this study needs classes, and the data has none; "
            "give images in a folder for each class, or leave --data.unconditional out"
        )
    console.print(f"features of {len(cache.images)} real images", markup=False)
    Scorer(options.features, cache.images, cache.fingerprint, device)
    return [replace(cell, config=runs.resolve(cell.config, cell.preset, cache.n_classes, device)) for cell in cells]


def train(planned: list[Planned], folder: Path, where: list[Place]) -> int:
    """Run what has no result yet, the longest first; the signal that stopped it, or 0."""
    left = [run for run in planned if not summary.is_done(folder, run)]
    if not left:
        return 0
    left.sort(key=lambda run: -run.work)
    view = StudyView({run.name: (run.images, run.work) for run in left}, len(planned), len(where))
    failed: list[str] = []

    def ended(name: str, status: int) -> None:
        view.ended(name, status == 0)
        if status and not pool.stopped_by:
            failed.append(name)

    pool = Pool(where, view.stepped, ended)
    with view:
        pool.run([run_folder(folder, run.name) for run in left])
    if failed:
        raise UserError(failure(folder, failed))
    return pool.stopped_by or 0


def failure(folder: Path, failed: list[str]) -> str:
    place = run_folder(folder, failed[0]) / ERROR
    if place.exists():
        why = f"{place.read_text().strip().splitlines()[-1]} ({place} has the whole of it)"
    else:
        why = "its process was killed; if memory was short, --jobs 1 needs the least"
    names = ", ".join(failed[:5]) + (", ..." if len(failed) > 5 else "")
    return (
        f"{len(failed)} of the runs failed ({names}). The first: {why}. The results of the others stand, and the same "
        "command tries these again"
    )


def report(study: Study, folder: Path, planned: list[Planned]) -> int:
    """Tables and figures of what is done."""
    found = summary.collect(folder, planned)
    images = sorted({run.images for run in planned})
    lengths = f"{images[0]:,}" if len(images) == 1 else f"{images[0]:,} to {images[-1]:,}"
    title = f"{study.title}: {lengths} images a run"
    tables: dict[str, Any] = {
        "kernel distance (lower is better)" if study.columns else "scores": summary.main_table(found),
        "stable rank of D's weights / full rank, mean over layers": summary.spectra_table(found),
        "training time": summary.times_table(found),
    }
    for heading, (heads, rows) in tables.items():
        table(heading, heads, rows)
        console.print()
    text = f"# {title}\n" + "".join(
        f"\n{heading}\n\n{summary.markdown(heads, rows)}" for heading, (heads, rows) in tables.items()
    )
    (folder / "table.md").write_text(text, encoding="utf-8")
    if study.columns:
        plots.scores(found, title, study.columns, folder / "scores.png")
    else:
        plots.bars(found, title, folder / "scores.png")
    plots.spectra(found, "squared singular values of D's layers, largest = 1", folder / "spectra.png")
    plots.times(found, study.title, folder / "times.png")
    console.print(
        f"the study is in {folder}\n"
        f"  {folder}/table.md     tables\n"
        f"  {folder}/scores.png   scores, a dot a seed\n"
        f"  {folder}/spectra.png  singular values of D\n"
        f"  {folder}/times.png    training time\n"
        f"  {folder}/runs/        every run, with samples in sheets/ and its scores' protocol in scores.jsonl",
        markup=False,
    )
    return 0
