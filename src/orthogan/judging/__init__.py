"""What scores a run, a checkpoint or images against data.

    result = score(Request(source="runs/digits", against="digits"))
    results.write(results.free_name(Path("scores.json"), result["protocol"]), result)

Within `all_processes`, the processes of torchrun share the work. `comparison` ranks results of one protocol. It,
`request` and `results` run without PyTorch. The others need it, and are imported when first used, so that a request is
refused, or missing weights are told, in a moment.
"""

import importlib
from typing import TYPE_CHECKING, Any

from orthogan.judging.request import How, Request

if TYPE_CHECKING:
    from orthogan.judging.joining import all_processes
    from orthogan.judging.scoring import score

__all__ = ["How", "Request", "all_processes", "score"]


def __getattr__(name: str) -> Any:
    if name == "score":
        return importlib.import_module("orthogan.judging.scoring").score
    if name == "all_processes":
        return importlib.import_module("orthogan.judging.joining").all_processes
    raise AttributeError(f"module 'orthogan.judging' has no attribute {name!r}")
