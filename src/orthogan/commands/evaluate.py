"""`orthogan evaluate`: score generators, or folders of images, against real images."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from orthogan import judging
from orthogan.commands.parsing import REQUIRED, option, parse
from orthogan.commands.scoring import Scoring
from orthogan.errors import UserError
from orthogan.features import weights
from orthogan.judging import Request, results
from orthogan.judging.counting import silently
from orthogan.metrics.protocol import comparable
from orthogan.metrics.titles import TITLES, better, short
from orthogan.reports import command, console, counting, quoted, table


@dataclass(frozen=True, kw_only=True)
class Options(Scoring):
    """Score generated images against real ones: distances, precision and recall, and more where there are classes.

    Writes a JSON file for each, which holds the scores and the protocol they were computed by. Under
    `torchrun --nproc-per-node N -m orthogan evaluate ...` N processes share the work, and the digits stay.
    """

    sources: Annotated[
        tuple[str, ...], tyro.conf.Positional, option(metavar="RUN_OR_IMAGES ...", help_behavior_hint=REQUIRED)
    ]
    """Run folders, checkpoint files, hf://OWNER/NAME, or generated images: a folder, a zip, an .npz or .npy file; one
    or several."""
    out: Annotated[Path | None, option(metavar="FILE.json")] = None
    """The JSON file of the only one. Default: scores-*.json in the run folder, else in the current folder."""


def main(argv: list[str]) -> int:
    """Run `orthogan evaluate ARGV`. Raises UserError for what the user can mend."""
    options: Options = parse(Options, argv, "evaluate")
    if not options.sources:
        raise UserError("nothing to score; give a run, a checkpoint or generated images before --against")
    if options.out is not None and len(options.sources) > 1:
        raise UserError(f"out={quoted(options.out)}: one file for {len(options.sources)} results; leave it out")
    requests = [options.of(source) for source in options.sources]
    weights.check_scoring(options.features, options.weights)  # before `score` imports PyTorch, which takes seconds
    for request in requests:
        request.check_present()
        results.check_out(options.out, request.path)
    written, protocols = [], []
    with judging.all_processes(options.device) as here:
        for request in requests:
            result = judging.score(replace(request, device=here.device), counting if here.is_first else silently)
            written.append(here.of_first(partial(keep, request, result, options.out)))
            protocols.append(result["protocol"])
    alike = not any(comparable(protocols[0], other) for other in protocols[1:])
    if len(written) > 1 and here.is_first and alike:
        console.print(f"compare them: {command('compare', *written)}")
    return 0


def keep(request: Request, result: dict[str, Any], out: Path | None) -> Path:
    """Write a result and print it; returns its file."""
    wanted = out or results.default_out(request, result["protocol"])
    place = results.free_name(wanted, result["protocol"])
    results.write(place, result)
    show(result)
    if place != wanted:
        console.print(f"{quoted(wanted)} holds a score by another protocol, and stays")
    console.print(f"scores and protocol: {quoted(place)}")
    return place


WORST = 3
"""Classes that are printed, of those with the largest distances; the file has all."""


def show(result: dict[str, Any]) -> None:
    """Print the scores and what to know about them."""
    values, protocol, intervals = result["scores"], result["protocol"], result.get("intervals", {})
    rows, network = [], protocol["features"]["network"]
    for name in TITLES:
        if name in values:
            low, high = intervals.get(name, (None, None))
            told = "" if low is None else f"{low:.4g} to {high:.4g}"
            rows.append([short(name, network), f"{values[name]:.5g}", told, better(name)])
    source, counts = protocol["generated"].get("source", "images"), protocol["generated"]["images"]
    part = protocol["real"].get("part", "real")
    heading = f"{source}: {counts} generated against {protocol['real']['images']} {part} images, over {network}"
    level = protocol.get("intervals", {}).get("level", 0.95)
    table(heading, ["score", "value", f"{100 * level:.0f} % interval", "better"], rows)
    worst = sorted(result.get("classes", {}).items(), key=lambda found: -found[1]["frechet_distance"])[:WORST]
    if worst:
        told = ", ".join(f"{name} ({of_class['frechet_distance']:.4g})" for name, of_class in worst)
        console.print(f"classes farthest from the real ones: {told}")
    for note in result["notes"]:
        console.print(f"note: {note}")
