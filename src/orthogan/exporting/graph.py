"""A generator as a graph of ONNX: latents and classes in, images out, for any number of images at once.

Spectral norms and folded resampling are in the constants of the graph, as are the standing statistics. Noise inside is
constant or left out: that of each image is a hash of its latent's bits, which ONNX cannot compute.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from orthogan import optional
from orthogan.errors import UserError, one_line
from orthogan.files import aside
from orthogan.model import Model
from orthogan.nn.noise import NoiseInjection
from orthogan.settings import require

EXTRA, PURPOSE = "export", "a graph of ONNX"
TRACED = 2
"""Images that the graph is traced with; 1 would be taken for a fixed number."""
MOST_BYTES = 2**31 - 2**24
"""Of a file of ONNX, which is a protocol buffer."""


class Drawn(nn.Module):
    """A generator with the truncation of w that belongs to it."""

    def __init__(self, model: Model, truncation: float | None):
        super().__init__()
        self.generator = model.sampler.generator
        self._images, self._truncation = model.sampler.images, truncation

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return self._images(self._truncation, z, y)


def check_possible(model: Model) -> None:
    """Refuse, before any work, what cannot become a graph."""
    for module in ("onnx", "onnxscript"):
        if not optional.is_installed(module):
            raise optional.missing([module], EXTRA, PURPOSE)
    g = model.sampler.generator
    hashed = bool(g.noise_modes) and g.noise == "random"
    require(not hashed, "noise", "random", "ONNX cannot compute it: give --noise const or --noise none")
    require(model.sampler.precision == "float32", "precision", model.sampler.precision, "a graph is float32")
    size = sum(tensor.nbytes for tensor in g.state_dict().values())
    rule = f"the weights have {size:,} bytes, more than a file of ONNX can; export safetensors"
    require(size < MOST_BYTES, "to", "onnx", rule)


def write_graph(model: Model, path: Path, truncation: float | None = None, form: str = "redraw") -> None:
    """Write the graph of a model in float32 on the CPU. Raises `UserError` for what cannot become one.

    Inputs `z` (N, dim_z) float32 and, with classes, `y` (N,) int64; output `images` (N, 3, R, R) around [-1, 1].
    Truncation of z is in the latents, which whoever runs the graph draws; the statistics are those of it. Psi is in
    the graph.
    """
    check_possible(model)
    model.stand(truncation, form)
    inputs = example(model, TRACED, truncation, form)
    names = ["z", "y"][: len(inputs)]
    rows = torch.export.Dim("n", min=1)
    with _constant_noise(model), _quietly(), torch.no_grad():
        drawn = Drawn(model, truncation).eval()
        drawn(*inputs)  # computes the constant noise
        program = torch.onnx.export(
            drawn,
            inputs,
            dynamo=True,
            dynamic_shapes=tuple({0: rows} for _ in names),
            input_names=names,
            output_names=["images"],
            verbose=False,
        )
    assert program is not None
    program.model.metadata_props.update(facts_of(model, truncation, form))
    path.parent.mkdir(parents=True, exist_ok=True)
    with aside(path) as partial, _quietly():
        program.save(partial, external_data=False)


def example(model: Model, n: int, truncation: float | None, form: str) -> tuple[Tensor, ...]:
    """Some latents, and classes if there are any."""
    z = model.sampler.latents(0, 0, n, truncation, form)
    return (z, torch.arange(n) % model.n_classes) if model.n_classes else (z,)


def facts_of(model: Model, truncation: float | None, form: str) -> dict[str, str]:
    """What whoever runs the graph must know, as the file's metadata."""
    g = model.sampler.generator
    return {
        "program": "orthogan",
        "latent": g.latent,
        "truncation": json.dumps(truncation),
        "truncation_of": g.truncation,
        "truncation_form": form,
        "noise": g.noise if g.noise_modes else "none",
        "class_names": json.dumps(model.class_names),
        "weights_crc32": model.weights_id,
    } | ({"imported": json.dumps(model.header.extra["imported"])} if "imported" in model.header.extra else {})


def check_graph(path: Path, model: Model, truncation: float | None = None, form: str = "redraw", n: int = 3) -> float:
    """The largest difference of a pixel, of [-1, 1], between the graph under onnxruntime and the model."""
    runtime = optional.need("onnxruntime", EXTRA, "a check of the graph")
    inputs = example(model, n, truncation, form)
    names = ["z", "y"][: len(inputs)]
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {name: value.numpy() for name, value in zip(names, inputs, strict=True)})
    except Exception as error:  # onnxruntime has no base class of its own errors
        raise UserError(f"{path} does not run under onnxruntime: {one_line(error, 200)}") from error
    with torch.no_grad():
        expected = model.sampler.images(truncation, *inputs)
    return float(np.abs(found - expected.numpy()).max())


@contextmanager
def _constant_noise(model: Model) -> Iterator[None]:
    """Inside, constant noise is computed once and is then a constant of the graph."""
    layers = [m for m in model.sampler.generator.modules() if isinstance(m, NoiseInjection)]
    try:
        for layer in layers:
            layer.kept = {}
        yield
    finally:
        for layer in layers:
            layer.kept = None


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporter's advice to its own developers."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
