"""From the facts of runs to the text of a page."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import orthogan
from orthogan import model, optional, presets
from orthogan.classes import label
from orthogan.data import ImageCache, pack
from orthogan.errors import UserError
from orthogan.files import write_whole
from orthogan.metrics.protocol import comparable
from orthogan.metrics.titles import TITLES, title
from orthogan.page import charts, embed, repeat, short, troubles
from orthogan.page.embed import Picture
from orthogan.page.read import Facts, Score
from orthogan.pictures import grid, labelled
from orthogan.sampling import class_sheet, sheet_layout
from orthogan.settings import differences, flatten

EXTRA, PURPOSE = "report", "an HTML report"
MOST_RUNS = 12
"""Side by side."""


def check_installed() -> None:
    """Say before any work that the page needs packages."""
    optional.need("jinja2", EXTRA, PURPOSE)
    optional.need("plotly.offline", EXTRA, PURPOSE)


def write(path: Path, text: str) -> None:
    """The page as a file that a browser finds whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)


@dataclasses.dataclass
class Data:
    """The real images of a run, as far as they are here."""

    rows: list[tuple[str, Any]]
    counts: list[tuple[str, int]]
    examples: Picture | None
    complaint: str = ""


def data_of(facts: Facts) -> Data:
    """What the run learnt from: its number of images, classes, and examples in the layout of the sheets."""
    config = facts.config
    rows: list[tuple[str, Any]] = [("source", config.data.source), ("resolution", f"{config.resolution} pixels a side")]
    try:
        cache = pack(dataclasses.replace(config.data, random_crop=1.0), config.resolution)
    except (UserError, OSError) as error:
        return Data(rows, [], None, f"the real images are not shown: {error}")
    rows += [("images", f"{len(cache):,}"), ("classes", cache.n_classes or "none"), ("fingerprint", cache.fingerprint)]
    labels = [] if cache.labels is None else cache.labels.tolist()
    counts = [(name, labels.count(index)) for index, name in enumerate(cache.class_names)]
    trained_on = facts.extra.get("fingerprint")
    changed = trained_on is not None and config.data.random_crop == 1.0 and trained_on != cache.fingerprint
    told = "the data have changed since the run learnt from them" if changed else ""
    return Data(rows, counts, examples(cache, facts.config.n_classes), told)


def examples(cache: ImageCache, n_classes: int) -> Picture:
    """Real images in rows as those of a class sheet: the first ten of each class."""
    classes, count = sheet_layout(n_classes)
    if classes is None or cache.labels is None:
        chosen, names = list(range(min(count, len(cache)))), []
    else:
        kinds = list(dict.fromkeys(classes))
        chosen = [i for kind in kinds for i in _ten_of(cache, kind)]
        names = [label(kind, cache.class_names) for kind in kinds]
    images = torch.stack([torch.as_tensor(cache.images[i].copy()) for i in chosen])
    return embed.picture(labelled(grid(images, 10), names), "real images, in the layout of the samples", "real images")


def _ten_of(cache: ImageCache, kind: int) -> list[int]:
    assert cache.labels is not None
    found = (cache.labels == kind).nonzero()[0].tolist()
    return (found * 10)[:10]


def samples(facts: Facts, seed: int = 0, device: str | None = None) -> Picture | None:
    """The class sheet of the newest checkpoint at a seed: a kept one if there is, else drawn."""
    told = f"samples of {facts.name} after {facts.saved_images or 0:,} images"
    if facts.sheets and facts.config.seed == seed and facts.sheets[-1][0] == facts.saved_images:
        return embed.of_file(facts.sheets[-1][1], told, f"{facts.saved_images:,} images")
    if facts.saved_images is None:
        return None
    try:
        loaded = model.load(facts.folder, device)
        loaded.stand()
    except UserError as error:
        facts.complaints.append(str(error))
        return None
    sheet = class_sheet(loaded.sampler, seed, names=loaded.class_names)
    return embed.picture(sheet, told, f"{loaded.header.images:,} images")


def number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def score_row(score: Score, name: str) -> str:
    """A value with its interval, or with its deviation over subsets."""
    if name not in score.values:
        return "–"
    told = number(score.values[name])
    if name in score.intervals:
        low, high = score.intervals[name]
        return f"{told} ({number(low)} to {number(high)})"
    spread = score.values.get(f"{name}_std")
    return f"{told} ± {spread:.2g}" if spread else told


def score_names(scores: Sequence[Score]) -> list[str]:
    """The scores that any of them has, those with a title first."""
    present = dict.fromkeys(name for score in scores for name in score.values if not name.endswith("_std"))
    return [name for name in TITLES if name in present] + [name for name in present if name not in TITLES]


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
    sheets = embed.sheets(facts.sheets, facts.name)
    if not live and facts.saved_images not in [images for images, _ in facts.sheets[-1:]]:
        drawn = samples(facts, facts.config.seed, device)
        sheets += [drawn] if drawn else []
    last = short.newest(facts.scores)
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
        sentences=short.sentences(facts),
        data=data,
        sheets=sheets,
        last=last,
        last_rows=[] if last is None else [_told(last, name) for name in score_names([last])],
        protocol=[] if last is None else list(flatten(last.protocol).items()),
        truncation=curves[0] if curves else None,
        changed=changed,
        settings=every,
        commands=repeat.commands(facts),
        alarms=troubles.alarms(facts.alarms),
        alarm_heads=troubles.HEADS,
        rollbacks=troubles.rollbacks(facts.status),
        rollback_heads=troubles.ROLLED_BACK,
        memorization=[(name, _rows(values), _pictures(facts, name)) for name, values in facts.memorization],
    )


