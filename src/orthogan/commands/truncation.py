"""`orthogan truncation RUN_OR_FILE --against DATA`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from orthogan import plots
from orthogan.commands.parsing import parse
from orthogan.data.config import Crop, Resize
from orthogan.features import weights
from orthogan.files import aside
from orthogan.judging import Request, results, truncation
from orthogan.metrics.titles import title
from orthogan.reports import console, counting, quoted, table
from orthogan.settings import require


@dataclass(frozen=True, kw_only=True)
class Options(Request):
    """Score a generator over truncation thresholds, and say whether it is amenable to truncation.

    Writes a JSON file with scores and protocol, a figure of Fréchet distance against classifier score and of precision
    against recall, and a sheet with a row of samples for each threshold (figure 2 of the BigGAN paper).
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_FILE")]
    """A run folder (its newest checkpoint) or a checkpoint file."""
    against: Annotated[str, tyro.conf.arg(metavar="DATA")] = Request.against
    thresholds: tuple[float, ...] | None = None
    """Thresholds beside none, the first point. Left out: 2 1.5 1 0.75 0.5 0.25 0.1 0.04; of a StyleGAN2 those of psi,
    0.9 0.8 0.7 0.5 0.3 0.15 0.04."""
    features: Annotated[str, tyro.conf.arg(metavar="NAME")] = Request.features
    samples: Annotated[int | None, tyro.conf.arg(aliases=["-n"], metavar="N")] = Request.samples
    """Generated images at each threshold; 5,000 if left out."""
    real: Annotated[int, tyro.conf.arg(metavar="N")] = Request.real
    accuracy: Annotated[bool, tyro.conf.Suppress] = False
    resamples: Annotated[int, tyro.conf.arg(metavar="N")] = Request.resamples
    truncation: Annotated[float | None, tyro.conf.Suppress] = None
    form: Annotated[Any, tyro.conf.Suppress] = Request.form
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = Request.seed
    weights: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = Request.weights
    resolution: Annotated[int | None, tyro.conf.Suppress] = None
    crop: Annotated[Crop | None, tyro.conf.arg(name="data.crop")] = Request.crop
    resize: Annotated[Resize | None, tyro.conf.arg(name="data.resize")] = Request.resize
    unconditional: Annotated[bool, tyro.conf.arg(name="data.unconditional")] = Request.unconditional
    skip_bad: Annotated[bool, tyro.conf.arg(name="data.skip-bad")] = Request.skip_bad
    device: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = Request.device
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.json")] = None
    """The JSON file; the figure and the sheet stand beside it. Default: truncation-*.json in the run folder."""


def main(argv: list[str]) -> int:
    options: Options = parse(Options, argv, "truncation")
    given = options.out is None or options.out.suffix == ".json"
    require(given, "out", str(options.out), "must end in .json; the pictures are named after it")
    plots.check_installed()
    weights.check_scoring(options.features, options.weights)
    found = truncation.curve(options, options.thresholds, counting)
    wanted = options.out or results.default_out(options, found["protocol"], "truncation")
    out = results.free_name(wanted, found["protocol"])
    results.write(out, found)
    figure, sheet = out.with_suffix(".png"), out.with_name(f"{out.stem}-sheet.png")
    with aside(figure) as partial:
        plots.save(plots.truncation({"": [found["points"]]}, options.features, options.source), partial)
    with aside(sheet) as partial:
        truncation.sheet(options, found).save(partial)
    show(found)
    if out != wanted:
        console.print(f"{quoted(wanted)} holds a curve by another protocol, and stays", markup=False)
    console.print(f"written: {' '.join(map(quoted, (out, figure, sheet)))}", markup=False)
    return 0


SHOWN = ("frechet_distance", "classifier_score", "precision", "recall")


def show(found: dict[str, Any]) -> None:
    """A row a threshold, and the verdict with its reasons."""
    protocol = found["protocol"]
    name = "psi" if found["truncation_of"] == "w" else "threshold"
    rows = [
        [
            "none" if point["truncation"] is None else f"{point['truncation']:g}",
            *(f"{point['scores'][score]:.4g}" for score in SHOWN),
            f"{point['saturated_share']:.1%}",
        ]
        for point in found["points"]
    ]
    counts = f"{protocol['generated']['images']} generated against {protocol['real']['images']} real images"
    network = protocol["features"]["network"]
    table(counts, [name, *(title(score, network) for score in SHOWN), "saturated"], rows)
    verdict = found["verdict"]
    console.print(f"amenable to truncation: {'yes' if verdict['amenable'] else 'no'}", markup=False)
    for reason in verdict["reasons"]:
        console.print(f"  {reason}", markup=False)
    if "remedy" in verdict:
        console.print(f"  remedy: {verdict['remedy']}", markup=False)
    for note in found["notes"]:
        console.print(f"note: {note}", markup=False)
