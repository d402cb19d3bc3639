"""`orthogan presets`, `orthogan presets show NAME`, `orthogan presets diff A B`."""

from collections.abc import Iterable, Mapping

from orthogan import presets
from orthogan.config import RunConfig
from orthogan.errors import UserError, unknown
from orthogan.formats import to_json
from orthogan.reports import console, table
from orthogan.settings import differences, flatten

USAGE = "usage: orthogan presets [show NAME | diff A B]"


def main(argv: list[str]) -> int:
    match argv:
        case []:
            table("presets", ["name", "what it is", "settings from"], listed())
            explain(presets.SOURCES)
        case ["show", name]:
            whose = presets.sources(name)
            show(presets.get(name), name, whose)
            explain(whose.values())
        case ["diff", a, b]:
            found = differences(to_json(presets.get(a)), to_json(presets.get(b)))
            rows = [[path, repr(x), repr(y)] for path, x, y in found]
            table(f"{a} against {b}", ["setting", a, b], rows)
        case ["-h" | "--help", *_]:
            console.print(USAGE)
        case ["show" | "diff", *_]:
            raise UserError(f"`orthogan presets {' '.join(argv)}` names too few or too many presets; {USAGE}")
        case [word, *_]:
            raise unknown("word after `orthogan presets`", word, ["show", "diff"])
    return 0


def listed() -> list[list[str]]:
    """Name, description and sources of every preset; those of one kind at several sizes in one row."""
    kinds: dict[tuple[str, str, str], list[str]] = {}
    for name in presets.PRESETS:
        stem, _, side = name.rpartition("-")
        what, sources = presets.describe(name), ", ".join(presets.origins(name))
        of_sizes = side.isdigit() and f"at {side} px" in what
        kind = (stem, what.replace(f"at {side} px", "at R px"), sources) if of_sizes else (name, what, sources)
        kinds.setdefault(kind, []).append(name)
    rows = []
    for (stem, what, sources), names in kinds.items():
        if len(names) == 1:
            rows.append([names[0], presets.describe(names[0]), sources])
        else:
            rows.append([f"{stem}-R", f"{what} R: {', '.join(name.rpartition('-')[2] for name in names)}.", sources])
    return rows


def show(config: RunConfig, title: str, sources: Mapping[str, str] | None = None) -> None:
    """Every setting with its value, and whose that is where it is known."""
    rows = [[path, repr(value)] for path, value in flatten(to_json(config)).items()]
    if sources is None:
        table(title, ["setting", "value"], rows)
    else:
        table(title, ["setting", "value", "source"], [[path, value, sources[path]] for path, value in rows])


def explain(names: Iterable[str]) -> None:
    """Spell out those of the sources that occur."""
    occurring = set(names)
    table("sources", ["name", "what it is"], [[s, what] for s, what in presets.SOURCES.items() if s in occurring])
