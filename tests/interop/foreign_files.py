"""The small checkpoints of other projects in `files/`, as people have them; see `make_foreign.py`."""

import gzip
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from orthogan.interop.writing import Result, prepare
from orthogan.networks import build_discriminator, build_generator
from orthogan.networks.base import Discriminator, Generator

FILES = Path(__file__).parent / "files"


def unpack(case: str, folder: Path) -> Path:
    """The folder, with all files of a case under the names that their project gives them."""
    folder.mkdir(exist_ok=True)
    for path in FILES.glob(f"{case}.*.gz"):
        (folder / path.name.removeprefix(f"{case}.").removesuffix(".gz")).write_bytes(
            gzip.decompress(path.read_bytes())
        )
    assert any(folder.iterdir())
    return folder


def outputs(case: str) -> dict[str, Tensor]:
    """What the project's own code made of some inputs."""
    return load_file(FILES / f"{case}.io.safetensors")


def imported(case: str, folder: Path) -> Result:
    return prepare([unpack(case, folder)])


def generator_of(result: Result) -> Generator:
    """The network that samples are drawn from, in evaluation."""
    config = result.config
    network = build_generator(config.generator, config.resolution, config.n_classes)
    network.load_state_dict(part(result, "ema"))
    return network.eval()


def discriminator_of(result: Result) -> Discriminator:
    config = result.config
    network = build_discriminator(config.discriminator, config.resolution, config.n_classes)
    network.load_state_dict(part(result, "discriminator"))
    return network.eval()


def part(result: Result, name: str) -> dict[str, Tensor]:
    tensors = result.tensors.items()
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors if key.startswith(f"{name}.")}


def squares(expected: dict[str, Tensor]) -> Tensor:
    """The images that a discriminator saw."""
    small = expected["squares"]
    size = int(expected["x_side"]) // small.shape[2]
    return small.repeat_interleave(size, 2).repeat_interleave(size, 3)


def thin(images: Tensor, like: Tensor) -> Tensor:
    """Images at the pixels that were kept."""
    every = images.shape[-1] // like.shape[-1]
    return images[..., ::every, ::every]


@torch.no_grad()
def apart(made: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest expected number or of 1."""
    assert made.shape == expected.shape
    return float((made - expected).abs().max() / expected.abs().max().clamp(min=1))
