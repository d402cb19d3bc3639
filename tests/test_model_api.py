"""What `orthogan.load` gives: pictures, seeds, batches, progress, the network itself, and errors of one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_generator, tiny_run

import orthogan
from orthogan.errors import UserError
from orthogan.model import Model
from orthogan.networks import GENERATORS, build_generator
from orthogan.sampling import to_uint8
from orthogan.training import checkpoint
from orthogan.training.checkpoint import Header


@pytest.fixture
def model(tmp_path: Path) -> Model:
    torch.manual_seed(0)
    tensors = {f"ema.{k}": v for k, v in tiny_generator().state_dict().items()}
    checkpoint.save(tmp_path / "g.safetensors", tensors, Header(tiny_run(), 5, 1, {"class_names": ["a", "b", "c"]}))
    return orthogan.load(tmp_path / "g.safetensors", "cpu", "float32")


def test_pictures_are_the_samples(model: Model) -> None:
    pictures = model.images(3, seed=2, classes="b")
    assert np.array_equal(np.stack([np.asarray(p) for p in pictures]), model.sample(3, seed=2, classes="b"))


def test_batches_and_progress_change_no_image(model: Model) -> None:
    told: list[tuple[int, int]] = []
    chunks = list(model.stream(70, batch=32, progress=lambda done, n: told.append((done, n))))
    assert [len(chunk) for chunk in chunks] == [32, 32, 6]
    assert told == [(32, 70), (64, 70), (70, 70)]
    assert np.array_equal(torch.cat(chunks).numpy(), model.sample(70))


def test_a_generator_of_pytorch_gives_seeds(model: Model) -> None:
    def sampled(source: torch.Generator) -> list[np.ndarray]:
        return [model.sample(2, seed=source) for _ in range(2)]

    one, other = (sampled(torch.Generator().manual_seed(4)) for _ in range(2))
    assert np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])


def test_numbers_of_any_library_count(model: Model) -> None:
    assert len(model.sample(np.int64(2), seed=np.int32(1), truncation=np.float64(0.5))) == 2


@pytest.mark.parametrize("half", [np.float32(0.5), torch.tensor(0.5), np.array(0.5), torch.tensor([0.5])])
def test_thresholds_of_any_library_count(model: Model, half: Any) -> None:
    assert np.array_equal(model.sample(2, truncation=half), model.sample(2, truncation=0.5))
    z = np.zeros((1, model.dim_z))
    assert np.array_equal(model.generate(z, 0, truncation=half), model.generate(z, 0, truncation=0.5))


def test_a_threshold_beyond_all_numbers_is_none_in_effect(model: Model) -> None:
    assert np.array_equal(model.sample(2, truncation=1e300), model.sample(2, truncation=float("inf")))


@pytest.mark.parametrize("psi", [1e300, -1e300, float("nan"), float("-inf")])
def test_psi_beyond_float32_is_refused(psi: float) -> None:
    generator = build_generator(GENERATORS["stylegan2"].tiny, 16, 0)
    with pytest.raises(UserError, match=r"truncation=.*must be a finite number of float32"):
        generator.check_truncation(psi)


def test_weights_of_classes_may_be_nested_lists(model: Model) -> None:
    z = np.random.default_rng(0).normal(size=(2, model.dim_z))
    rows = [[0, 1, 0], [0.5, 0, 0.5]]
    assert np.array_equal(model.generate(z, rows), model.generate(z, np.array(rows)))
    assert np.array_equal(model.generate(z, [[0, 0, 1], (1, 0, 0)]), model.generate(z, [2, 0]))
    assert np.array_equal(model.generate(z, [torch.tensor(2), np.int64(0)]), model.generate(z, [2, 0]))
    for bad, told in (([[1, 0]] * 2, r"y\.shape"), ([[1, 0, 0], 1], "y: not an array"), ([[1, 0, 0]], "as many as z")):
        with pytest.raises(UserError, match=told):
            model.generate(z, bad)


def test_complex_latents_are_refused(model: Model) -> None:
    with pytest.raises(UserError, match=r"z\.dtype='torch\.complex128': must be real"):
        model.generate(np.zeros((1, model.dim_z), np.complex128), 0)


@pytest.mark.parametrize("names", [5, "abc", None, {"a": 1}, [1, 2, 3]])
def test_class_names_that_are_none_are_a_damaged_header(model: Model, tmp_path: Path, names: Any) -> None:
    found = checkpoint.load(model.path)
    checkpoint.save(tmp_path / "odd.safetensors", found.tensors, Header(tiny_run(), 5, 1, {"class_names": names}))
    with pytest.raises(checkpoint.BadCheckpoint, match="class_names is no list of names"):
        orthogan.load(tmp_path / "odd.safetensors")


def test_the_network_alone_is_a_copy_that_gives_the_same_images(model: Model) -> None:
    g, before = model.generator, model.sample(4, truncation=0.5)
    assert model.generator is g
    z, y = torch.randn(4, model.dim_z), torch.tensor([0, 1, 2, 0])
    expected = model.generate(z, y, truncation=0.5)
    assert np.abs(to_uint8(model.generator(z, y)).numpy().astype(int) - expected).max() <= 1
    z.requires_grad_()
    g(z, y).sum().backward()
    assert z.grad is not None
    with torch.no_grad():
        for parameter in g.parameters():
            parameter.zero_()
    assert np.array_equal(model.sample(4, truncation=0.5), before)


def test_moving_keeps_images_and_statistics(model: Model) -> None:
    before = model.sample(3, truncation=0.5)
    standing = model.sampler.standing
    assert model.to("cpu") is model
    assert model.sampler.standing == standing
    assert np.array_equal(model.sample(3, truncation=0.5), before)
    with pytest.raises(UserError, match="nowhere"):
        model.to("nowhere")


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"n": 4.5}, "n=4.5: must be a whole number"),
        ({"n": "4"}, "n='4': must be a whole number"),
        ({"n": True}, "n=True: must be a whole number"),
        ({"n": None}, "n=None: must be a whole number"),
        ({"n": -1}, "n=-1: must be positive"),
        ({"n": 0}, "n=0: must be positive"),
        ({"n": 1, "seed": "0"}, "seed='0': must be a whole number, or a torch.Generator"),
        ({"n": 1, "seed": 0.5}, r"seed=0\.5: must be a whole number"),
        ({"n": 1, "classes": "d"}, "unknown class 'd'"),
        ({"n": 1, "classes": 3}, "classes=3: this model has classes 0 to 2"),
        ({"n": 1, "classes": []}, "name at least one class"),
        ({"n": 1, "truncation": "0.5"}, r"truncation='0\.5': must be a number"),
        ({"n": 1, "truncation": True}, "truncation=True: must be a number"),
        ({"n": 1, "truncation": 0.5j}, "must be a number"),
        ({"n": 1, "truncation": 10**400}, "must be a number"),
        ({"n": 1, "truncation": torch.zeros(9, 9)}, "must be a number"),
        ({"n": 1, "truncation": float("nan")}, "truncation=nan"),
        ({"n": 1, "form": "odd"}, "form='odd'"),
    ],
)
def test_bad_arguments_are_one_line(model: Model, bad: dict[str, Any], told: str) -> None:
    for method in (model.sample, model.images, model.stream):
        with pytest.raises(UserError, match=told) as caught:
            method(**bad)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("batch", [0, -3, 2.5])
def test_a_bad_batch_is_refused_at_once(model: Model, batch: Any) -> None:
    with pytest.raises(UserError, match=f"batch={batch}"):
        model.stream(3, batch=batch)


@pytest.mark.parametrize("precision", ["float16", "int8", "fp32", None, torch.float16])
def test_an_unknown_precision_is_refused(model: Model, precision: Any) -> None:
    with pytest.raises(UserError, match=r"precision=.*: must be one of auto, float32, bf16"):
        orthogan.load(model.path, "cpu", precision)
