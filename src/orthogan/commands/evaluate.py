"""`orthogan evaluate`: score a generator, or a folder of images, against real images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from orthogan import judging
from orthogan.commands.parsing import parse
from orthogan.data.config import Crop, Resize
from orthogan.features import weights
from orthogan.judging import Request, results
from orthogan.metrics.titles import TITLES, title
from orthogan.reports import console, counting, quoted, table


@dataclass(frozen=True, kw_only=True)
class Options(Request):
    """Score generated images against real ones: Fréchet distance, kernel distance, classifier score, precision, recall.

    Writes a JSON file that holds the scores and the protocol they were computed by.
    """

    # The request's own settings, what they mean included, as words of a command line.
    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_IMAGES")]
    against: Annotated[str, tyro.conf.arg(metavar="DATA")] = Request.against
    features: Annotated[str, tyro.conf.arg(metavar="NAME")] = Request.features
    samples: Annotated[int | None, tyro.conf.arg(aliases=["-n"], metavar="N")] = Request.samples
    real: Annotated[int, tyro.conf.arg(metavar="N")] = Request.real
    truncation: Annotated[float | None, tyro.conf.arg(metavar="T")] = Request.truncation
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = Request.seed
    weights: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = Request.weights
    resolution: Annotated[int | None, tyro.conf.arg(metavar="PIXELS")] = Request.resolution
    crop: Annotated[Crop | None, tyro.conf.arg(name="data.crop")] = Request.crop
    resize: Annotated[Resize | None, tyro.conf.arg(name="data.resize")] = Request.resize
    unconditional: Annotated[bool, tyro.conf.arg(name="data.unconditional")] = Request.unconditional
    skip_bad: Annotated[bool, tyro.conf.arg(name="data.skip-bad")] = Request.skip_bad
    device: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = Request.device
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.json")] = None
    """The JSON file. Default: scores-*.json in the run folder, else in the current folder."""


def main(argv: list[str]) -> int:
    """Run `orthogan evaluate ARGV`. Raises UserError for what the user can mend."""
    options: Options = parse(Options, argv, "evaluate")
    weights.check_scoring(options.features, options.weights)  # before `score` imports PyTorch, which takes seconds
    result = judging.score(options, counting)
    wanted = options.out or results.default_out(options, result["protocol"])
    out = results.free_name(wanted, result["protocol"])
    results.write(out, result)
    show(result)
    if out != wanted:
        console.print(f"{quoted(wanted)} holds a score by another protocol, and stays", markup=False)
    console.print(f"scores and protocol: {quoted(out)}", markup=False)
    return 0


_BETTER = {"frechet_distance": "lower", "kernel_distance": "lower"}


def show(result: dict[str, Any]) -> None:
    """Print the scores and what to know about them."""
    values, protocol = result["scores"], result["protocol"]
    rows = []
    for name in TITLES:
        spread = values.get(f"{name}_std")
        told = f"{values[name]:.5g}" + (f" ± {spread:.2g}" if spread else "")
        rows.append([title(name, protocol["features"]["network"]), told, _BETTER.get(name, "higher")])
    counts = f"{protocol['generated']['images']} generated against {protocol['real']['images']} real images"
    table(counts, ["score", "value", "better"], rows)
    for note in result["notes"]:
        console.print(f"note: {note}", markup=False)
