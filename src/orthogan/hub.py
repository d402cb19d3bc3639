"""Models of the Hugging Face hub by `hf://owner/name`, found through that library and its cache, offline too."""

import re
from pathlib import Path

from orthogan import optional
from orthogan.errors import UserError, one_line

WEIGHTS = "model.safetensors"
"""The file of a model's repository that is a checkpoint."""
ADDRESS = re.compile(r"hf://?(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
"""With one slash too, which is what a path makes of two."""


def is_address(path: str | Path) -> bool:
    return str(path).startswith("hf:/")


def local(path: str | Path) -> Path:
    """The file that an address means, downloaded unless the cache has it; any other path as it is.

    `hf://owner/name@revision` is a branch, a tag or a commit. Raises `UserError`.
    """
    if not is_address(path):
        return Path(path)
    found = ADDRESS.fullmatch(str(path))
    if found is None:
        raise UserError(f"{path}: not an address of the hub; write hf://owner/name, or hf://owner/name@revision")
    hub = optional.need("huggingface_hub", "hub", "hf://owner/name")
    repository = f"{found['owner']}/{found['name']}"
    try:
        return Path(hub.hf_hub_download(repository, WEIGHTS, revision=found["revision"]))
    except (OSError, ValueError, RuntimeError) as error:  # what the library raises of HTTP is an OSError
        why = one_line(error, 200)
        raise UserError(
            f"hf://{repository} cannot be had: no {WEIGHTS} of it in the cache, and none from the hub ({why}); check "
            "the name, the network, and for a private one `hf auth login`"
        ) from error
