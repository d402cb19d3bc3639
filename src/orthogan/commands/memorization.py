"""`orthogan memorization RUN_OR_FILE`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from orthogan.commands.options import parse
from orthogan.commands.parsing import option
from orthogan.errors import UserError
from orthogan.features import weights
from orthogan.judging import results
from orthogan.judging.memorization import DEFINITION, Question, default_out, examine
from orthogan.judging.request import is_model
from orthogan.pictures import save_picture
from orthogan.reports import console, counting, quoted, table


@dataclass(frozen=True, kw_only=True)
class Options(Question):
    """Show how much of the training images a GAN has learnt by heart.

    What the discriminator says of training images and of images that it has not seen; and how close generated images
    come to training images, beside how close held-out ones do: a sheet, and a JSON file with numbers and protocol.
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_FILE")]
    held_out: Annotated[str | None, option(metavar="DATA")] = Question.held_out
    data: Annotated[str | None, option(metavar="DATA")] = Question.data
    features: Annotated[str, option(metavar="NAME")] = Question.features
    samples: Annotated[int, option(aliases=["-n"], metavar="N")] = Question.samples
    most: Annotated[int, option(metavar="N")] = Question.most
    real: Annotated[int, option(metavar="N")] = Question.real
    truncation: Annotated[float | None, option(metavar="T")] = Question.truncation
    seed: Annotated[int, option(metavar="N")] = Question.seed
    weights: Annotated[Path | None, option(metavar="PATH")] = Question.weights
    device: Annotated[str | None, option(metavar="NAME")] = Question.device
    out: Annotated[Path | None, option(metavar="FILE.json")] = None
    """The JSON file; the sheet is beside it. Default: memorization-*.json in the run folder, else in the current."""


def main(argv: list[str]) -> int:
    options: Options = parse(Options, argv, "memorization")
    place = Path(options.source).expanduser()
    if not is_model(place) and place.exists():
        raise UserError(f"{options.source} is no run folder and no checkpoint file; give one")
    results.check_out(options.out, place)
    weights.check_scoring(options.features, options.weights)
    answer = examine(options, counting)
    out = results.free_name(options.out or default_out(options, answer.result), answer.result["protocol"], [".png"])
    results.write(out, answer.result)
    save_picture(answer.sheet, out.with_suffix(".png"))
    show(answer.result)
    console.print(f"written: {quoted(out)} {quoted(out.with_suffix('.png'))}")
    return 0


def show(result: dict[str, Any]) -> None:
    """Two tables and what to know about them."""
    said, spaces = result["discriminator"], result["neighbours"]
    rows = [[_title(name), said[name]["images"], _share(said[name], "share_real"), f"{said[name]['mean_logit']:.3g}"]
            for name in ("training", "held_out", "generated")]  # fmt: skip
    table("what D says", ["images", "how many", "taken for real", "mean logit"], rows)
    apart = said["separation"]
    for name, text in (("auc", "D rates a training image above a held-out one"), ("gap", "gap of the mean logits")):
        low, high = apart[f"{name}_interval"]
        told = f"{apart[name]:.1%} of the time ({low:.1%} to {high:.1%})" if name == "auc" else _number(apart, name)
        console.print(f"{text}: {told}")
    rows = [
        [
            _title(name),
            space,
            of[name]["images"],
            _share(of[name], "share_closer"),
            of[name]["copies"],
            f"{of[name]['median_distance']:.4g}",
        ]
        for space, of in spaces.items()
        for name in ("generated", "held_out")
    ]
    heads = ["images", "space", "how many", "closer", "copies", "median\ndistance"]
    table("nearest training images", heads, rows)
    console.print(f"closer: {DEFINITION}")
    console.print("copies: at distance 0 from a training image")
    for note in result["notes"]:
        console.print(f"note: {note}")


def _title(name: str) -> str:
    return name.replace("_", "-")


def _share(values: dict[str, Any], name: str) -> str:
    if values[name] is None:
        return "–"
    low, high = values[f"{name}_interval"]
    return f"{values[name]:.1%} ({low:.1%} to {high:.1%})"


def _number(values: dict[str, Any], name: str) -> str:
    low, high = values[f"{name}_interval"]
    return f"{values[name]:.3g} ({low:.3g} to {high:.3g})"
