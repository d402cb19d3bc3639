"""Pairs with and without orthogonal regularisation of G: how many stand truncation (BigGAN, section 3.1)."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from scipy.stats import fisher_exact

from orthogan import presets
from orthogan.files import write_whole
from orthogan.judging import Request
from orthogan.judging import truncation as truncating
from orthogan.networks import build_generator
from orthogan.pictures import save_picture
from orthogan.settings import override, require
from orthogan.studies.cells import Cell, StudyOptions, Table, common

CURVE = "truncation.json"
"""In the folder of a run: its truncation curve."""
TITLE = "amenable to truncation"
WITHOUT = "without"
"""The row that the other is held against."""


@dataclass(frozen=True, kw_only=True)
class TruncationOptions(StudyOptions):
    preset: str = "digits"
    """Networks, learning rates and D steps; a preset whose latents can be truncated."""
    width: int | None = None
    """Channel multiplier of both networks; the preset's if left out."""
    batch: int | None = None
    """Batch; the preset's if left out."""
    seeds: int = 5
    """Pairs of runs, from seed 0."""
    ema: float = 0.99
    """Share of the average of G kept at each update; 0 scores G itself, which varies much from update to update."""
    strength: float = 1e-4
    """Of the orthogonal regularisation; the paper's."""
    thresholds: tuple[float, ...] = (2.0, 1.0, 0.5, 0.25, 0.04)
    """Thresholds at which every run is scored, beside none. This comes on top of a --budget."""

    def __post_init__(self) -> None:
        super().__post_init__()
        preset = presets.get(self.preset)
        with torch.device("meta"):
            generator = build_generator(preset.generator, preset.resolution, preset.n_classes)
        rule = "must have a generator whose latents can be truncated, such as digits"
        require(generator.truncation == "z", "preset", self.preset, rule)
        require(self.strength > 0, "strength", self.strength, "must be positive; the paper's is 1e-4")
        fine = len(self.thresholds) > 0 and all(t > 0 and math.isfinite(t) for t in self.thresholds)
        require(fine, "thresholds", self.thresholds, "give at least one, each positive, such as 0.5")
        for threshold in self.thresholds:
            generator.check_truncation(threshold)


def truncation(options: TruncationOptions) -> list[Cell]:
    """Two runs a seed, which differ in the regularisation of G alone."""
    preset = presets.get(options.preset)
    settings: dict[str, Any] = {"ema.halflife_images": None, "ema.rampup": None}
    settings |= {} if options.width is None else presets.both(width=options.width)
    settings |= {} if options.batch is None else {"batch": options.batch}
    rows = {WITHOUT: 0.0, f"ortho {options.strength:g}": options.strength}
    return [
        Cell(
            row,
            "",
            override(preset, {**settings, **common(options, seed), "regularizers.g_ortho.strength": strength}),
            options.preset,
        )
        for seed in range(options.seeds)
        for row, strength in rows.items()
    ]


def look(run: Path, options: TruncationOptions) -> dict[str, Any]:
    """The truncation curve of a run that has ended, which its folder keeps with a sheet of samples."""
    kept = run / CURVE
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found
    request = Request(
        source=str(run),
        against=options.data.source,
        features=options.features,
        samples=options.samples,
        device=options.device,
    )
    found = truncating.curve(request, options.thresholds)
    save_picture(truncating.sheet(request, found), run / "truncation-sheet.png")
    write_whole(kept, json.dumps(found, indent=1, allow_nan=False) + "\n")
    return found


def tables(looked: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, Table]:
    """The share of amenable runs by row, and whether chance alone may have made the difference."""
    body = []
    counts = []
    for row, found in sorted(looked.items(), key=lambda item: item[0] != WITHOUT):
        verdicts = [one["verdict"] for one in found]
        amenable = sum(bool(verdict["amenable"]) for verdict in verdicts)
        counts.append((amenable, len(verdicts) - amenable))
        improving = sum(bool(verdict["improves"]) for verdict in verdicts)
        body.append([row, str(len(found)), f"{amenable / len(found):.0%}", _saturating(verdicts), str(improving)])
    shares: Table = (["", "runs", "amenable", "that saturate", "that improve at some threshold"], body)
    if len(counts) != 2 or WITHOUT not in looked:
        return {TITLE: shares}
    without, with_ = counts
    chance = float(fisher_exact([with_, without], alternative="greater").pvalue)
    told: Table = (["paper, without", "paper, with", "p of so much more by chance (Fisher, one-sided)"],
                   [["16%", "60%", f"{chance:.2g}"]])  # fmt: skip
    return {TITLE: shares, "against the paper's shares": told}


def _saturating(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """How many runs saturate, and of how many that cannot be judged."""
    judged = [verdict["saturates"] for verdict in verdicts if verdict["saturates"] is not None]
    if not judged:
        return "cannot be judged"
    return str(sum(judged)) + ("" if len(judged) == len(verdicts) else f" of {len(judged)} judged")
