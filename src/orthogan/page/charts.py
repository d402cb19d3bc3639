"""The curves of a page as figures of Plotly: plain JSON types, which the page's script draws in the theme's colours."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orthogan.metrics.titles import TITLES, better, title
from orthogan.page import alike
from orthogan.page.embed import plain, thinned
from orthogan.page.numbers import is_number
from orthogan.page.read import Facts, Line, Score
from orthogan.page.tables import protocol_of
from orthogan.stability import history
from orthogan.stability.history import PLAYERS, Layer
from orthogan.training.cadence import rate_share

Chart = dict[str, Any]
"""`id`, `title`, `alt`, `note`, and the `data` and `layout` of Plotly."""
Curve = tuple[str, Sequence[float], Sequence[float]]
"""A name, and where it goes."""

COLOURS = ("#3b7dd8", "#cf6b22", "#2f9e6e", "#d64550", "#8e63ce", "#12939a", "#b0792b", "#7d8590", "#c2559d")
"""At least 3 : 1 against the page, light and dark."""
DEPTHS = ("#8a4fbf", "#5b6fd0", "#2f86bb", "#14918a", "#3a9455", "#6f8a2a", "#97801f", "#b8701c")
"""From the layers at the input to those at the output."""
MOST_POINTS = 800
MOST_OF_A_LAYER = 150
MOST_MARKS = 20

DECADES = 8
"""Times the smallest value, beyond which the largest asks for a logarithmic axis."""
BEGINNING = 0.05
"""Share of the run whose spikes may lie outside a figure of losses."""

IMAGES = "real images shown"
HOURS = "hours of training"


def chart(
    name: str,
    heading: str,
    curves: Iterable[Curve],
    up: str,
    *,
    across: str = IMAGES,
    note: str = "",
    log: bool = False,
    markers: bool = False,
    colours: Sequence[str] = COLOURS,
    named: Iterable[str] | None = None,
    most: int = MOST_POINTS,
    within: tuple[float, float] | None = None,
    legend: bool = False,
) -> Chart | None:
    """A figure of lines; None where there is no point. Of many lines only those `named` stand in the legend.

    `within` are the ends of the upward axis, where they are not those of the values.
    """
    given = list(curves)
    # One without points keeps its place among the colours, so that a run has the same one in every figure.
    places = [i for i, (_, _, ys) in enumerate(given) if any(map(is_number, ys))]
    drawn = [given[i] for i in places]
    if not drawn:
        return None
    shown = None if named is None else set(named)
    data = []
    for i, (label, xs, ys) in zip(places, drawn, strict=True):
        points = thinned([(x, y if is_number(y) else None) for x, y in zip(xs, ys, strict=True)], most)
        told = shown is None or label in shown
        data.append(
            {
                "x": [x for x, _ in points],
                "y": [y for _, y in points],
                "name": plain(label),
                "mode": "lines+markers" if markers or len(points) == 1 else "lines",
                "line": {"color": colours[i * len(colours) // len(given) if shown else i % len(colours)], "width": 1.8},
                "opacity": 1.0 if told else 0.45,
                "showlegend": told and (legend or len(drawn) > 1 or shown is not None),
            }
        )
    numbers = [y for _, _, ys in drawn for y in ys if is_number(y)]
    decades = log and min(numbers) > 0 and max(numbers) > DECADES * min(numbers)
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": across}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": up}} | ({"type": "log", "dtick": "D2"} if decades else {}),
    }
    if within:
        layout["yaxis"] |= {"range": list(within)}
    alt = f"Line chart of {heading}: {'; '.join(_told(*curve) for curve in drawn[:6])}"
    alt += f"; and {len(drawn) - 6} more lines" if len(drawn) > 6 else ""
    return {"id": name, "title": heading, "alt": alt, "note": note, "data": data, "layout": layout}


def settled(curves: Sequence[Curve]) -> tuple[float, float] | None:
    """Ends of an axis that shows all values but those of the beginning of a run."""
    end = max((x for _, xs, _ in curves for x in xs), default=0)
    later = [y for _, xs, ys in curves for x, y in zip(xs, ys, strict=True) if x > BEGINNING * end]
    if not later:
        return None
    margin = 0.08 * (max(later) - min(later)) or 0.1 * abs(later[0]) or 1.0
    ends = min(later) - margin, max(later) + margin
    return ends if all(map(is_number, ends)) else None


def _told(label: str, xs: Sequence[float], ys: Sequence[float]) -> str:
    numbers = [y for y in ys if is_number(y)]
    return f"{label} from {numbers[0]:.4g} to {numbers[-1]:.4g}, between {min(numbers):.4g} and {max(numbers):.4g}"


def of_log(lines: Sequence[Line], names: Mapping[str, str]) -> list[Curve]:
    """Columns of the log by the names they are to have."""
    found: list[Curve] = []
    for key, label in names.items():
        rows = [(line["images"], line[key]) for line in lines if is_number(line.get(key))]
        found.append((label, [x for x, _ in rows], [y for _, y in rows]))
    return found


LOSSES = {"g_loss": "generator", "d_loss": "discriminator"}
LOGITS = {"d_real": "real images", "d_fake": "generated images"}
NORMS = {"g_grad_norm": "generator", "d_grad_norm": "discriminator"}
LOOKED_AT = {"diversity": "diversity", "distance": "distance to the nearest real image"}
_KNOWN = {"images", "steps", "attempt", *LOSSES, *LOGITS, *NORMS}


def training(facts: Facts) -> list[Chart]:
    """Losses, logits, gradients, learning rates, speed, and whatever else the log has."""
    log = facts.log
    losses, logits, falling = of_log(log, LOSSES), of_log(log, LOGITS), rates(facts)
    highest = max(y for _, _, ys in falling for y in ys)
    others = dict.fromkeys(key for line in log for key, value in line.items() if is_number(value) and key not in _KNOWN)
    speeds = [("training", [x for x, _ in facts.speeds], [y for _, y in facts.speeds])]
    drawn = [
        chart(
            "losses",
            "Losses",
            losses,
            "loss",
            within=settled(losses),
            note="The networks play against each other, so neither loss falls to 0 in a good training. Leaps are bad.",
        ),
        chart(
            "logits",
            "The discriminator's answers",
            logits,
            "logit",
            within=settled(logits),
            note="Higher: it holds them for real. Far apart: it tells real from generated images easily.",
        ),
        chart(
            "variety",
            "Variety of the samples",
            of_log(facts.looks, LOOKED_AT),
            "1: as among the real images",
            note="Measured on pixels while it trains. A diversity near 0 means that all samples look alike.",
        ),
        chart(
            "norms",
            "Gradient norms",
            of_log(log, NORMS),
            "norm",
            log=True,
            note="How hard each step pulls. Sudden growth by tens of times announces a collapse.",
        ),
        chart(
            "others",
            "Further terms",
            of_log(log, {key: key for key in others}),
            "value",
            legend=True,
            note="By their names in log.jsonl.",
        ),
        chart(
            "rates",
            "Learning rates",
            falling,
            "learning rate",
            within=(0.0, 1.15 * highest),
            note="By its settings, times what rollbacks made of them." if facts.rollbacks else "",
        ),
        chart(
            "speed",
            "Speed",
            speeds,
            "images a second",
            note="Sheets, scores and checkpoints included.",
        ),
    ]
    return [with_alarms(one, facts) for one in drawn if one]


def with_alarms(drawn: Chart, facts: Facts) -> Chart:
    """With a mark wherever an alarm was raised."""
    at = [line["images"] for line in facts.alarms if is_number(line.get("images")) and not line.get("notice")]
    if at:
        drawn["layout"]["marks"] = thinned(at, MOST_MARKS)
        drawn["alt"] += f"; alarms at {', '.join(f'{images:,}' for images in thinned(at, MOST_MARKS))} images"
        drawn["note"] = f"{drawn['note']} Dotted: an alarm was raised.".strip()
    return drawn


def rates(facts: Facts) -> list[Curve]:
    """As the configuration has them, constant or falling linearly to 0 at the end, times rollbacks' factors."""
    optimizer, end = facts.config.optimizer, facts.config.images
    corners = sorted({0, end} if optimizer.decay_from_images is None else {0, optimizer.decay_from_images, end})
    begun = _factors(facts)
    points: list[tuple[int, float]] = []
    for (first, factor), last in zip(begun, [*(images for images, _ in begun[1:]), end], strict=True):
        between = [first, *(x for x in corners if first < x < last), last]
        points += [(x, factor * rate_share(facts.config, x)) for x in between]
    xs = [x for x, _ in points]
    return [
        (label, xs, [rate * share for _, share in points])
        for label, rate in (("generator", optimizer.g_lr), ("discriminator", optimizer.d_lr))
    ]


