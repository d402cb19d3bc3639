"""From the facts of runs to the text of a page."""

import dataclasses
import errno
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch

import orthogan
from orthogan import model, optional, presets
from orthogan.classes import label
from orthogan.data import ImageCache, holding
from orthogan.errors import UserError
from orthogan.files import write_whole, writing
from orthogan.metrics.titles import TITLES, short
from orthogan.page import charts, embed, following, repeat, troubles, verdict
from orthogan.page import short as in_short
from orthogan.page.embed import Picture
from orthogan.page.numbers import number
from orthogan.page.read import Facts
from orthogan.page.tables import about, protocol_of, row_of, score_names
from orthogan.pictures import grid, labelled
from orthogan.sampling import class_sheet, sheet_layout
from orthogan.settings import differences, flatten

EXTRA, PURPOSE = "report", "an HTML report"


def check_installed() -> None:
    """Say before any work that the page needs packages."""
    optional.need("jinja2", EXTRA, PURPOSE)
    optional.need("plotly.offline", EXTRA, PURPOSE)


MARK = b'<meta name="generator" content="orthogan'
"""At the beginning of every page."""


def is_page(path: Path) -> bool:
    """Whether a file is such a page."""
    with suppress(OSError), path.open("rb") as file:
        return MARK in file.read(4096)
    return False


def write(path: Path, text: str) -> None:
    """The page as a file that a browser finds whole or not at all, in a folder that is there. Raises `CannotWrite`."""
    with writing(path):
        if not path.parent.is_dir():  # `write_whole` would make the folder of a run anew that was removed meanwhile
            raise FileNotFoundError(errno.ENOENT, f"{path.parent} is not there")
        write_whole(path, text)


@dataclasses.dataclass
class Data:
    """The real images of a run, as far as they are here."""

    rows: list[tuple[str, Any]]
    counts: list[tuple[str, int]]
    examples: Picture | None
    complaint: str = ""


UNPACKED = (
    "they are not in the cache, after `orthogan data clear` or because they have changed, and a page decodes none; "
    "`orthogan resume` and `orthogan evaluate` do"
)


def data_of(facts: Facts) -> Data:
    """What the run learnt from: its number of images, classes, and examples in the layout of the sheets.

    Nothing is decoded for it, which may take hours.
    """
    config = facts.config
    rows: list[tuple[str, Any]] = [("source", config.data.source), ("resolution", f"{config.resolution} pixels a side")]
    try:
        cache = holding.load_if_packed(config.data, config.resolution)
        if cache is None:
            return Data(rows, [], None, f"the real images are not shown: {UNPACKED}")
        shown = examples(cache, config.n_classes)
    except (UserError, OSError) as error:
        return Data(rows, [], None, f"the real images are not shown: {error}")
    kept = f"; {config.data.hold_out:.0%} of all were kept back" if config.data.hold_out else ""
    rows += [("images", f"{len(cache):,}{kept}"), ("classes", cache.n_classes or "none")]
    rows += [("fingerprint", cache.fingerprint)]
    of_class = [] if cache.labels is None else np.bincount(cache.labels, minlength=cache.n_classes).tolist()
    counts = list(zip(cache.class_names, of_class, strict=True))
    changed = facts.extra.get("data", cache.fingerprint) != cache.fingerprint
    return Data(rows, counts, shown, "the data have changed since the run learnt from them" if changed else "")


def examples(cache: ImageCache, n_classes: int) -> Picture | None:
    """Real images in rows as those of a class sheet: ten of each class that has any, evenly through its images."""
    classes, count = sheet_layout(n_classes)
    chosen, names = evenly(np.arange(len(cache)), count), []
    if classes is not None and cache.labels is not None:
        of_class = {kind: (cache.labels == kind).nonzero()[0] for kind in dict.fromkeys(classes)}
        there = {kind: np.resize(evenly(rows, 10), 10) for kind, rows in of_class.items() if len(rows)}
        chosen, names = np.concatenate([[], *there.values()]).astype(int), [label(k, cache.class_names) for k in there]
    if not len(chosen):
        return None
    images = torch.from_numpy(cache.checked[chosen])
    return embed.picture(labelled(grid(images, 10), names), "real images, in the layout of the samples", "real images")


