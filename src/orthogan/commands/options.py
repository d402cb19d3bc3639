"""How commands read their options: tyro over dataclasses, with two words of help."""

from typing import Any

import tyro


def parse(cls: Any, argv: list[str], command: str, description: str, default: Any = None) -> Any:
    """Fill `cls` from the words of a command line. Unknown options end the program with status 2 and a suggestion."""
    how = {} if default is None else {"default": default}
    return tyro.cli(cls, args=argv, prog=f"orthogan {command}", description=description, **how)


def expand_data(argv: list[str]) -> list[str]:
    """`--data X` is short for `--data.source X`."""
    return ["--data.source" + word.removeprefix("--data") if word.split("=")[0] == "--data" else word for word in argv]
