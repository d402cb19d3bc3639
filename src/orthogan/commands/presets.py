"""`orthogan presets`, `orthogan presets show NAME`, `orthogan presets diff A B`."""

from orthogan import presets
from orthogan.config import differences, flatten
from orthogan.errors import UserError, unknown
from orthogan.reports import console, table

USAGE = "usage: orthogan presets [show NAME | diff A B]"


def main(argv: list[str]) -> int:
    match argv:
        case []:
            rows = [[name, presets.describe(name)] for name in presets.PRESETS]
            table("presets", ["name", "what it is"], rows)
        case ["show", name]:
            show(presets.get(name), name)
        case ["diff", a, b]:
            rows = [[path, repr(x), repr(y)] for path, x, y in differences(presets.get(a), presets.get(b))]
            table(f"{a} against {b}", ["setting", a, b], rows)
        case ["-h" | "--help", *_]:
            console.print(USAGE, markup=False)
        case ["show" | "diff", *_]:
            raise UserError(f"`orthogan presets {' '.join(argv)}` names too few or too many presets; {USAGE}")
        case [word, *_]:
            raise unknown("word after `orthogan presets`", word, ["show", "diff"])
    return 0


def show(config: object, title: str) -> None:
    """Every setting with its value."""
    table(title, ["setting", "value"], [[path, repr(value)] for path, value in flatten(config).items()])
