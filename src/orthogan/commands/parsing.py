"""Words of a command line into options: tyro over dataclasses, and one style of error. Free of PyTorch."""

import contextlib
import dataclasses
import difflib
import functools
import io
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo

from orthogan.errors import UserError, one_line, unknown

INSTEAD = {
    "--data.source": "the images are given by --data SOURCE",
    "--images": "the length of a run is counted in images shown to D: --images N (epochs times the images of the data, "
    "or steps times the images of a step)",
    "--batch": "the images of a step are --batch N",
    "--optimizer.g-lr": "the learning rates are --optimizer.g-lr X and --optimizer.d-lr X",
    "--resolution": "the side of the images is --resolution PIXELS",
    "--device": "the device is --device cpu, cuda or cuda:1; several GPUs: torchrun --nproc-per-node N -m orthogan ...",
    "--out": "the place to write to is --out PATH",
    "-n": "how many images is -n N",
}
"""What to write instead, by the option that must be there to be written."""

ELSEWHERE = {
    "--data.source": ("dataset", "data-dir", "data-root", "dataroot", "data-path", "source", "input", "train-dir"),
    "--images": ("epochs", "num-epochs", "n-epochs", "steps", "iterations", "iters", "max-steps", "kimg", "total-kimg"),
    "--batch": ("batch-size", "bs", "batchsize"),
    "--optimizer.g-lr": ("lr", "learning-rate"),
    "--resolution": ("image-size", "img-size", "size"),
    "--device": ("gpu", "gpus", "cuda", "num-gpus"),
    "--out": ("outdir", "out-dir", "output", "output-dir", "name", "save-dir", "o"),
    "-n": ("num", "num-images", "num-samples", "count", "samples", "number"),
}
"""Names of the same settings in other programs."""


REFUSED = 2
"""Status with which tyro ends the program, after it has printed why."""

OPTIONS = ConstructorRegistry()
_asked: list[StructTypeInfo] = []


@OPTIONS.struct_rule
def in_one_paragraph(options: StructTypeInfo) -> StructConstructorSpec | None:
    """What tyro makes of a class, its help unwrapped: tyro 1.0 keeps breaks where later lines are indented."""
    if not dataclasses.is_dataclass(options.type) or options in _asked:
        return None
    _asked.append(options)
    try:
        found = ConstructorRegistry.get_struct_spec(options)
    finally:
        _asked.remove(options)
    if not isinstance(found, StructConstructorSpec):
        return None
    fields = (dataclasses.replace(field, helptext=_unwrapped(field.helptext)) for field in found.fields)
    return dataclasses.replace(found, fields=tuple(fields))


def _unwrapped(help_text: str | Callable[[], str | None] | None) -> str | None:
    text = help_text() if callable(help_text) else help_text
    return None if text is None else one_line(text)


def parse(cls: Any, argv: list[str], command: str, description: str | None = None, default: Any = None) -> Any:
    """Fill `cls` from the words of a command line. `--help` prints and leaves with status 0.

    Raises `UserError` for words that do not fit, with the nearest that would.
    """
    how: dict[str, Any] = {"prog": f"orthogan {command}", "description": description, "registry": OPTIONS}
    if default is not None:
        how["default"] = default
    return plainly(lambda: tyro.cli(cls, args=argv, **how), lambda: option_names(cls, **how), argv, command)


def run_one(functions: dict[str, Callable[..., int]], argv: list[str], command: str) -> int:
    """Call the function that the first word names with the arguments that the others give: `orthogan data clear`."""

    def later(function: Callable[..., int]) -> Callable[..., Callable[[], int]]:
        @functools.wraps(function)
        def bound(*args: Any, **kwargs: Any) -> Callable[[], int]:
            return functools.partial(function, *args, **kwargs)

        return bound

    choices = {name: later(function) for name, function in functions.items()}
    call: Callable[[], int] = plainly(
        lambda: tyro.extras.subcommand_cli_from_dict(choices, args=argv, prog=f"orthogan {command}", registry=OPTIONS),
        lambda: set().union(*map(option_names, functions.values())),
        argv,
        command,
    )
    return call()


def plainly(read: Callable[[], Any], options: Callable[[], set[str]], argv: list[str], command: str) -> Any:
    """What `read` makes of `argv`; its refusals, which tyro prints in boxes, become errors of one line."""
    if {"-h", "--help"} & set(argv):
        return read()
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told), unwrapped():
            return read()
    except SystemExit as stop:
        if stop.code != REFUSED or not told.getvalue():  # help, or a signal that came meanwhile
            raise
        raise refusal(stop, told.getvalue(), argv, command, options) from None


