"""`orthogan export RUN_OR_FILE --to WHAT --out PATH`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from orthogan import exporting, optional
from orthogan.commands.options import parse
from orthogan.commands.parsing import option
from orthogan.data.sources import refuse_inside_data
from orthogan.exporting.folder import Card, check_free
from orthogan.exporting.graph import check_possible
from orthogan.files import check_new
from orthogan.judging.request import run_folder
from orthogan.model import Model, load
from orthogan.reports import command, console, quoted
from orthogan.settings import require

SUFFIXES = {"safetensors": ".safetensors", "onnx": ".onnx"}

DESCRIPTION = """Write the averaged generator alone, with its spectral norms and standing statistics in it.

safetensors is a file that orthogan reads like any checkpoint; onnx a graph (z, y) -> images for onnxruntime and others;
hub a folder for `hf upload OWNER/NAME FOLDER`, with a model card."""
NO_CARD = Card()


@dataclass(frozen=True, kw_only=True)
class Options:
    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_FILE")]
    """A run folder (its newest checkpoint), a checkpoint file or hf://OWNER/NAME."""
    to: Literal["safetensors", "onnx", "hub"]
    """What to write."""
    out: Path
    """A .safetensors or .onnx file; or, for the hub, a new or empty folder."""
    truncation: Annotated[float | None, option(metavar="T")] = None
    """Threshold of z that the standing statistics are collected at; psi of a StyleGAN2, which a graph then applies;
    none if left out."""
    form: Literal["redraw", "scaled"] = "redraw"
    """Truncation of z as in the paper, or as in the released models."""
    noise: Annotated[Literal["random", "const", "none"] | None, tyro.conf.DisallowNone, option()] = None
    """Noise inside a generator that has any; random if left out, but a graph needs const or none."""
    card: Card = NO_CARD
    """Of a folder for the hub."""
    replace: bool = False
    """Write over a file that is there."""

    def __post_init__(self) -> None:
        suffix = SUFFIXES.get(self.to)
        require(suffix is None or self.out.suffix == suffix, "out", str(self.out), f"must end in {suffix}")
        require(self.to == "hub" or self.card == NO_CARD, "to", self.to, "has no card; leave --card out")
        if self.to == "hub":
            require(not self.replace, "replace", True, "is for files; name a new folder")
            check_free(self.out)
        else:
            check_new(self.out, self.replace)

    def load(self) -> Model:
        """In float32 on the CPU; what cannot be written is refused before statistics are collected."""
        model = load(self.model, "cpu", "float32", noise=self.noise)
        refuse_inside_data(self.out, model.header.config.data.source)
        model.check(1, None, self.truncation, self.form)
        if self.to == "onnx":
            check_possible(model)
        return model


def main(argv: list[str]) -> int:
    options: Options = parse(Options, argv, "export", DESCRIPTION)
    model = options.load()
    how = (options.truncation, options.form)
    if options.to == "safetensors":
        exporting.write_weights(model, options.out, *how)
        truncated = () if options.truncation is None else ("--truncation", options.truncation)
        told = command("sample", options.out, *truncated)
    elif options.to == "onnx":
        exporting.write_graph(model, options.out, *how)
        told = checked(options, model)
    else:
        exporting.write_folder(model, options.out, options.card, run_folder(options.model), *how)
        told = f"look through its README.md, then: hf upload OWNER/NAME {quoted(options.out)}"
    console.print(f"the generator of {quoted(model.path)} is in {quoted(options.out)}\n  {told}")
    return 0


def checked(options: Options, model: Model) -> str:
    """What onnxruntime, where it is installed, makes of the graph."""
    if not optional.is_installed("onnxruntime"):
        return f"not run, for onnxruntime is not installed: {optional.install('export')}"
    worst = exporting.check_graph(options.out, model, options.truncation, options.form)
    return f"under onnxruntime its pixels, of [-1, 1], differ by at most {worst:.1g}"
