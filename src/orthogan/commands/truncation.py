"""`orthogan truncation RUN_OR_FILE --against DATA`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from orthogan import judging, plots
from orthogan.commands.parsing import option, parse
from orthogan.commands.scoring import Scoring
from orthogan.features import weights
from orthogan.files import aside
from orthogan.judging import Request, results, truncation
from orthogan.judging.counting import silently
from orthogan.metrics.titles import short
from orthogan.pictures import save_picture
from orthogan.reports import console, counting, quoted, table


@dataclass(frozen=True, kw_only=True)
class Options(Scoring, Request):
    """Score a generator over truncation thresholds, and say whether it is amenable to truncation.

    Writes a JSON file with scores and protocol, a figure of Fréchet distance against classifier score and of precision
    against recall, and a sheet with a row of samples for each threshold (figure 2 of the BigGAN paper).
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_FILE")]
    """A run folder (its newest checkpoint), a checkpoint file or hf://OWNER/NAME."""
    thresholds: Annotated[tuple[float, ...] | None, option(metavar="T ...")] = None
    """Thresholds beside none, the first point. Left out: 2 1.5 1 0.75 0.5 0.25 0.1 0.04; of a StyleGAN2 those of psi,
    0.9 0.8 0.7 0.5 0.3 0.15 0.04."""
    samples: Annotated[int | None, option(aliases=["-n"], metavar="N")] = Request.samples
    """Generated images at each threshold; 5,000 if left out."""
    accuracy: Annotated[bool, tyro.conf.Suppress] = False
    truncation: Annotated[float | None, tyro.conf.Suppress] = None
    form: Annotated[Any, tyro.conf.Suppress] = Request.form
    resolution: Annotated[int | None, tyro.conf.Suppress] = None
    out: Annotated[Path | None, option(metavar="FILE.json")] = None
    """The JSON file; the figure and the sheet stand beside it. Default: truncation-*.json in the run folder."""


def main(argv: list[str]) -> int:
    options: Options = parse(Options, argv, "truncation")
    results.check_out(options.out, options.path)
    plots.check_installed()
    weights.check_scoring(options.features, options.weights)
    with judging.all_processes(options.device) as here:
        request = replace(options, device=here.device)
        found = truncation.curve(request, options.thresholds, counting if here.is_first else silently)
        here.of_first(lambda: keep(request, found, options.out))
    return 0


def keep(request: Request, found: dict[str, Any], given: Path | None) -> None:
    """Write a curve, its figure and its sheet, and print it."""
    wanted = given or results.default_out(request, found["protocol"], "truncation")
    out = results.free_name(wanted, found["protocol"], [".png", "-sheet.png"])
    results.write(out, found)
    figure, sheet = out.with_suffix(".png"), out.with_name(f"{out.stem}-sheet.png")
    with aside(figure) as partial:
        plots.save(plots.truncation({"": [found["points"]]}, request.features, request.source), partial)
    save_picture(truncation.sheet(request, found), sheet)
    show(found)
    if out != wanted:
        console.print(f"{quoted(wanted)} is taken, or a picture of its name, by something else, which stays")
    console.print(f"written: {' '.join(map(quoted, (out, figure, sheet)))}")


HEADS = {
    "frechet_distance": "Fréchet\ndistance",
    "classifier_score": "classifier\nscore",
    "precision": "precision",
    "recall": "recall",
}
"""Of the columns: short, for a terminal of 80 characters. The title of the table has the network."""


def show(found: dict[str, Any]) -> None:
    """A row a threshold, and the verdict with its reasons."""
    protocol, points = found["protocol"], found["points"]
    name = "psi" if found["truncation_of"] == "w" else "threshold"
    scores = [score for score in HEADS if all(score in point["scores"] for point in points)]
    rows = [
        [
            "none" if point["truncation"] is None else f"{point['truncation']:g}",
            *(f"{point['scores'][score]:.4g}" for score in scores),
            f"{point['saturated_share']:.1%}",
        ]
        for point in points
    ]
    counts = f"{protocol['generated']['images']} generated against {protocol['real']['images']} real images"
    network = protocol["features"]["network"]
    heads = [short(score, network) if network == "inception" else HEADS[score] for score in scores]
    table(f"{counts}, over {network}", [name, *heads, "saturated"], rows)
    verdict = found["verdict"]
    console.print(f"amenable to truncation: {'yes' if verdict['amenable'] else 'no'}")
    for reason in verdict["reasons"]:
        console.print(f"  {reason}")
    if "remedy" in verdict:
        console.print(f"  remedy: {verdict['remedy']}")
    for note in found["notes"]:
        console.print(f"note: {note}")
