"""One file of a generator: normalised weights and the standing statistics of a truncation, as a checkpoint of orthogan.

A weight that spectral norm divides is stored divided. With the singular vectors that it was divided by, its largest
singular value is 1, and a network with spectral norm that reads it computes the same.
"""

from pathlib import Path

import torch
from torch import Tensor

from orthogan.interop.statistics import FACT, Collected
from orthogan.model import Model
from orthogan.nn.spectral import normalized_layers
from orthogan.settings import override
from orthogan.training import checkpoint

KEPT = ("preset", "class_names", "data", "imported")
"""Facts of a checkpoint that its file keeps: nothing of the machine that it was trained on."""


def header_of(model: Model) -> checkpoint.Header:
    """What the file says of itself: the run's settings without the place of its data, and the statistics it holds."""
    header, sampler = model.header, model.sampler
    assert sampler.standing is not None
    truncation, form, batches, _ = sampler.standing
    noise = sampler.generator.noise if sampler.generator.noise_modes else None
    collected = Collected(truncation, form, batches, noise)
    facts = {name: header.extra[name] for name in KEPT if name in header.extra}
    config = override(header.config, {"data.source": ""})
    return checkpoint.Header(config, header.images, header.steps, {**facts, FACT: collected.facts()})


@torch.no_grad()
def tensors_of(model: Model) -> dict[str, Tensor]:
    """The state of the generator, its normalised weights divided."""
    generator = model.sampler.generator
    tensors = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    for path, layer in normalized_layers(generator):
        tensors[f"{path}.weight"] = layer.weight_in_use().clone()
    return tensors


def write_weights(model: Model, path: Path, truncation: float | None = None, form: str = "redraw") -> None:
    """Write the file, with standing statistics at this truncation. Raises `CannotWrite`."""
    model.stand(truncation, form)
    tensors = {f"ema.{name}": tensor for name, tensor in tensors_of(model).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(path, tensors, header_of(model))