def _factors(facts: Facts) -> list[tuple[int, float]]:
    """What the rates were multiplied by, from which images on, on the way to where the run stands."""
    inherited = facts.extra.get("changes") if not facts.rollbacks else None
    factor = inherited.get("rate_factor") if isinstance(inherited, dict) else None
    found = [(0, factor if is_number(factor) else 1.0)]
    for line in facts.rollbacks:
        to, factor = line["to"], line.get("rate_factor")
        if 0 <= to < facts.config.images and is_number(factor):
            found = [*(one for one in found if one[0] < to), (to, factor)]
    return found


def spectra(layers: Sequence[Layer]) -> list[Chart]:
    """The largest singular value of each layer, and its ratio to the next, by player; the worst in the legend."""
    drawn = []
    for player in PLAYERS:
        own = [layer for layer in layers if layer.player == player]
        named = [layer.name for layer in history.worst(own)] if own else []
        common: dict[str, Any] = {"log": True, "colours": DEPTHS, "named": named, "most": MOST_OF_A_LAYER}
        largest = [(layer.name, layer.images, layer.series(0)) for layer in own]
        ratios = [(layer.name, layer.images, layer.ratios()) for layer in own]
        drawn += [
            chart(f"sigma-{player}", f"{player.capitalize()}: largest singular value", largest, "σ₀", **common),
            chart(f"ratio-{player}", f"{player.capitalize()}: largest over second", ratios, "σ₀ / σ₁", **common),
        ]
    return [one for one in drawn if one]


