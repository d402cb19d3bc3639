"""Files of scores with their protocol: what they are called, and that none takes the place of another. No PyTorch."""

import itertools
import json
from pathlib import Path
from typing import Any

from orthogan.files import write_whole
from orthogan.judging.request import Request, is_model, run_folder


def default_out(request: Request, protocol: dict[str, Any], what: str = "scores") -> Path:
    """scores-<features>[-<images seen>]-n<N>[-t<truncation>][-s<seed>].json, beside the run's other files."""
    parts = [what, request.features]
    if (seen := protocol.get("generator", {}).get("images_seen")) is not None:
        parts.append(str(seen))
    parts.append(f"n{protocol['generated']['images']}")
    if request.truncation is not None:
        parts.append(f"t{request.truncation:g}")
    if request.seed:
        parts.append(f"s{request.seed}")
    folder = run_folder(request.path) if is_model(request.path) else None
    return (folder or Path()) / ("-".join(parts) + ".json")


def write(path: Path, result: dict[str, Any]) -> None:
    """Write the whole file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def free_name(path: Path, protocol: dict[str, Any]) -> Path:
    """The path, or the next of name-2, name-3 ... that holds no score by another protocol.

    Where nothing differs the digits are the same too, and the file may be written again.
    """
    names = itertools.chain([path], (path.with_stem(f"{path.stem}-{i}") for i in itertools.count(2)))
    return next(name for name in names if not name.exists() or protocol_in(name) == plain(protocol))


def protocol_in(path: Path) -> Any:
    """The protocol of a score file; None for any other file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))["protocol"]
    except (ValueError, KeyError, TypeError):
        return None


def plain(values: dict[str, Any]) -> Any:
    """As JSON gives it back: tuples are lists there."""
    return json.loads(json.dumps(values))
