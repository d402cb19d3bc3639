"""`orthogan doctor`."""

import importlib
import os
import platform
from typing import Any

import orthogan
from orthogan import optional
from orthogan.errors import UserError
from orthogan.features import weights
from orthogan.reports import console, table

FOR_WORK_ON_IT = "dev"
"""The extra that only those need who change orthogan itself."""


def machine() -> list[list[str]]:
    rows = [["orthogan", orthogan.__version__], ["Python", platform.python_version()]]
    core = optional.requirements()[""]
    rows += [[name, optional.version(name) or f"missing: pip install {name}"] for name in core]
    rows.append(["processor", f"{processor()}, {os.cpu_count()} cores"])
    return rows + pytorch()


def pytorch() -> list[list[str]]:
    """What only PyTorch knows; looked for by name, so that a machine without it is told so."""
    try:
        torch: Any = importlib.import_module("torch")
        runtime: Any = importlib.import_module("orthogan.runtime")
    except (ImportError, OSError) as error:
        return [["PyTorch", f"cannot be imported, so nothing can be trained or sampled: {error}; pip install torch"]]
    cpu_is_fast = runtime.bf16_is_fast(torch.device("cpu"))
    rows = [
        ["threads", f"{torch.get_num_threads()} in use"],
        ["bf16 on the processor", "fast" if cpu_is_fast else "slow: float32 is used"],
    ]
    device = runtime.pick_device()
    if device.type != "cuda":
        return [*rows, ["GPU", "none that PyTorch can use; everything runs on the processor"]]
    memory = torch.cuda.get_device_properties(device).total_memory / 2**30
    return [
        *rows,
        ["GPU", f"{torch.cuda.get_device_name(device)}, {memory:.0f} GiB"],
        ["bf16 on the GPU", "fast" if runtime.bf16_is_fast(device) else "slow: float32 is used"],
    ]


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def extras() -> list[list[str]]:
    rows = []
    for extra, packages in optional.requirements().items():
        if extra in ("", FOR_WORK_ON_IT):
            continue
        missing = [name for name in packages if optional.version(name) is None]
        state = f"missing {', '.join(missing)}: {optional.install(extra)}" if missing else "installed"
        rows.append([extra, state])
    return rows


def feature_weights() -> list[list[str]]:
    rows = []
    for name in weights.NETWORKS:
        try:
            rows.append([name, str(weights.locate(name))])
        except UserError as error:
            rows.append([name, f"missing: {error}"])
    return rows


def main(argv: list[str]) -> int:
    if argv and argv[0] in ("-h", "--help"):
        console.print(
            "usage: orthogan doctor\n\nPrints versions, processor, GPU, feature weights, and what is missing."
        )
        return 0
    if argv:
        raise UserError(f"`orthogan doctor` takes no options, not {argv[0]!r}")
    table("this machine", ["what", "found"], machine())
    table("extras", ["extra", "state"], extras())
    table("feature networks for scores", ["network", "weights"], feature_weights())
    return 0
