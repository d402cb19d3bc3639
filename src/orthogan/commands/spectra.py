"""`orthogan spectra RUN_OR_FILE`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from orthogan import plots
from orthogan.commands.options import parse
from orthogan.commands.parsing import option
from orthogan.errors import UserError
from orthogan.files import aside, write_whole
from orthogan.model import find_checkpoint
from orthogan.pair import build_pair
from orthogan.reports import console, quoted, table
from orthogan.settings import require
from orthogan.stability import history
from orthogan.stability.history import PLAYERS, Layer
from orthogan.stability.spectra import exact

NAME = "spectra"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Show the largest singular values of every layer's weight, before normalisation.

    Of a run, how they went (figure 3 of the BigGAN paper), as its spectra.jsonl has them: a figure, a CSV file and a
    table of the layers that have grown most. Of a checkpoint file, the exact values: a CSV file and a table.
    """

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_FILE")]
    """A run folder or a checkpoint file."""
    out: Annotated[Path | None, option(metavar="FOLDER")] = None
    """The folder to write spectra.png, spectra.svg and spectra.csv to. Default: the run's, else the current one."""


def main(argv: list[str]) -> int:
    options: Options = parse(Options, argv, "spectra")
    source = options.source
    if not source.exists():
        raise UserError(f"{source} does not exist; give a run folder or a checkpoint file")
    out = options.out or (source if source.is_dir() else Path())
    require(out.is_dir() or not out.exists(), "out", str(out), "is a file; name a folder")
    written = of_run(source, out) if source.is_dir() else of_file(source, out)
    console.print(f"written: {' '.join(map(quoted, written))}")
    return 0


def of_run(run: Path, out: Path) -> list[Path]:
    """What training has written down; the files."""
    plots.check_installed()
    layers = history.read(run)
    bad = {player: history.worst(layer for layer in layers if layer.player == player) for player in PLAYERS}
    figure = plots.histories(layers, [layer for found in bad.values() for layer in found], str(run))
    pictures = [out / f"{NAME}.png", out / f"{NAME}.svg"]
    with aside(pictures[0]) as png, aside(pictures[1]) as svg:
        figure.savefig(svg, bbox_inches="tight")
        plots.save(figure, png)
    for player, found in bad.items():
        last = max(layer.images[-1] for layer in layers)
        show(f"{player}: fastest growth of sigma_0 and largest sigma_0 / sigma_1 at {last:,} images", found, True)
    return [*pictures, as_csv(layers, out)]


def of_file(path: Path, out: Path) -> list[Path]:
    """What the weights of a checkpoint are, by Arnoldi iteration; the file."""
    found = find_checkpoint(path)
    config = found.header.config
    with torch.device("meta"):
        networks = dict(zip(PLAYERS, build_pair(config), strict=True))
    layers = []
    for player, network in networks.items():
        part = player if found.part(player) or player != "generator" else "ema"  # imported files may have that alone
        network.load_state_dict(found.require_fit(part, network), assign=True)
        layers += [Layer(player, name, [found.header.images], [row]) for name, row in exact(network).items()]
    for player in PLAYERS:
        show(f"{player} at {found.header.images:,} images", [layer for layer in layers if layer.player == player])
    return [as_csv(layers, out)]


def as_csv(layers: Sequence[Layer], out: Path) -> Path:
    path = out / f"{NAME}.csv"
    write_whole(path, history.as_csv(layers))
    return path


def show(title: str, layers: Sequence[Layer], over_a_run: bool = False) -> None:
    """A row a layer: its values at the end, their ratio and, over a run, the growth of the first."""
    growth = ["growth"] if over_a_run else []
    rows = []
    for layer in layers:
        numbers = [*(layer.series(i)[-1] for i in range(3)), layer.ratio, *([layer.growth] if over_a_run else [])]
        rows.append([layer.name, *("" if math.isnan(value) else f"{value:.4g}" for value in numbers)])
    table(title, ["layer", "sigma_0", "sigma_1", "sigma_2", "sigma_0 / sigma_1", *growth], rows)
