"""Options that several commands share."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from orthogan.commands.parsing import parse as parse  # for the commands, which find all about options here
from orthogan.config import RunConfig
from orthogan.game.latents import check_truncation
from orthogan.game.regularizers import RENAMED
from orthogan.model import Model, load
from orthogan.nn.stabilizers import STABILIZERS
from orthogan.settings import require


def _option(path: str) -> str:
    """`optimizer.g_lr` -> `--optimizer.g-lr`."""
    return "--" + path.replace("_", "-")


def run_type(config: RunConfig[Any]) -> Any:
    """The type that gives tyro a run's settings with those of its family."""
    return RunConfig[type(config.network)]  # type: ignore[misc]


SHORT = {"--data": "--data.source", "--stabilizer": "--network.stabilizer", "--latent": "--network.latent"}


SHORTENED = "Short: " + ", ".join(f"{short} for {whole}" for short, whole in SHORT.items()) + "."


OLD = {_option(path): _option(now) for path, now in RENAMED.items()}
"""Options as they were called before, which are still understood."""


def expand(argv: list[str]) -> list[str]:
    """`--data X` is short for `--data.source X`, and so on; a stabiliser that goes with one loss brings it along."""
    pairs = [given.split("=", 1) if given.startswith("--") else [given] for given in argv]
    words = [_whole(word) for pair in pairs for word in pair]
    chosen = [value for word, value in itertools.pairwise(words) if word == SHORT["--stabilizer"]]
    kind = STABILIZERS.get(chosen[-1]) if chosen else None
    return [*words, "--loss", kind.loss] if kind and kind.loss and "--loss" not in words else words


def _whole(word: str) -> str:
    word = SHORT.get(word, word)
    return OLD.get(word.replace("_", "-"), word) if word.startswith("--") else word


Classes = Annotated[str | None, tyro.conf.arg(metavar="NAME,3,0-4")]
"""A list of classes as people write one: see `orthogan.classes.read`."""


def refuse_in_data(out: Path, model: Model) -> None:
    """Images that are written among the data that a generator learnt from would be learnt from next."""
    source = model.header.config.data.source
    if source in ("", "digits"):
        return
    data, place = Path(source).expanduser().resolve(), out.expanduser().resolve()
    inside = data.exists() and (place == data or data in place.parents)
    require(
        not inside, "out", str(out), f"is the data that the run was trained on, or inside it ({source}); go elsewhere"
    )


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

    def load(self, out: Path) -> Model:
        """The generator, unless `out` lies among its data."""
        model = load(self.model, self.device, self.precision)
        refuse_in_data(out, model)
        return model


@dataclass(frozen=True, kw_only=True)
class Truncated(Checkpoint):
    """With the truncation trick."""

    truncation: float | None = None
    """Redraw every component of z beyond this threshold; smaller is more typical and less varied."""
    form: Literal["redraw", "scaled"] = "redraw"
    """The paper's truncation, or the released models' (a threshold in (0, 1] times a normal cut at 2)."""

    def __post_init__(self) -> None:
        check_truncation(self.truncation, self.form)