@contextlib.contextmanager
def unwrapped() -> Iterator[None]:
    """Inside, messages are not folded to the terminal's width."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100000"
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def option_names(cls: Any, **how: Any) -> set[str]:
    """All options of a command and of its sub-commands, such as --seed and -n."""
    found: set[str] = set()
    parsers = [tyro.extras.get_parser(cls, **how)]
    while parsers:
        for action in parsers.pop()._actions:
            found.update(action.option_strings)
            if isinstance(action.choices, dict):
                parsers.extend(action.choices.values())
    return found


def refusal(stop: SystemExit, told: str, argv: list[str], command: str, options: Callable[[], set[str]]) -> UserError:
    """The error that stands behind tyro's end of the program: our own, or its box as one line."""
    cause: BaseException | None = stop
    while cause is not None:
        if isinstance(cause, UserError):
            return cause
        cause = cause.__cause__ or cause.__context__
    known = options()
    strange = [name for name in map(option_of, argv) if name and name not in known]
    if strange:
        return unknown_option(strange[0], known, command)
    return UserError(reworded(paragraphs(told), known, command))


def option_of(word: str) -> str | None:
    """`--batch_size=3` -> `--batch-size`; None for a word that is no long option."""
    return word.split("=")[0].replace("_", "-") if word.startswith("--") and len(word) > 2 else None


def unknown_option(name: str, known: Iterable[str], command: str) -> UserError:
    known = sorted(known)
    for option, others in ELSEWHERE.items():
        if option in known and name.lstrip("-") in others:
            return UserError(f"unknown option {name}; {INSTEAD[option]}")
    # `--g-lr` is the end of `--optimizer.g-lr`; else the nearest spelling.
    near = [k for k in known if k.endswith(f".{name[2:]}")] or difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return UserError(f"unknown option {name}; {hint}`orthogan {command} --help` lists all")


def paragraphs(box: str) -> list[list[str]]:
    """The lines of a box between its rules, without the frame and the title."""
    found: list[list[str]] = [[]]
    for line in box.splitlines()[1:-1]:
        inside = line.strip()[1:-1].rstrip()[1:]
        if inside and not inside.strip("─-"):
            found.append([])
        elif inside:
            found[-1].append(inside)
    return found


def reworded(told: list[list[str]], known: set[str], command: str) -> str:
    """One line in the package's words; what tyro says where it is none of the usual cases."""
    first = " ".join(line.strip() for line in told[0])
    see = f"`orthogan {command} --help` lists all options"
    choices = next((line.split(": ")[1].split(", ") for part in told for line in part if "subcommands: " in line), [])
    if match := re.match(r"Unrecognized options: (.*)", first):
        word = match[1].split(", ")[0]
        if choices:
            return str(unknown(f"word after `orthogan {command}`", word, choices))
        if "--data.source" in known:
            return f"unexpected word {word!r}; to read images from it write --data {shlex.quote(word)}"
        return f"unexpected word {word!r}; {see}"
    if match := re.match(r"Expected one of {(.*)}", first):
        return f"`orthogan {command}` needs one of these words next: {match[1]}"
    if first.startswith("Missing from"):
        names = [line.strip() for line in told[0] if re.match(r" {4}\S", line)]
        return f"`orthogan {command}` needs {' and '.join(names)}; {see}"
    if match := re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)\.", first):
        return str(unknown(f"value of {match[2]}:", match[1], re.findall(r"'([^']*)'", match[3])))
    if match := re.match(r"Missing value for argument '(.*?)'", first):
        return f"{match[1]}: needs a value; {see}"
    if match := re.match(r"Error parsing (\S+): (.*)", first):
        return f"{match[1]}: {kind_of_number(match[2])}"
    return f"{first}; {see}"


def kind_of_number(reason: str) -> str:
    """What Python says of a word that is no number, for people."""
    for says, rule in (("int() with base 10", "a whole number"), ("convert string to float", "a number")):
        if match := re.search(rf"{re.escape(says)}: ('.*?')", reason):
            return f"must be {rule}, not {match[1]}"
    return reason


REQUIRED = "(required)"
"""Hint of a list of words without which there is nothing to do, and of which a command says so itself."""


def option(**how: Any) -> Any:
    """Of an option whose sentence says what is done when it is left out: no `default: None` after that."""
    return tyro.conf.arg(**{"help_behavior_hint": _unless_none} | how)


def _unless_none(default: str) -> str:
    return "" if default == "None" else f"(default: {default})"