def evenly(rows: np.ndarray, count: int) -> np.ndarray:
    """So many of the rows, or all, at equal distances: neighbours in a folder are often alike."""
    return rows[np.arange(min(count, len(rows))) * len(rows) // max(1, min(count, len(rows)))]


def samples(facts: Facts, seed: int = 0, device: str | None = None) -> Picture | None:
    """The class sheet of the newest checkpoint at a seed: a kept one if there is, else drawn."""
    told = f"samples of {facts.name} after {facts.saved_images or 0:,} images"
    if facts.saved_images is None:
        return None
    kept = dict(facts.sheets).get(facts.saved_images) if facts.config.seed == seed else None
    if kept and (found := embed.of_file(kept, told, f"{facts.saved_images:,} images")):
        return found
    try:
        loaded = model.load(facts.folder, device)
        loaded.stand()
    except UserError as error:
        facts.complaints.append(str(error))
        return None
    sheet = class_sheet(loaded.sampler, seed, names=loaded.class_names)
    return embed.picture(sheet, told, f"{loaded.header.images:,} images")


def settings_rows(facts: Facts) -> tuple[list[tuple[str, Any, Any]], list[tuple[str, Any]]]:
    """What differs from the preset (path, there, here), and every setting."""
    every = list(flatten(facts.config).items())
    if facts.preset not in presets.PRESETS:
        return [], every
    return differences(presets.get(facts.preset), facts.config), every


def of_run(facts: Facts, device: str | None = None, reload_seconds: int = 0) -> str:
    """The page of one run. With `reload_seconds` it loads itself anew, as long as the run has not ended."""
    live = bool(reload_seconds) and not facts.ended
    data = data_of(facts)
    sheets = embed.sheets(facts.sheets, facts.name, facts.complaints)
    if not live and facts.saved_images not in dict(sheets):
        drawn = samples(facts, facts.config.seed, device)
        sheets = sorted([*sheets, (facts.saved_images or 0, drawn)], key=itemgetter(0)) if drawn else sheets
    last = verdict.newest(facts.scores)
    curves = [_curve(file, values, facts) for file, values in facts.truncations[-1:]]
    groups = {
        "training": charts.training(facts),
        "spectra": charts.spectra(facts.layers),
        "scores": charts.scores({facts.name: facts}),
        "truncation": curves[0]["charts"] if curves else [],
    }
    changed, every = settings_rows(facts)
    return fill(
        "run.html.j2",
        groups,
        facts=facts,
        reload_seconds=reload_seconds if live else 0,
        verdict=verdict.of_run(facts),
        measures=verdict.measures(last) if last else [],
        firm=following.FIRM,
        steps=following.steps(facts),
        sentences=in_short.sentences(facts),
        data=data,
        sheets=[one for _, one in sheets],
        slider=slider([one for _, one in sheets]),
        last=last,
        last_rows=[] if last is None else [row_of(last, name) for name in score_names([last])],
        protocol=[] if last is None else list(flatten(last.protocol).items()),
        truncation=curves[0] if curves else None,
        changed=changed,
        settings=every,
        commands=repeat.commands(facts),
        versions=facts.versions,
        alarms=troubles.alarms(facts),
        alarm_heads=troubles.HEADS,
        rollbacks=troubles.rollbacks(facts.status),
        rollback_heads=troubles.ROLLED_BACK,
        memorization=[(answer, _picture_of(facts, answer.file)) for answer in reversed(facts.memorization)],
    )


def slider(sheets: Sequence[Picture]) -> list[dict[str, Any]]:
    """For the script of the page; the address of the last one stands in its figure already."""
    return [dataclasses.asdict(one) | ({"address": ""} if one is sheets[-1] else {}) for one in sheets]


def _curve(file: str, values: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """A truncation curve: its table, figures, sheet and verdict."""
    network = str(values.get("protocol", {}).get("features", {}).get("network", "?"))
    points = values["points"]
    names = [name for name in TITLES if all(name in point["scores"] for point in points)]
    sheet = facts.folder / f"{Path(file).stem}-sheet.png"
    told = "samples over truncation thresholds, a row a threshold"
    return {
        "file": file,
        "network": network,
        "heads": [short(name, network) for name in names],
        "rows": [
            (
                "none" if point.get("truncation") is None else f"{point['truncation']:g}",
                [number(point["scores"][name]) for name in names],
                point.get("saturated_share"),
            )
            for point in points
        ],
        "charts": charts.truncation(points, network),
        "verdict": {"amenable": False, "reasons": [], "remedy": None} | values["verdict"],
        "sheet": embed.of_file(sheet, told, "a row a threshold, the same latents in each") if sheet.exists() else None,
    }


def _picture_of(facts: Facts, file: str) -> Picture | None:
    """The sheet beside a result of `orthogan memorization`."""
    told = "the generated images that are closest to training images, a row each, beside their nearest ones"
    path = (facts.folder / file).with_suffix(".png")
    found = embed.of_file(path, told, f"{told}; on the left how close: below 1 is closer than that one is to any other")
    if found is None and path.exists():
        facts.complaints.append(f"{path.name}: cannot be read")
    return found


def of_study(
    heading: str,
    conditions: str,
    tables: Mapping[str, Any],
    figures: Mapping[str, Path],
    sheets: Mapping[str, Path],
    command: str,
) -> str:
    """The page of a study: its tables, its figures, and the last sheet of one run of each cell."""
    pictures = [(told, embed.of_file(path, told)) for told, path in figures.items()]
    drawn = [(name, embed.of_file(path, f"samples of {name}", widest=640)) for name, path in sheets.items()]
    return fill(
        "study.html.j2",
        {},
        reload_seconds=0,
        heading=heading,
        conditions=conditions,
        tables=tables,
        figures=pictures,
        pictures=drawn,
        command=command,
    )


def fill(template: str, groups: Mapping[str, list[charts.Chart]], **values: Any) -> str:
    """The text of the page. Everything that is put in is escaped, and Plotly's script is brought along if needed."""
    jinja2 = optional.need("jinja2", EXTRA, PURPOSE)
    loader = jinja2.PackageLoader("orthogan.page", "templates")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "shown": shown,
        "about": about,
        "protocol_of": protocol_of,
        "capitalize_first": capitalized,
    }
    every = [chart for group in groups.values() for chart in group]
    plotly = embed.packed(optional.need("plotly.offline", EXTRA, PURPOSE).get_plotlyjs()) if every else ""
    raw = environment.loader.get_source
    text: str = environment.get_template(template).render(
        groups=groups,
        charts={chart["id"]: {"data": chart["data"], "layout": chart["layout"]} for chart in every},
        plotly=plotly,
        style=raw(environment, "style.css")[0],
        script=raw(environment, "page.js")[0],
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=orthogan.__version__,
        **values,
    )
    # JSON may hold halves of characters, which no file does.
    return text.encode("utf-8", "replace").decode("utf-8")


def capitalized(text: str) -> str:
    """With a large first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


def shown(value: object) -> str:
    """A setting as a reader writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(shown(one) for one in value) or "–"
    return str(value) or "–"
