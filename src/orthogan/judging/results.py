"""Files of scores with their protocol: what they are called, and that none takes the place of another. No PyTorch."""

import itertools
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orthogan import hub
from orthogan.errors import UserError
from orthogan.files import check_writable, write_whole
from orthogan.judging.request import Request, is_model, run_folder
from orthogan.settings import digest_of_text, require

NAMES = "scores*.json"
"""What is looked for in folders."""


def default_out(request: Request, protocol: dict[str, Any], kind: str = "scores") -> Path:
    """<kind>[-<what>]-<features>[-<images seen>]-n<N>[-t<truncation>][-s<seed>]-<protocol>.json.

    The last is a digest of the whole protocol. A run's scores lie beside its other files, and others in the current
    folder, with the name of what was scored.
    """
    folder = run_folder(request.path) if is_model(request.path) else None
    what = [] if folder is not None else [_name_of(request.path)]
    parts = [kind, *what, request.features]
    if (seen := protocol.get("generator", {}).get("images_seen")) is not None:
        parts.append(str(seen))
    parts.append(f"n{protocol['generated']['images']}")
    if request.truncation is not None:
        parts.append(f"t{request.truncation:g}")
    if request.seed:
        parts.append(f"s{request.seed}")
    parts.append(digest_of(protocol))
    return (folder or Path()) / ("-".join(map(_as_name, parts)) + ".json")


def _name_of(path: Path) -> str:
    """Of what was scored; of hf://owner/name both."""
    return "-".join(path.parts[1:]) if hub.is_address(path) else path.resolve().stem


def digest_of(protocol: dict[str, Any]) -> str:
    """Eight digits that change with anything in a protocol."""
    return digest_of_text(json.dumps(protocol, sort_keys=True), 4)


def _as_name(text: str) -> str:
    """Without what file systems or shells take for something else."""
    return re.sub(r"[^\w.+]+", "-", text)


def check_out(out: Path | None, source: Path) -> None:
    """Refuse a file of results that cannot be written, before they take their minutes; None is the usual place."""
    if out is None:
        folder = run_folder(source) if is_model(source) else None
        check_writable((folder or Path()) / "scores.json")
        return
    require(out.suffix == ".json", "out", str(out), "must end in .json; pictures are named after it")
    require(not out.is_dir(), "out", str(out), "is a folder; give a file in it")
    check_writable(out)


def write(path: Path, result: dict[str, Any]) -> None:
    """Write the whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def free_name(path: Path, protocol: dict[str, Any], beside: Sequence[str] = ()) -> Path:
    """The path, or the next of name-2, name-3 ... that holds no score by another protocol.

    Where nothing differs the digits are the same too, and the file may be written again, and so may what was written
    with it: files of its stem and the endings `beside`, of which a name without a score must have none.
    """

    def is_free(name: Path) -> bool:
        if name.exists():
            return protocol_in(name) == plain(protocol)
        return not any(name.with_name(name.stem + ending).exists() for ending in beside)

    names = itertools.chain([path], (path.with_stem(f"{path.stem}-{i}") for i in itertools.count(2)))
    return next(filter(is_free, names))


def read(path: Path) -> dict[str, Any]:
    """A file of scores, all of them finite and their intervals sound. Raises `UserError` for any other."""
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        sections = [result["scores"], result["protocol"], result["protocol"]["generated"]]
        sections += [result["protocol"][name] for name in ("features", "real", "settings")]
        sections.append(result["protocol"].get("generator", {}))
        sound = all(isinstance(section, dict) for section in sections)
        sound = sound and isinstance(result["protocol"]["features"]["network"], str)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not a file of scores that `orthogan evaluate` wrote ({type(error).__name__})"
        ) from error
    if not sound:
        raise UserError(f"{path}: not a file of scores that `orthogan evaluate` wrote")
    check_numbers(path, result)
    return result


def check_numbers(path: Path, result: dict[str, Any]) -> None:
    """Refuse scores and intervals that cannot be ranked, naming the file and the entry."""

    def demand(holds: bool, entry: str, value: Any, rule: str) -> None:
        if not holds:
            raise UserError(f"{path}: {entry}={value!r}: {rule}; the file is damaged, score again")

    for name, value in result["scores"].items():
        demand(_is_finite(value), f"scores.{name}", value, "must be a finite number")
    intervals = result.get("intervals", {})
    demand(isinstance(intervals, dict), "intervals", intervals, "must be a pair of numbers for each score")
    for name, pair in intervals.items():
        sound = isinstance(pair, list) and len(pair) == 2 and all(map(_is_finite, pair)) and pair[0] <= pair[1]
        demand(sound, f"intervals.{name}", pair, "must be a pair of finite numbers, the lower first")
    how = result["protocol"].get("intervals")
    level: Any = how.get("level") if isinstance(how, dict) else None
    sound = not intervals or (_is_finite(level) and 0 < level < 1)
    demand(sound, "protocol.intervals.level", level, "must be a number between 0 and 1")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def find(given: Path) -> list[Path]:
    """The files of scores that a person means: a file, or all of a run or of a folder of runs, in order."""
    given = given.expanduser()
    if given.is_file():
        return [given]
    if not given.is_dir():
        raise UserError(f"{given}: no such file or folder; give files of scores, runs, or folders of them")
    found = within(given)
    if not found:
        raise UserError(
            f"{given}: no file {NAMES} in it; `orthogan evaluate {given} --against DATA` makes them, and files of "
            "other names are given one by one"
        )
    return found


def within(folder: Path) -> list[Path]:
    """The files of scores in a folder and those below it, in order."""
    return sorted(folder.rglob(NAMES))


def protocol_in(path: Path) -> Any:
    """The protocol of a score file; None for any other file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["protocol"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def plain(values: dict[str, Any]) -> Any:
    """As JSON gives it back: tuples are lists there."""
    return json.loads(json.dumps(values))
