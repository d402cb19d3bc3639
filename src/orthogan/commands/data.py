"""`orthogan data`: look at images before training on them; check and clear the cache of what was computed of them."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import tyro

from orthogan.commands.parsing import run_one
from orthogan.data import DataReport, Source, inspect_source, open_source
from orthogan.data.cache import PackInfo, TornPack, list_packs, open_pack, packs_folder, set_aside
from orthogan.data.partial import sweep
from orthogan.errors import UserError, printable, some
from orthogan.files import cache_folder, remove
from orthogan.metrics import kept
from orthogan.reports import amount, command, console, counting, errors, table, warn

_SHOWN = 20
"""Rows of a table; --json has them all."""
_NAMED = 3
"""Duplicates of one image that its row names."""
SMALL_PRESETS = {"small-32": 32, "small-64": 64}
"""For images of any kind on a modest machine; the larger one where the images have its pixels."""


def main(argv: list[str]) -> int:
    """Run `orthogan data ARGV`. Raises UserError for what the user can mend."""
    commands: dict[str, Callable[..., Any]] = {"inspect": inspect, "check": check, "clear": clear}
    return run_one(commands, argv, "data")


def inspect(
    src: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")],
    resolution: int | None = None,
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
    unconditional: Annotated[bool, tyro.conf.arg(name="data.unconditional", aliases=["--unconditional"])] = False,
) -> int:
    """Decode every image of a source and say what is there: classes, sizes, modes, duplicates, unreadable files, traps.

    Ends with 1 when training would refuse the source as it is.

    Args:
        src: What you would give to --data: a folder, a zip, arrays, a Hugging Face folder, parquet, or digits.
        resolution: Side in pixels that you want to train at; images that are smaller are then warned of.
        as_json: Print the whole report as JSON.
        unconditional: Ignore the labels that the data has, as training would under the same option.
    """
    source, refusal = _open(src, unconditional)
    with counting("decoding", on=errors) as progress:
        report = inspect_source(source, resolution, progress, None, refusal)
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        _show(report)
        _print("to train on it:")
        _print(f"  {train_command(report, resolution, unconditional)}")
    return 1 if report.unreadable or report.refusal else 0


def check() -> int:
    """Read the whole cache and compare it with its sums. What changed on disk is named, and made anew when wanted.

    Ends with 1 when anything did.
    """
    damaged = 0
    sweep(packs_folder())
    kept.sweep()
    for info in list_packs():
        try:
            torn = open_pack(info.path).checked.torn()
            reason = f"{len(torn)} images are not what was packed, the first is number {torn[0]}" if torn else ""
        except TornPack as error:
            reason = str(error)
        if reason:
            _print(f"torn: {info.path} ({info.source}): {reason}{_stays(set_aside(info.path))}")
        damaged += bool(reason)
    for file in kept.kept():
        if kept.read(file.path) is None:
            _print(f"torn: {file.path}: not what was written{_stays(remove(file.path))}")
            damaged += 1
    _print(f"{damaged} torn in {cache_folder()}" if damaged else f"everything in {cache_folder()} is whole")
    return 1 if damaged else 0


def clear(keep_days: float = 0.0, dry_run: bool = False) -> int:
    """List what the cache holds and remove it: decoded data sets, what stopped packings left, features for scores.

    All of it is computed again when needed. What is being written now stays, and a run that has a pack open goes on.
    Ends with 1 when something could not be removed, which it names.

    Args:
        keep_days: Keep what was used within so many days.
        dry_run: Only list it.
    """
    packs = [info for info in list_packs() if _unused_days(info.last_used) >= keep_days]
    features = [file for file in kept.kept() if _unused_days(file.last_used) >= keep_days]
    _show_packs(packs, features)
    everything: list[PackInfo | kept.Kept] = [*packs, *features]
    if not dry_run:
        kept.sweep()
    left = {} if dry_run else {one.path: why for one in everything if (why := remove(one.path))}
    packs = [info for info in packs if info.path not in left]
    features = [file for file in features if file.path not in left]
    total = sum(one.n_bytes for one in everything if one.path not in left)
    told = f"{len(packs)} packs and {len(features)} files of features, {amount(total, 'B')},"
    _print(f"{told} {'would be removed' if dry_run else 'removed'} from {cache_folder()}")
    for path, why in left.items():
        _print(f"not removed: {path}: {why}")
    return 1 if left else 0


def train_command(report: DataReport, resolution: int | None, unconditional: bool) -> str:
    """The line that trains a small preset on what was inspected, ready to be pasted."""
    preset = next((name for name, side in reversed(SMALL_PRESETS.items()) if side <= (resolution or 0)), "small-32")
    words = ["train", preset, "--data", report.source]
    words += ["--data.unconditional"] if unconditional or report.refusal else []
    words += ["--data.skip-bad"] if report.unreadable else []
    return command(*words)


def _open(src: str, unconditional: bool) -> tuple[Source, str]:
    """The source, and why training would refuse it with its classes, if it would."""
    try:
        return open_source(src, unconditional), ""
    except UserError as refusal:
        if unconditional:
            raise
        # If it is not the classes that are wrong, this says again what is.
        return open_source(src, True), str(refusal)


def _stays(why: str) -> str:
    return f"; it cannot be set aside ({why}): set ORTHOGAN_CACHE to a folder of your own" if why else ""


def _unused_days(last_used: float) -> float:
    return (time.time() - last_used) / 86400


def _show(report: DataReport) -> None:
    kind = f"{len(report.classes)} classes" if report.classes else "no classes"
    _print(f"{report.source}: {report.images} images, {kind}")
    _show_rows(["class", "images"], [*report.classes.items()])
    _show_rows(["size", "images"], [*report.sizes.items()])
    _show_rows(["mode", "images"], [*report.modes.items()])
    _show_rows(["unreadable", "why"], report.unreadable)
    _show_rows(["the same image as", "is also"], [[g[0], some(g[1:], _NAMED)] for g in report.duplicates])
    if report.refusal:
        _print(f"training refuses this: {report.refusal}", "red")
    for warning in report.warnings:
        warn(printable(warning))
    if not report.warnings and not report.refusal:
        _print("nothing to warn of", "green")


def _print(text: str, style: str | None = None) -> None:
    console.print(printable(text), style=style)


def _show_rows(titles: list[str], rows: Sequence[Sequence[Any]]) -> None:
    if not rows:
        return
    table("", titles, rows[:_SHOWN])
    _print(f"... and {len(rows) - _SHOWN} more; --json lists all" if len(rows) > _SHOWN else "")


def _show_packs(packs: list[PackInfo], features: list[kept.Kept]) -> None:
    rows = [[info.source, info.images, str(info.resolution), *_size_and_use(info)] for info in packs]
    rows += [["features for scores", "", "", *_size_and_use(file)] for file in features]
    _show_rows(["source", "images", "resolution", "size", "last used"], rows)


def _size_and_use(one: PackInfo | kept.Kept) -> tuple[str, str]:
    return amount(one.n_bytes, "B"), time.strftime("%Y-%m-%d", time.localtime(one.last_used))
