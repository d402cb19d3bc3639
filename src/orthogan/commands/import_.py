"""`orthogan import FILE_OR_FOLDER --out FILE`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from orthogan.commands.options import parse
from orthogan.commands.parsing import REQUIRED, option
from orthogan.files import check_new
from orthogan.interop import writing
from orthogan.networks import family_of
from orthogan.reports import command, console, quoted, table, warn
from orthogan.settings import require

DESCRIPTION = """Make a checkpoint of this program from one of another project.

The project and the architecture are recognised by names and shapes of tensors: BigGAN-PyTorch,
pytorch-pretrained-BigGAN, StudioGAN, mimicry, Projected GAN (FastGAN) and StyleGAN2-ADA. No code in a file is run, and
what does not fit exactly is refused."""


@dataclass(frozen=True, kw_only=True)
class Options:
    sources: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE_OR_FOLDER", help_behavior_hint=REQUIRED)
    ]
    """A file, a folder of one model, or the files of its generator, average and discriminator."""
    out: Path
    """The .safetensors file to write."""
    bn_eps: Annotated[float | None, option(metavar="EPS")] = None
    """Eps of batch norm, which files do not state; if left out that of the project's code."""
    statistics: bool = True
    """Keep the batch statistics of the file. Without them they are collected before sampling."""
    replace: bool = False
    """Write over a file that is there."""


def main(argv: list[str]) -> int:
    options: Options = parse(Options, argv, "import", DESCRIPTION)
    require(len(options.sources) > 0, "sources", "", "give a file or a folder of another project")
    require(options.out.suffix == ".safetensors", "out", str(options.out), "must end in .safetensors")
    require(options.bn_eps is None or options.bn_eps > 0, "bn_eps", options.bn_eps, "must be positive")
    check_new(options.out, options.replace)
    result = writing.prepare(options.sources, options.bn_eps, options.statistics)
    writing.write(result, options.out)
    show(result)
    console.print(f"written: {quoted(options.out)}")
    console.print(f"next: {command('sample', options.out, '-n', '16')}")
    return 0


def show(result: writing.Result) -> None:
    """What was found, a row a network, and what must be said of it."""
    rows = []
    for p in result.parts:
        numbers = sum(tensor.numel() for tensor in p.part.tensors.values())
        rows.append([p.name, p.title, family_of(p.part.config), f"{numbers:,}", p.found.path.name])
    config = result.config
    classes = f"{config.n_classes} classes" if config.n_classes else "no classes"
    title = f"{config.resolution} x {config.resolution} pixels, {classes}, z of {config.generator.dim_z}"
    table(title, ["part", "found", "network here", "numbers", "file"], rows)
    if not any(p.name == "discriminator" for p in result.parts):
        warn("no discriminator: the file samples, and a run that begins from it needs a fresh one")
    for remark in result.remarks:
        console.print(remark)