SCORED = ("frechet_distance", "kernel_distance", "precision", "recall")


def scores(runs: Mapping[str, Facts], clock: bool = False) -> list[Chart]:
    """Each score over images, or over hours of training, a line a run; a figure holds scores of one protocol alone."""
    every = [(name, one) for name, facts in runs.items() for one in facts.scores if one.on_the_way]
    protocols = alike.groups(every)
    drawn = [_scored(runs, group, score, clock) for group in protocols for score in SCORED]
    found = [one for one in drawn if one]
    if len(protocols) > 1:
        for place, one in enumerate(found):
            one["id"] += f"-{place}"
    return found


def _scored(runs: Mapping[str, Facts], group: Sequence[tuple[str, Score]], score: str, clock: bool) -> Chart | None:
    first, curves = group[0][1], []
    for name, facts in runs.items():
        rows = [(one.images, one.values[score]) for whose, one in group if whose == name and score in one.values]
        label = name if len(runs) > 1 else title(score, first.network)
        curves.append(_clocked(label, rows, facts) if clock else (label, *_columns(rows)))
    return chart(
        f"{score}-{'clock' if clock else 'images'}",
        f"{_name(score)} over {'time' if clock else 'images'}",
        curves,
        f"{_name(score)} ({better(score)} is better)",
        across=HOURS if clock else IMAGES,
        note=protocol_of(first),
        markers=True,
        legend=len(runs) > 1,
    )


def _name(score: str) -> str:
    return TITLES[score].capitalize()


def side_by_side(runs: Mapping[str, Facts], key: str, heading: str, clock: bool = False) -> Chart | None:
    """One column of the logs, a line a run."""
    curves = []
    for name, facts in runs.items():
        rows = [(line["images"], line[key]) for line in facts.log if is_number(line.get(key))]
        curves.append(_clocked(name, rows, facts) if clock else (name, *_columns(rows)))
    when = "time" if clock else "images"
    return chart(
        f"{key}-{when}",
        f"{heading} over {when}",
        curves,
        "loss",
        across=HOURS if clock else IMAGES,
        within=settled(curves),
        legend=len(runs) > 1,
    )


def _columns(rows: Sequence[tuple[Any, float]]) -> tuple[list[Any], list[float]]:
    return [x for x, _ in rows], [y for _, y in rows]


def _clocked(label: str, rows: Sequence[tuple[Any, float]], facts: Facts) -> Curve:
    """Over hours, where the time of a number of images is known."""
    hours = facts.hours()
    times = sorted(hours)
    found = []
    for images, value in rows:
        nearest = next((seen for seen in times if seen >= images), None)
        if nearest is not None:
            found.append((hours[nearest], value))
    return (label, *_columns(found))


def truncation(points: Sequence[Mapping[str, Any]], network: str) -> list[Chart]:
    """Fréchet distance against classifier score, and precision against recall, a point a threshold."""
    drawn = []
    for across, up in (("classifier_score", "frechet_distance"), ("recall", "precision")):
        rows = [(p["scores"].get(across), p["scores"].get(up), p.get("truncation")) for p in points]
        rows = [row for row in rows if is_number(row[0]) and is_number(row[1])]
        one = chart(
            f"truncation-{up}",
            f"{_name(up)} against {_name(across).lower()}",
            [("thresholds", [x for x, _, _ in rows], [y for _, y, _ in rows])],
            f"{_name(up)} ({better(up)} is better)",
            across=f"{_name(across)} ({better(across)} is better)",
            note=f"By {network}; a point a threshold.",
            markers=True,
        )
        if one:
            texts = ["none" if t is None else f"{t:g}" for _, _, t in rows]
            one["data"][0] |= {
                "mode": "lines+markers+text",
                "text": texts,
                "textposition": "top right",
                "cliponaxis": False,
            }
            one["layout"]["xaxis"].pop("rangemode")
            one["alt"] += f"; thresholds {', '.join(texts)}"
            drawn.append(one)
    return drawn
