"""The floors of the house: a module imports its own floor or a lower one, never in a circle, never from a function."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import orthogan

SOURCE = Path(orthogan.__file__).parent

FLOORS = {
    **dict.fromkeys(
        ("errors", "files", "optional", "randomness", "ranks", "runtime", "settings", "stop", "tensorfile"), 0
    ),
    **dict.fromkeys(("features", "nn", "game"), 1),
    "networks": 2,
    **dict.fromkeys(("classes", "data", "metrics", "pictures", "sampling", "stability"), 3),
    **dict.fromkeys(("config", "formats", "pair", "presets"), 4),
    **dict.fromkeys(("training", "interop", "hub"), 5),
    **dict.fromkeys(("judging", "model", "runs", "api", "exporting", "studies"), 6),
    **dict.fromkeys(("reports", "plots", "page", "commands", "cli", "__main__"), 7),
}
MAY_PRINT = {"reports", "commands", "cli"}


def module_name(path: Path) -> str:
    parts = [SOURCE.name, *path.relative_to(SOURCE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
BELOW_THE_ENTRY = [name for name in MODULES if name != "orthogan"]


def room(module: str) -> str:
    return module.split(".")[1]


def run_on_import(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node, the branches for type checkers left out."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield node
            yield from run_on_import(node)


def imported(tree: ast.AST) -> set[str]:
    """The modules of the package that a tree imports, whichever of the ways it does it in."""
    found: set[str] = set()
    for node in run_on_import(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            # A name put together while the program runs (the command table) cannot be followed.
            found |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return found & MODULES.keys()


def test_the_source_was_found():
    assert {"orthogan", "orthogan.config", "orthogan.nn.spectral", "orthogan.commands.train"} <= MODULES.keys()
    assert "orthogan.nn.spectral" in imported(TREES["orthogan.networks.biggan"])
    assert "orthogan.runtime" in imported(TREES["orthogan.sampling"])  # from orthogan import runtime


@pytest.mark.parametrize("module", BELOW_THE_ENTRY)
def test_every_module_has_a_floor(module):
    assert room(module) in FLOORS, "give the new room a floor in the table above"


@pytest.mark.parametrize("module", BELOW_THE_ENTRY)
def test_no_module_imports_a_higher_floor(module):
    floor = FLOORS[room(module)]
    higher = {m for m in imported(TREES[module]) - {"orthogan"} if FLOORS[room(m)] > floor}
    assert not higher, f"{module} is on floor {floor}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: imported(TREES[name]) - {"orthogan", name} for name in BELOW_THE_ENTRY}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", MODULES)
def test_no_import_statement_inside_a_function(module):
    functions = [n for n in ast.walk(TREES[module]) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = [n.lineno for f in functions for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert not inside, f"lines {inside}"


@pytest.mark.parametrize("module", [m for m in BELOW_THE_ENTRY if room(m) not in MAY_PRINT])
def test_only_reports_and_commands_print(module):
    tree = TREES[module]
    prints = [n.lineno for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "print"]
    assert not prints, f"lines {prints}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            assert all(name.split(".")[0] != "rich" for name in names), f"line {node.lineno}"


def test_import_orthogan_does_not_import_torch():
    assert "torch" not in {n.names[0].name for n in ast.walk(TREES["orthogan"]) if isinstance(n, ast.Import)}
    assert imported(TREES["orthogan"]) == {"orthogan.api"}  # through __getattr__ alone
