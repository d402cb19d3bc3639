"""`orthogan data`: look at images before training on them, and clear the cache of decoded ones."""

import json
import time
from collections.abc import Callable
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from orthogan.data import DataReport, inspect_source, open_source
from orthogan.data.cache import PackInfo, list_packs, packs_folder, remove_packs

_SHOWN = 20
"""Rows of a table; --json has them all."""


def main(argv: list[str]) -> int:
    """Run `orthogan data ARGV`. Raises UserError for what the user can mend."""
    commands: dict[str, Callable[..., Any]] = {"inspect": inspect, "clear": clear}
    return int(tyro.extras.subcommand_cli_from_dict(commands, prog="orthogan data", args=argv))


def inspect(
    src: Annotated[str, tyro.conf.Positional],
    resolution: int | None = None,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
    unconditional: bool = False,
) -> int:
    """Decode every image of a source and say what is there: classes, sizes, modes, duplicates, unreadable files, traps.

    Ends with 1 when images are unreadable, since training would refuse them.

    Args:
        src: What you would give to --data: a folder, a zip, arrays, a Hugging Face folder, parquet, or digits.
        resolution: Side in pixels that you want to train at; images that are smaller are then warned of.
        as_json: Print the whole report as JSON.
        unconditional: Ignore the labels that the data has.
    """
    source = open_source(src, unconditional)
    with _progress_bar() as bar:
        task = bar.add_task("decoding", total=len(source))
        report = inspect_source(source, resolution, lambda done, total: bar.update(task, completed=done))
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        _show(report, Console())
    return 1 if report.unreadable else 0


def clear(keep_days: float = 0.0, dry_run: bool = False) -> int:
    """List the decoded data sets in the cache and remove them; they are decoded again when needed.

    Args:
        keep_days: Keep those used within so many days.
        dry_run: Only list them.
    """
    packs = [info for info in list_packs() if time.time() - info.last_used >= keep_days * 86400]
    console = Console()
    _show_packs(packs, console)
    total = sum(info.n_bytes for info in packs)
    if dry_run:
        console.print(f"{len(packs)} packs, {_size(total)}, would be removed from {packs_folder()}")
        return 0
    remove_packs(packs)
    console.print(f"{len(packs)} packs, {_size(total)}, removed from {packs_folder()}")
    return 0


def _progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def _show(report: DataReport, console: Console) -> None:
    kind = f"{len(report.classes)} classes" if report.classes else "no classes"
    console.print(f"{report.source}: {report.images} images, {kind}", highlight=False, markup=False, soft_wrap=True)
    _show_counts(console, "class", report.classes)
    _show_counts(console, "size", report.sizes)
    _show_counts(console, "mode", report.modes)
    _show_rows(console, ("unreadable", "why"), [[name, why] for name, why in report.unreadable])
    _show_rows(console, ("the same image as", "is also"), [[g[0], ", ".join(g[1:])] for g in report.duplicates])
    for warning in report.warnings:
        console.print(f"warning: {warning}", style="yellow", highlight=False, markup=False, soft_wrap=True)
    if not report.warnings:
        console.print("nothing to warn of", style="green")


def _show_counts(console: Console, what: str, counts: dict[str, int]) -> None:
    _show_rows(console, (what, "images"), [[name, str(n)] for name, n in counts.items()])


def _show_rows(console: Console, titles: tuple[str, ...], rows: list[list[str]]) -> None:
    if not rows:
        return
    table = Table(*titles)
    for row in rows[:_SHOWN]:
        table.add_row(*(_plain(cell) for cell in row))
    console.print(table)
    if len(rows) > _SHOWN:
        console.print(f"... and {len(rows) - _SHOWN} more; --json lists all")


def _plain(text: str) -> str:
    return text.replace("[", r"\[")  # rich would read [...] as a style


def _show_packs(packs: list[PackInfo], console: Console) -> None:
    rows = [
        [info.source, str(info.images), str(info.resolution), _size(info.n_bytes), _date(info.last_used)]
        for info in packs
    ]
    _show_rows(console, ("source", "images", "resolution", "size", "last used"), rows)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(seconds))


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 2**20:.1f} MiB" if n_bytes < 2**30 else f"{n_bytes / 2**30:.1f} GiB"
