"""`orthogan study NAME --data SOURCE --budget MINUTES`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from orthogan import judging, plots, presets, runs
from orthogan.commands.options import expand, parse, separate
from orthogan.config import RunConfig
from orthogan.errors import UserError, unknown
from orthogan.judging import reading, results
from orthogan.metrics.evaluate import Scorer
from orthogan.metrics.titles import title as title_of
from orthogan.page import render, repeat
from orthogan.reports import StudyView, command, console, counting, table
from orthogan.settings import require
from orthogan.studies import STUDIES, summary
from orthogan.studies import plan as planning
from orthogan.studies.cells import Cell, Study, StudyOptions
from orthogan.studies.plan import Planned, run_folder
from orthogan.studies.pool import Pool, measuring, places
from orthogan.studies.work import ERROR, Place
from orthogan.training.duties import scored_images
from orthogan.training.launch import processes

START = "start.json"
"""Score of the checkpoint that the branches of a study begin from."""
FIGURES = {
    "scores.png": "scores, a dot a seed",
    "spectra.png": "singular values of the layers that all rows' D have",
    "times.png": "training time",
    "curves.png": "scores on the way",
    "traces.png": "losses, singular values and scores over images",
    "truncation.png": "Fréchet distance against classifier score over thresholds, a line a run",
}


def usage() -> str:
    lines = [f"  {name:<14} {study.title}" for name, study in STUDIES.items()]
    return "\n".join(
        [
            "usage: orthogan study NAME --data SOURCE --budget MINUTES [options]",
            "",
            "Trains every cell of a paper's comparison on your images with equal budgets, scores them alike, and",
            "writes tables and figures. The same command goes on with a study that was stopped.",
            "",
            *lines,
            "",
            "interventions takes --run RUN in the place of --data SOURCE.",
            "The options of a study:  orthogan study NAME --help",
        ]
    )


def main(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        console.print(usage())
        return 0
    name, *words = argv
    if name not in STUDIES:
        raise unknown("study", name, STUDIES)
    study = STUDIES[name]
    words = expand(separate(words), ["data.source"])
    told = f"Study: {study.title}. --data is short for --data.source."
    options: StudyOptions = parse(study.options, words, f"study {name}", told)
    folder = options.out or Path("studies") / name
    if processes()[1] > 1:
        raise UserError("a study starts its own processes: run it without torchrun or srun, on one machine")
    plots.check_installed()
    render.check_installed()
    runs.check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "lock", timeout=0):
            return run(name, study, options, folder)
    except Timeout as error:
        raise UserError(f"out={str(folder)!r}: another process works on this study; wait, or choose another") from error


def run(name: str, study: Study, options: StudyOptions, folder: Path) -> int:
    """Plan or take up, train what is left, and report what there is, whole or not."""
    cells = study.cells(options)
    where = places(options.device, options.jobs, len(cells))
    cells, fingerprint = prepare(study, cells, options, torch.device(where[0].device))
    asked = planning.what_decides(name, options, torch.device(where[0].device), fingerprint)
    planned = make_plan(asked, cells, options, folder, where)
    if study.branches:
        score_start(cells[0], options, folder)
    stopped_by, failed = train(planned, folder, where)
    left = sum(not summary.is_done(folder, run) for run in planned)
    report(name, study, options, folder, planned, look(study, options, folder, planned))
    if failed:
        console.print(failure(folder, failed))
    if left:
        told = f"{left} of {len(planned)} runs are still to be done; the same command goes on"
        console.print(f"stopped: {told}" if stopped_by else told)
    if stopped_by:
        return 128 + stopped_by
    return 2 if failed else 0


def prepare(study: Study, cells: list[Cell], options: StudyOptions, device: torch.device) -> tuple[list[Cell], str]:
    """The cells with what depends on data and machine, and the data's fingerprint; real features are then cached."""
    with counting("reading images") as progress:
        cache = runs.load_data(cells[0].config, progress)
    rule = "this study needs classes, and the data has none; give images in a folder for each class"
    require(bool(cache.n_classes) or not study.needs_classes, "data.source", options.data.source, rule)
    scored = scored_images(cells[0].config, options.features, cache)
    reading.train_features(options.features, scored, device, counting)
    console.print(f"features of {len(scored)} real images")
    Scorer(options.features, scored.checked, scored.fingerprint, device, labels=scored.labels)
    # A branch has been resolved when its parent was begun.
    found = [cell if cell.begin else replace(cell, config=_resolved(cell, cache.n_classes, device)) for cell in cells]
    return found, cache.fingerprint


def score_start(cell: Cell, options: StudyOptions, folder: Path) -> None:
    """Score the checkpoint that all branches begin from, as they will be scored."""
    assert cell.begin is not None
    if not (folder / START).exists():
        request = judging.Request(
            source=str(cell.begin.path),
            features=options.features,
            samples=options.samples,
            seed=cell.config.seed,
            device=options.device,
        )
        results.write(folder / START, judging.score(request, counting))


def _resolved(cell: Cell, n_classes: int, device: torch.device) -> RunConfig:
    return runs.resolve(cell.config, presets.get(cell.preset).n_classes, n_classes, device)


def make_plan(
    asked: planning.Asked, cells: list[Cell], options: StudyOptions, folder: Path, where: list[Place]
) -> list[Planned]:
    """Take up the plan of this folder, or measure and write one."""
    if (folder / planning.PLAN).exists():
        return planning.read_plan(folder, asked)
    speeds: planning.Speeds = {}
    if options.budget is None:
        units = planning.given_units(cells, options)
    else:
        console.print("measuring the speed of each kind of run")
        with measuring(where) as workers:
            speeds, scoring = planning.measure(cells, options, workers, len(where))
        units = planning.fit_budget(cells, options, speeds, scoring, len(where))
    cells = [planning.lengthen(cell, options, units) for cell in cells]
    return planning.write_plan(folder, asked, cells, speeds)


