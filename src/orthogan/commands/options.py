"""Options that several commands share."""

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from orthogan.commands.parsing import option
from orthogan.commands.parsing import parse as parse  # for the commands, which find all about options here
from orthogan.data.sources import refuse_inside_data
from orthogan.formats import renamed
from orthogan.model import Model, load
from orthogan.networks import DISCRIMINATORS, GENERATORS, table
from orthogan.nn.stabilizers import STABILIZERS
from orthogan.settings import require

SHORT = {
    "data": ("data.source",),
    "width": ("generator.width", "discriminator.width"),
    "stabilizer": ("discriminator.stabilizer",),
    "latent": ("generator.latent",),
    "augment": ("augment.kind",),
    "init": ("init.file",),
    "on_collapse": ("watch.on_collapse",),
}
"""Short forms of settings, and the paths that they stand for."""

SHORTENED = (
    "Short: "
    + ", ".join(
        f"--{short.replace('_', '-')} for {' and '.join(f'--{path}'.replace('_', '-') for path in paths)}"
        for short, paths in SHORT.items()
    )
    + f". Other networks: --generator NAME ({', '.join(GENERATORS)}), --discriminator NAME "
    f"({', '.join(DISCRIMINATORS)})."
)
CHOSEN = ("--generator", "--discriminator")


def separate(argv: list[str]) -> list[str]:
    """`--name=value` as two words."""
    return [word for given in argv for word in (given.split("=", 1) if given.startswith("--") else [given])]


def choose(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """The networks that `--generator NAME` and `--discriminator NAME` ask for, by role, and the other words."""
    chosen: dict[str, str] = {}
    rest: list[str] = []
    left = iter(words)
    for word in left:
        if word in CHOSEN:
            role = word[2:]
            chosen[role] = next(left, "")
            named = chosen[role] != "" and not chosen[role].startswith("-")
            require(named, word, chosen[role], f"give a name: {', '.join(table(role))}")
        else:
            rest.append(word)
    return chosen, rest


def expand(words: list[str], known: Collection[str]) -> list[str]:
    """Short forms and old names as options of the known paths; a stabiliser that goes with one loss brings it along."""
    expanded: list[str] = []
    for given, *values in _options(words):
        for name in _whole(given, known):
            expanded += [name, *values]
    chosen = [value for word, value in itertools.pairwise(expanded) if word == "--discriminator.stabilizer"]
    kind = STABILIZERS.get(chosen[-1]) if chosen else None
    return [*expanded, "--loss", kind.loss] if kind and kind.loss and "--loss" not in expanded else expanded


def _options(words: list[str]) -> Iterator[list[str]]:
    """Each option with the words that follow it."""
    found: list[str] = []
    for word in words:
        if word.startswith("--") and found:
            yield found
            found = []
        found.append(word)
    if found:
        yield found


def _whole(option: str, known: Collection[str]) -> list[str]:
    """`--network.no-skip-z` as `--generator.no-skip-z`, `--width` as both widths; any other word as it is."""
    if not option.startswith("--"):
        return [option]
    room, dot, name = option[2:].replace("-", "_").rpartition(".")
    no = "no_" * name.startswith("no_")
    path = f"{room}{dot}{name.removeprefix('no_')}"
    found = [new for new in SHORT.get(path, ()) if new in known] or renamed(path, known)
    moved = [new.rpartition(".") for new in found]
    return [f"--{room}{dot}{no}{name}".replace("_", "-") for room, dot, name in moved] or [option]


Classes = Annotated[str | None, option(metavar="NAME,3,0-4")]
"""A list of classes as people write one: see `orthogan.classes.read`."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Which generator to draw from, and how."""

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_FILE")]
    """A run folder (its newest checkpoint), a checkpoint file or hf://OWNER/NAME."""
    seed: int = 0
    """The same seed gives the same images, however many are asked for."""
    device: Annotated[str | None, option(metavar="NAME")] = None
    """cpu, cuda or cuda:1; if left out the GPU if there is one."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """Arithmetic; auto is bf16 where the processor is fast at it."""
    noise: Annotated[Literal["random", "const", "none"] | None, tyro.conf.DisallowNone, option()] = None
    """Noise inside a generator that has any: of each image its own, the same for all, or none; if left out of each its
    own, but the same for all on a walk."""

    def load(self, out: Path) -> Model:
        """The generator, unless `out` lies among its data."""
        model = load(self.model, self.device, self.precision, noise=self.noise, cutoff=self._cutoff())
        refuse_inside_data(out, model.header.config.data.source)
        return model

    def _cutoff(self) -> int | None:
        return None


@dataclass(frozen=True, kw_only=True)
class Truncated(Checkpoint):
    """With the truncation trick."""

    truncation: Annotated[float | None, option(metavar="T")] = None
    """Redraw every component of z beyond this threshold; psi of a StyleGAN2, the share of the way from the mean of w.
    Smaller is more typical and less varied; none if left out."""
    form: Literal["redraw", "scaled"] = "redraw"
    """The paper's truncation of z, or the released models' (a threshold in (0, 1] times a normal cut at 2)."""
    cutoff: Annotated[int | None, option(metavar="N")] = None
    """How many of the first layers psi acts on; all if left out."""

    def _cutoff(self) -> int | None:
        return self.cutoff