def _told(score: Score, name: str) -> tuple[str, str, str]:
    better = "lower" if name in ("frechet_distance", "kernel_distance") else "higher"
    return (title(name, score.network) if name in TITLES else name.replace("_", " ")), score_row(score, name), better


def _curve(file: str, values: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """A truncation curve: its table, figures, sheet and verdict."""
    network = str(values.get("protocol", {}).get("features", {}).get("network", "?"))
    points = values["points"]
    names = [name for name in TITLES if all(name in point["scores"] for point in points)]
    sheet = facts.folder / f"{Path(file).stem}-sheet.png"
    told = "samples over truncation thresholds, a row a threshold"
    return {
        "file": file,
        "heads": [title(name, network) for name in names],
        "rows": [
            (
                "none" if point.get("truncation") is None else f"{point['truncation']:g}",
                [number(point["scores"][name]) for name in names],
                point.get("saturated_share"),
            )
            for point in points
        ],
        "charts": charts.truncation(points, network),
        "verdict": values["verdict"],
        "sheet": embed.of_file(sheet, told, "a row a threshold, the same latents in each") if sheet.exists() else None,
    }


def _rows(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The plain values of a result, by path; long lists are left to the file."""
    return [(path, value) for path, value in flatten(values).items() if not isinstance(value, list)][:60]


def _pictures(facts: Facts, file: str) -> list[Picture]:
    """The pictures whose names begin as a result's."""
    found = sorted(facts.folder.glob(f"{Path(file).stem}*.png"))
    return [one for path in found if (one := embed.of_file(path, f"{path.stem}: figure", path.name)) is not None]


def of_runs(runs: Sequence[Facts], seed: int = 0, device: str | None = None) -> str:
    """Several runs side by side: what differs, curves over images and over time, scores, samples of one seed."""
    if len(runs) > MOST_RUNS:
        raise UserError(f"{len(runs)} runs are too many side by side: give at most {MOST_RUNS}")
    by_name = dict(zip(distinct([facts.folder for facts in runs]), runs, strict=True))
    pairs = [
        one
        for key, player in (("d_loss", "discriminator"), ("g_loss", "generator"))
        for clock in (False, True)
        if (one := charts.side_by_side(by_name, key, f"Loss of the {player}", clock))
    ]
    groups = {
        "scores": [*charts.scores(by_name), *charts.scores(by_name, clock=True)],
        "losses": pairs,
    }
    newest = {name: short.newest(facts.scores) for name, facts in by_name.items()}
    scored = {name: score for name, score in newest.items() if score is not None}
    return fill(
        "runs.html.j2",
        groups,
        reload_seconds=0,
        runs=by_name,
        seed=seed,
        pictures=[(name, samples(facts, seed, device)) for name, facts in by_name.items()],
        settings=_differing({name: flatten(facts.config) for name, facts in by_name.items()}),
        presets=[facts.preset for facts in runs],
        scored=scored,
        score_rows=[
            (TITLES.get(name, name.replace("_", " ")), [score_row(score, name) for score in scored.values()])
            for name in score_names(list(scored.values()))
        ],
        incomparable=_incomparable(scored),
        commands=[(name, repeat.commands(facts)[0][1]) for name, facts in by_name.items()],
    )


def distinct(folders: Sequence[Path]) -> list[str]:
    """The folders' own names, or as many of their last parts as tell them apart. Raises `UserError` for one twice."""
    places = [folder.absolute() for folder in folders]
    if len({place.resolve() for place in places}) < len(places):
        raise UserError("a run is named twice; name each once")
    depth = next(n for n in range(1, 100) if len({place.parts[-n:] for place in places}) == len(places))
    return [str(Path(*place.parts[-depth:])) for place in places]


def _differing(tables: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """The settings that are not the same in all runs."""
    paths = sorted({path for table in tables.values() for path in table})
    rows = [(path, [table.get(path, "") for table in tables.values()]) for path in paths]
    return [(path, values) for path, values in rows if any(value != values[0] for value in values)]


def _incomparable(scored: Mapping[str, Score]) -> list[str]:
    """Why the scores of some runs must not be put beside those of the first."""
    names = list(scored)
    return [
        f"{names[0]} and {name}: {reason}"
        for name in names[1:]
        for reason in comparable(scored[names[0]].protocol, scored[name].protocol)
    ]


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
    environment.filters |= {"shown": shown, "asdict": dataclasses.asdict}
    every = [chart for group in groups.values() for chart in group]
    plotly = optional.need("plotly.offline", EXTRA, PURPOSE).get_plotlyjs() if every else ""
    assert "</script" not in plotly.lower()
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
    return text


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