def train(planned: list[Planned], folder: Path, where: list[Place]) -> tuple[int, list[str]]:
    """Run what has no result yet, the longest first; the signal that stopped it, or 0, and the runs that failed."""
    left = sorted((run for run in planned if not summary.is_done(folder, run)), key=lambda run: -run.work)
    if not left:
        return 0, []
    view = StudyView({run.name: (run.images, run.work) for run in left}, len(planned), len(where))
    failed: list[str] = []

    def ended(name: str, status: int) -> None:
        view.ended(name, status == 0)
        if status and (not pool.stop.by or (run_folder(folder, name) / ERROR).exists()):
            failed.append(name)

    pool = Pool(where, view.stepped, ended)
    with view:
        pool.run([run_folder(folder, run.name) for run in left])
    return pool.stop.by or 0, failed


def failure(folder: Path, failed: list[str]) -> str:
    """What became of the runs that failed."""
    lines = [f"{len(failed)} runs failed, and are tried again by the same command:"]
    for name in failed[:5]:
        place = run_folder(folder, name) / ERROR
        why = place.read_text().splitlines()[0] if place.exists() else "its process was killed; try --jobs 1"
        lines.append(f"  {name}: {why}")
    return "\n".join(lines + ([f"  and {len(failed) - 5} more"] if len(failed) > 5 else []))


Looked = dict[str, dict[str, dict[str, Any]]]
"""By row and name of the run, what the study has looked at in it."""


def look(study: Study, options: StudyOptions, folder: Path, planned: list[Planned]) -> Looked:
    """What the study wants to know of each run that has ended and has not diverged, by rows in their order."""
    if study.look is None:
        return {}
    found: Looked = {run.row: {} for run in planned}
    ended = [run for run in planned if summary.is_whole(folder, run)]
    with counting("looking at runs") as progress:
        for i, run in enumerate(ended):
            found[run.row][run.name] = study.look(run_folder(folder, run.name), options)
            progress(i + 1, len(ended))
    return {row: of_row for row, of_row in found.items() if of_row}


def report(
    name: str, study: Study, options: StudyOptions, folder: Path, planned: list[Planned], looked: Looked
) -> None:
    """Tables and figures of what is done."""
    found = summary.collect(folder, planned)
    if not found:
        return
    title, conditions = f"{study.title}", summary.conditions(options, planned, found)
    tables = summary.tables(found, options.features, study.reference)
    if study.branches:
        start = json.loads((folder / START).read_text())["scores"][summary.OUTCOME]
        times = f"{summary.COLLAPSED_TIMES:g} times that of the checkpoint"
        heading = f"what became of them; collapsed: a last {title_of(summary.OUTCOME, options.features)} over {times}"
        tables[heading] = summary.outcomes(found, start)
    if study.tables and looked:
        tables |= study.tables({row: list(runs_.values()) for row, runs_ in looked.items()})
    for heading, (heads, rows) in tables.items():
        table(heading, heads, rows)
        console.print()
    text = "".join(f"\n{heading}\n\n{summary.markdown(*content)}" for heading, content in tables.items())
    (folder / "table.md").write_text(f"# {title}\n\n{conditions}\n{text}", encoding="utf-8")
    figures: dict[str, Any] = {
        "scores.png": plots.scores(found, title, study.columns) if study.columns else plots.bars(found, title),
        "spectra.png": plots.spectra(found, "squared singular values of D's layers, largest = 1"),
        "times.png": plots.times(found, title),
    }
    if study.traces:
        figures["traces.png"] = plots.traces(summary.traces(folder, planned), title)
    if options.scores > 1:
        figures["curves.png"] = plots.curves(found, title)
    if looked:
        curves = {row: [one["points"] for one in runs_.values()] for row, runs_ in looked.items()}
        figures["truncation.png"] = plots.truncation(curves, options.features, title)
    drawn = {file: figure for file, figure in figures.items() if figure is not None}
    for file, figure in drawn.items():
        plots.save(figure, folder / file)
    page = folder / "report.html"
    render.write(page, as_page(name, options, folder, planned, (title, conditions, tables), list(drawn)))
    told = [f"  {folder}/{file:<14} {FIGURES[file]}\n" for file in drawn]
    console.print(
        f"{conditions}\n\nthe study is in {folder}\n"
        f"  {folder}/report.html    all of it on one page\n"
        f"  {folder}/table.md       tables\n{''.join(told)}"
        f"  {folder}/runs/          every run, with samples in sheets/ and its scores' protocol in scores.jsonl",
    )


def as_page(
    name: str,
    options: StudyOptions,
    folder: Path,
    planned: list[Planned],
    told: tuple[str, str, dict[str, summary.Table]],
    figures: list[str],
) -> str:
    """Tables, figures, and the last sheet of the first run of each cell, as HTML."""
    sheets: dict[str, Path] = {}
    for run in planned:
        drawn = sorted((run_folder(folder, run.name) / "sheets").glob("*.png"))
        if drawn:
            sheets.setdefault(" ".join(filter(None, (run.row, run.column))), drawn[-1])
    title, conditions, tables = told
    pictures = {FIGURES[file]: folder / file for file in figures}
    again = command("study", name, *repeat.changed_words(options))
    return render.of_study(title, conditions, tables, pictures, sheets, again)
