"""Options that several commands share."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from orthogan.commands.parsing import parse as parse  # for the commands, which find all about options here
from orthogan.config import RunConfig
from orthogan.game.latents import check_truncation
from orthogan.model import Model, load


def run_type(config: RunConfig[Any]) -> Any:
    """The type that gives tyro a run's settings with those of its family."""
    return RunConfig[type(config.network)]  # type: ignore[misc]


SHORT = {"--data": "--data.source", "--stabilizer": "--network.stabilizer", "--latent": "--network.latent"}


SHORTENED = "Short: " + ", ".join(f"{short} for {whole}" for short, whole in SHORT.items()) + "."


def expand(argv: list[str]) -> list[str]:
    """`--data X` is short for `--data.source X`, and so on; the stabiliser wgan-gp brings its loss along."""
    pairs = [given.split("=", 1) if given.startswith("--") else [given] for given in argv]
    words = [SHORT.get(word, word) for pair in pairs for word in pair]
    of_wgan = (SHORT["--stabilizer"], "wgan-gp") in itertools.pairwise(words)
    return [*words, "--loss", "wasserstein"] if of_wgan and "--loss" not in words else words


def read_classes(words: list[str]) -> tuple[int, ...] | None:
    """`3,7` or `0-4` as class indices."""
    text = words[0]
    if text.lower() == "none":
        return None
    chosen: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise ValueError(f"classes={text!r}: must be class indices such as 3,7 or 0-4")
        if last and int(last) < int(first):
            raise ValueError(f"classes={text!r}: the range {part} runs backwards")
        chosen.extend(range(int(first), int(last or first) + 1))
    return tuple(chosen)


Classes = Annotated[
    tuple[int, ...] | None,
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="3,7|0-4",
        instance_from_str=read_classes,
        is_instance=lambda value: value is None or isinstance(value, tuple),
        str_from_instance=lambda value: ["none" if value is None else ",".join(map(str, value))],
    ),
]
"""A list of classes as people write one."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Which generator to draw from, and how."""

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_FILE")]
    """A run folder (its newest checkpoint) or a checkpoint file."""
    seed: int = 0
    """The same seed gives the same images, however many are asked for."""
    device: str | None = None
    """cpu, cuda or cuda:1; the GPU if there is one."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Arithmetic; auto is bf16 where the processor is fast at it."""

    def load(self) -> Model:
        return load(self.model, self.device, self.precision)


@dataclass(frozen=True, kw_only=True)
class Truncated(Checkpoint):
    """With the truncation trick."""

    truncation: float | None = None
    """Redraw every component of z beyond this threshold; smaller is more typical and less varied."""
    form: Literal["redraw", "scaled"] = "redraw"
    """The paper's truncation, or the released models' (a threshold in (0, 1] times a normal cut at 2)."""

    def __post_init__(self) -> None:
        check_truncation(self.truncation, self.form)
