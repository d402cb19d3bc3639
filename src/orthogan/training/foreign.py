"""Checkpoints of other programs: told apart by their first bytes, never opened further. Free of PyTorch."""

import shlex
from pathlib import Path

from orthogan.errors import UserError

KINDS = (
    (b"PK\x03\x04", "a zip file: of torch.save perhaps, by BigGAN-PyTorch, StudioGAN or another program"),
    (b"\x80", "a Python pickle: an old file of torch.save perhaps, or one of StyleGAN"),
    (b"\x89HDF", "an HDF5 file: of Keras perhaps"),
)
"""First bytes, and what has them."""

SUFFIXES = (".pth", ".pt", ".pkl", ".pickle", ".ckpt", ".tar", ".h5")
"""How such files are usually called."""


def refuse_foreign(path: Path) -> None:
    """Raise `UserError` for a file that another program has saved. No code in it is run."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        first = file.read(8)
    kind = next((what for magic, what in KINDS if first.startswith(magic)), None)
    # The header of a safetensors file begins with its length, which may begin with any byte, but goes on with zeros.
    if kind is not None and not first.endswith(b"\0\0\0\0"):
        raise UserError(
            f"{path} is {kind}; orthogan reads .safetensors checkpoints of its own, and makes one of some other "
            f"projects' files: orthogan import {shlex.quote(str(path))} --out model.safetensors"
        )
