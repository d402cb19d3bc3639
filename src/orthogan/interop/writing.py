"""An ordinary checkpoint from files of another project: which file is which part, and what the header says of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from orthogan.config import EmaConfig, RunConfig
from orthogan.errors import UserError
from orthogan.interop import archives, projects
from orthogan.interop.archives import Found
from orthogan.interop.foreign import Foreign, Hints, NotImportable, Part
from orthogan.interop.statistics import FACT, PART, Collected, of_rows
from orthogan.networks import DISCRIMINATORS, family_of
from orthogan.networks.base import DiscriminatorConfig
from orthogan.training import checkpoint

SUFFIXES = (".pth", ".pt", ".bin", ".pkl", ".ckpt", ".safetensors")
WEIGHTS = re.compile(
    r"(G|D|G_ema)(_\w+)?"  # BigGAN-PyTorch, with copies and best ones
    r"|model=(G|D|G_ema)-\w+-weights-step=\d+"  # StudioGAN
    r"|net[GD]\w*"  # mimicry
    r"|pytorch_model|network-snapshot-\d+"  # pytorch-pretrained-BigGAN, StyleGAN2-ADA and Projected GAN
)
"""Names of files with weights, without their suffix."""
NO_WEIGHTS = re.compile(r"[GD]_optim.*")
SETTINGS = "config.json"
PARTNERS = {
    "biggan": "biggan",
    "biggan-deep": "biggan-deep",
    "sngan": "sngan",
    "fastgan": "projected",
    "stylegan2": "stylegan2",
}
"""The discriminator that a generator is published with, for a file without one."""


@dataclass(frozen=True)
class Imported:
    """A part of the new checkpoint, and where it is from."""

    name: str
    title: str
    found: Found
    part: Part


@dataclass(frozen=True)
class Result:
    """What an import has found, and would write."""

    parts: Sequence[Imported]
    config: RunConfig
    tensors: dict[str, Tensor]
    header: checkpoint.Header
    remarks: tuple[str, ...]


def files_of(sources: Sequence[Path]) -> list[Path]:
    """The files with weights: those given, and of a folder those that are called as a known project calls them."""
    files: list[Path] = []
    for source in sources:
        if not source.exists():
            raise UserError(f"{source} does not exist; give a file, or a folder, of another project")
        files += in_folder(source) if source.is_dir() else [source]
    return list(dict.fromkeys(files))


def in_folder(folder: Path) -> list[Path]:
    """The files of one model in a folder. Raises `UserError` where there are several, or none."""
    there = [p for p in sorted(folder.iterdir()) if p.suffix in SUFFIXES and p.is_file()]
    named = [p for p in there if WEIGHTS.fullmatch(p.stem) and not NO_WEIGHTS.fullmatch(p.stem)]
    plain = [p for p in named if p.stem in ("G", "D", "G_ema")]
    chosen = plain or named
    if not chosen:
        seen = ", ".join(p.name for p in there[:5]) or "no weights at all"
        raise UserError(f"{folder} has no file that is called as a known project calls its weights ({seen}); name it")
    if len({role_of_name(p) for p in chosen}) < len(chosen):
        names = ", ".join(p.name for p in chosen[:6])
        raise UserError(f"{folder} holds several models ({names}); name the files of one")
    return chosen


def role_of_name(path: Path) -> str:
    """What a file is by its name; what is in it says whether that is so."""
    stem = path.stem.removeprefix("model=").lower()
    if "ema" in stem:
        return "ema"
    return "discriminator" if re.match(r"d(_|-|$)|netd", stem) else "generator"


def prepare(sources: Sequence[Path], bn_eps: float | None = None, statistics: bool = True) -> Result:
    """Read and convert all networks of these files. Raises `UserError`; nothing is written."""
    found = [network for path in files_of(sources) for network in archives.read(path)]
    # Generators first: a discriminator does not tell its resolution.
    foreign = [(f, Foreign(f.tensors, f.where)) for f in found]
    told = [(f, tensors, projects.recognized(tensors)) for f, tensors in foreign]
    parts: list[Imported] = []
    left: list[str] = []
    for f, tensors, kind in sorted(told, key=lambda row: "discriminator" in row[2].title):
        if kind.read is None and parts:
            left.append(f"{kind.title} is left out: {kind.instead}")
            continue
        attributes = {**archives.read_settings(f.path.with_name(SETTINGS)), **f.attributes}
        side = next((p.part.resolution for p in parts if p.part.is_generator), None)
        title, part = projects.convert(tensors, Hints(attributes, bn_eps, side))
        parts.append(Imported(part_name(f, part), title, f, part))
    check_together(parts)
    return assembled(parts, statistics, tuple(left))


def part_name(found: Found, part: Part) -> str:
    """The part of a checkpoint that a network becomes."""
    if not part.is_generator:
        return "discriminator"
    if part.is_average:
        return "ema"
    return found.part or role_of_name(found.path).replace("discriminator", "generator")


def check_together(parts: Sequence[Imported]) -> None:
    """One network for each part, generators of one architecture, and a discriminator for their images."""
    names = [p.name for p in parts]
    for name in set(names):
        if names.count(name) > 1:
            files = ", ".join(str(p.found.path) for p in parts if p.name == name)
            raise NotImportable(f"several files are the {name} ({files}); give one")
    generators = [p for p in parts if p.part.is_generator]
    if not generators:
        raise NotImportable(f"{parts[0].found.where} is {parts[0].title} alone; give the generator's file too")
    first = generators[0].part
    for other in parts:
        same = other.part.config == first.config or not other.part.is_generator
        shape = (other.part.resolution, other.part.n_classes)
        if not same or shape != (first.resolution, first.n_classes):
            raise NotImportable(
                f"{other.found.where} does not belong to {generators[0].found.where}: {shape[0]} pixels and {shape[1]} "
                f"classes, or another architecture, instead of {first.resolution} and {first.n_classes}"
            )


def assembled(parts: Sequence[Imported], statistics: bool, remarks: tuple[str, ...]) -> Result:
    """The configuration, tensors and header of the new file."""
    by_name = {p.name: p for p in parts}
    # Samples are drawn from the part called ema: without an average it is the generator itself.
    sampled = by_name.get("ema") or by_name["generator"]
    g = sampled.part
    d = by_name.get("discriminator")
    run = RunConfig(
        resolution=g.resolution,
        n_classes=g.n_classes,
        generator=g.config,
        discriminator=partner(g) if d is None else d.part.config,
        ema=EmaConfig(),
    )
    tensors = {f"{p.name}.{name}": tensor for p in parts for name, tensor in p.part.tensors.items()}
    if "ema" not in by_name:
        tensors |= {f"ema.{name}": tensor.clone() for name, tensor in g.tensors.items()}
    extra: dict[str, Any] = {
        "preset": "",
        "class_names": [],
        "imported": {
            "project": g.project,
            "parts": {p.name: {"file": p.found.path.name, "network": p.title} for p in parts},
            "sha256": {path.name: archives.sha256(path) for path in {p.found.path for p in parts}},
        },
    }
    if statistics:
        extra[FACT] = of_rows(g.thresholds) if g.thresholds else Collected().facts()
        tensors |= {f"{PART}.{name}": tensor for name, tensor in g.rows.items()}
    told = tuple(dict.fromkeys(remark for p in parts for remark in p.part.remarks))
    return Result(parts, run, tensors, checkpoint.Header(run, 0, 0, extra), (*told, *remarks))


def partner(g: Part) -> DiscriminatorConfig:
    """The settings of the discriminator that such a generator is published with, at its resolution and width."""
    begun = DISCRIMINATORS[PARTNERS[family_of(g.config)]].config.at(g.resolution)
    try:
        wide = begun.as_wide_as(g.config)
        wide.check(g.resolution, g.n_classes)
    except UserError:  # too narrow for its attention, such as the networks of tests
        return begun
    return wide


def write(result: Result, out: Path) -> None:
    """Raises `CannotWrite`."""
    checkpoint.save(out, result.tensors, result.header)
