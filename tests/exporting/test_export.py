"""The generator alone: what comes out is what was in, read back, under onnxruntime, and through the hub's own cache."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from process import orthogan
from tiny import tiny_generator, tiny_run

import orthogan as package
from orthogan import hub
from orthogan.errors import UserError
from orthogan.exporting import check_graph, write_folder, write_graph, write_weights
from orthogan.exporting.folder import Card
from orthogan.interop.statistics import Collected
from orthogan.model import Model, load
from orthogan.networks import GENERATORS, build_generator
from orthogan.nn.noise import NoiseInjection
from orthogan.nn.spectral import normalized_layers
from orthogan.nn.standing import standing_buffers
from orthogan.sampling import STANDING_BATCHES
from orthogan.training import checkpoint
from orthogan.training.checkpoint import Header

onnxruntime = pytest.importorskip("onnxruntime")
SIDE = 16


def saved(folder: Path, name: str = "biggan", n_classes: int = 3) -> Path:
    """A checkpoint of a generator with all weights drawn, and noise that matters."""
    torch.manual_seed(0)
    generator = build_generator(GENERATORS[name].tiny, SIDE, n_classes)
    for module in generator.modules():
        if isinstance(module, NoiseInjection):
            torch.nn.init.constant_(module.strength, 0.3)
    run = tiny_run(folder / "secret-place.npz", n_classes=n_classes, generator=GENERATORS[name].tiny)
    tensors = {f"ema.{k}": v for k, v in generator.state_dict().items()}
    names = ["a", "b", "c"][:n_classes]
    path = folder / "run" / "checkpoints" / checkpoint.file_name(5)
    checkpoint.save(
        path, tensors, Header(run, 5, 1, {"class_names": names, "preset": "digits", "parent": {"x": "/home"}})
    )
    return path


def opened(path: Path, **how: Any) -> Model:
    return load(path, "cpu", "float32", **how)


# -- safetensors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATORS)
def test_a_file_of_every_generator_gives_the_same_images(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, name)
    model = opened(path)
    truncation = None if model.sampler.generator.truncation == "none" else 0.5
    write_weights(model, tmp_path / "g.safetensors", truncation)
    again = opened(tmp_path / "g.safetensors")
    expected = model.sample(6, truncation=truncation, seed=3).astype(int)
    assert np.abs(again.sample(6, truncation=truncation, seed=3) - expected).max() <= 1
    assert not (tmp_path / "standing").exists()  # nothing had to be collected
    for _, layer in normalized_layers(again.sampler.generator):
        assert layer.sigma().item() == pytest.approx(1, rel=1e-5)
    generator = again.sampler.generator
    if generator.truncation == "w":  # no psi changes the mean of w
        expected = model.sample(2, truncation=0.7).astype(int)
        assert np.abs(again.sample(2, truncation=0.7) - expected).max() <= 1
        assert not (tmp_path / "standing").exists()
    if generator.truncation == "z" and standing_buffers(generator):
        again.sample(1)
        assert (tmp_path / "standing").exists()  # of another truncation


def test_a_file_holds_nothing_of_the_machine_that_trained_it(tmp_path: Path) -> None:
    path = saved(tmp_path)
    write_weights(opened(path), tmp_path / "g.safetensors")
    assert b"secret-place" not in (tmp_path / "g.safetensors").read_bytes()
    assert b"/home" not in (tmp_path / "g.safetensors").read_bytes()
    assert opened(tmp_path / "g.safetensors").class_names == ["a", "b", "c"]


# -- ONNX ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "n_classes"), [(name, 3) for name in GENERATORS] + [("stylegan2", 0)])
def test_a_graph_of_every_generator_equals_it_for_any_number_of_images(
    tmp_path: Path, name: str, n_classes: int
) -> None:
    path = saved(tmp_path, name, n_classes)
    noisy = bool(GENERATORS[name].network(GENERATORS[name].tiny, SIDE, n_classes).noise_modes)
    model = opened(path, noise="const" if noisy else None)
    truncation = None if model.sampler.generator.truncation == "none" else 0.5
    graph = tmp_path / "g.onnx"
    write_graph(model, graph, truncation)
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["z", "y"][: 1 + (n_classes > 0)]
    plain = opened(path, noise="const" if noisy else None)
    plain.stand(truncation)
    for n in (1, 5):
        z, y = model.sampler.latents(7, 0, n, truncation, "redraw"), torch.arange(n) % 3 if n_classes else None
        inputs = {"z": z.numpy()} | ({} if y is None else {"y": y.numpy()})
        (found,) = session.run(["images"], inputs)
        with torch.no_grad():
            expected = plain.sampler.images(truncation, z, y).numpy()
        assert np.abs(found - expected).max() < 1e-4
    assert check_graph(graph, model, truncation) < 1e-4
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["class_names"]) == ["a", "b", "c"][:n_classes]
    assert json.loads(facts["truncation"]) == truncation


def test_what_onnx_cannot_have_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "stylegan2")
    with pytest.raises(UserError, match="noise='random': ONNX cannot compute it: give --noise const"):
        write_graph(opened(path), tmp_path / "g.onnx")
    with pytest.raises(UserError, match="precision='bf16': a graph is float32"):
        write_graph(load(path, "cpu", "bf16", noise="none"), tmp_path / "g.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")
    with pytest.raises(UserError, match="does not run under onnxruntime"):
        check_graph(tmp_path / "broken.onnx", opened(path, noise="none"))


# -- the hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def cached(tmp_path: Path) -> tuple[Path, Path]:
    """The checkpoint, and a cache of the hub's that holds its exported folder as owner/name."""
    path = saved(tmp_path)
    commit = "0123456789abcdef0123456789abcdef01234567"
    model = tmp_path / "hub" / "models--owner--name"
    write_folder(opened(path), model / "snapshots" / commit, Card(license="mit", data="Three kinds of noise."))
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    return path, tmp_path / "hub"


def test_the_folder_holds_a_card_with_what_was_said_and_the_scores_of_these_weights(tmp_path: Path) -> None:
    path = saved(tmp_path)
    model = opened(path)
    run = path.parents[1]
    whole = {"features": {"network": "inception"}, "real": {}, "generated": {}, "settings": {}}
    protocol = whole | {"generator": {"weights_crc32": model.weights_id}}
    (run / "scores-inception-n9.json").write_text(
        json.dumps({"scores": {"frechet_distance": 12.5}, "protocol": protocol})
    )
    other = {"scores": {"frechet_distance": 99.5}, "protocol": whole | {"generator": {"weights_crc32": "0"}}}
    (run / "scores-other.json").write_text(json.dumps(other))
    (run / "scores-torn.json").write_text("{")
    folder = tmp_path / "hub-folder"
    card = Card(name="Noise: a model", license="cc-by-4.0", data="Three kinds of noise.")
    write_folder(model, folder, card, run, 0.5)
    assert {p.name for p in folder.iterdir()} == {"README.md", "config.json", "model.safetensors", "sheet.png"}
    text = (folder / "README.md").read_text()
    for part in (
        "license: cc-by-4.0",
        "library_name: orthogan",
        "# Noise: a model",
        "| FID | 12.5 |",
        '"network": "inception"',
        "Three kinds",
    ):
        assert part in text
    assert "99.5" not in text
    assert "truncation=0.5" in text
    assert "secret-place" not in (folder / "config.json").read_text()
    with pytest.raises(UserError, match="is not empty"):
        write_folder(model, folder, card)


def test_a_model_of_the_hub_is_read_from_its_cache_without_a_network(
    cached: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cache = cached
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    before = sorted(cache.rglob("*"))
    model = package.load("hf://owner/name", "cpu", "float32")
    expected = opened(path).sample(3, truncation=0.5).astype(int)
    assert np.abs(model.sample(3, truncation=0.5) - expected).max() <= 1
    assert sorted(cache.rglob("*")) == before  # collected statistics are kept elsewhere
    with pytest.raises(UserError, match="hf://owner/other cannot be had"):
        package.load("hf://owner/other")
    assert hub.local(Path("hf://owner/name@main")).name == "model.safetensors"
    for bad in ("hf://owner", "hf://", "hf://a/b/c", "hf://owner/name@"):
        with pytest.raises(UserError, match="not an address of the hub"):
            hub.local(bad)


def test_the_command_writes_and_refuses(cached: tuple[Path, Path], tmp_path: Path) -> None:
    path, cache = cached
    offline = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    done = orthogan("sample", "hf://owner/name", "-n", 2, "--out", tmp_path / "pictures", env=offline)
    assert done.status == 0, done.err
    out = tmp_path / "g.safetensors"
    done = orthogan("export", path, "--to", "safetensors", "--out", out, "--truncation", "0.5")
    assert done.status == 0, done.err
    assert "sample" in done.out
    for words, told in {
        ("safetensors", out): "is there already; choose another --out, or add --replace",
        ("onnx", out): "must end in .onnx",
        ("hub", out): "is a file; name a folder",
        ("hub", path.parent): "is not empty",
        ("onnx", tmp_path / "x.onnx", "--card.license", "mit"): "has no card; leave --card out",
        ("onnx", tmp_path / "x.onnx", "--truncation", "-1"): "truncation",
    }.items():
        assert told in orthogan("export", path, "--to", words[0], "--out", *words[1:]).error
    assert not (tmp_path / "x.onnx").exists()


AS_COLLECTED = {"truncation": None, "form": "redraw", "batches": STANDING_BATCHES, "noise": None}
FACTS = {
    "import": ({"truncation": None, "form": "redraw", "batches": 0, "noise": None}, [(None, 0)]),
    "import, as it was": ({"thresholds": None}, [(None, 0)]),
    "export": (AS_COLLECTED, [(None, STANDING_BATCHES)]),
    "export, as it was": ([None, "redraw", STANDING_BATCHES, None], [(None, STANDING_BATCHES)]),
    "export at a truncation": ({**AS_COLLECTED, "truncation": 0.5}, [(0.5, STANDING_BATCHES)]),
    "export of an import, as it was": ([0.5, "redraw", 0, None], [(0.5, 0)]),
    "export of other batches": ({**AS_COLLECTED, "batches": 5}, []),
    "rubbish": ({"truncation": None, "batches": 0}, None),
    "a list of rubbish": (["x"], []),
}
"""The fact `standing` of a header, and at which truncations its file's statistics are used, of how many batches."""


@pytest.mark.parametrize("case", FACTS)
def test_statistics_of_a_file_are_used_at_the_truncation_that_they_are_of(tmp_path: Path, case: str) -> None:
    fact, expected = FACTS[case]
    path = with_statistics(tmp_path / "a.safetensors", fact)
    if expected is None:
        with pytest.raises(checkpoint.BadCheckpoint, match="standing statistics do not fit"):
            opened(path)
        return
    found = []
    for truncation in (None, 0.5):
        model = opened(path)
        before = {name: buffer.clone() for name, buffer in standing_buffers(model.sampler.generator).items()}
        model.stand(truncation)
        now = standing_buffers(model.sampler.generator)
        if all(before[name].equal(now[name]) for name in now):
            found.append((truncation, model.describe()["standing_statistics_batches"]))
    assert found == expected


def test_statistics_that_an_imported_file_brought_are_those_of_its_export(tmp_path: Path) -> None:
    imported = opened(with_statistics(tmp_path / "a.safetensors", Collected().facts(), imported={}))
    write_weights(imported, tmp_path / "b.safetensors")
    exported = opened(tmp_path / "b.safetensors")
    assert (imported.sample(4) == exported.sample(4)).all()
    assert exported.describe()["standing_statistics_batches"] == 0


def test_an_export_of_an_imported_file_tells_where_it_is_from_and_of_no_training(tmp_path: Path) -> None:
    origin = {
        "project": "BigGAN-PyTorch",
        "parts": {
            "ema": {"file": "G_ema.pth", "network": "BigGAN-PyTorch's generator"},
            "discriminator": {"file": "D.pth", "network": "BigGAN-PyTorch's discriminator"},
        },
        "sha256": {"G_ema.pth": "0a1b", "D.pth": "ffff"},
    }
    told = "converted with orthogan from "
    for imported, expected in (
        (origin, "BigGAN-PyTorch (G_ema.pth, sha256 0a1b)."),
        ({}, "a file of another project."),
    ):
        path = with_statistics(tmp_path / "a.safetensors", Collected().facts(), imported=imported)
        folder = tmp_path / expected[:4]
        write_folder(opened(path), folder, Card())
        text = (folder / "README.md").read_text()
        assert told + expected in text
        assert "trained" not in text
        assert "discriminator" not in text
        assert checkpoint.read_header(folder / hub.WEIGHTS).extra["imported"] == imported


def with_statistics(path: Path, fact: Any, **facts: Any) -> Path:
    """A file whose statistics are not those of any collection."""
    torch.manual_seed(0)
    network = tiny_generator()
    for buffer in standing_buffers(network).values():
        buffer.copy_(torch.rand(buffer.shape) + 0.5)
    tensors = {f"ema.{name}": tensor for name, tensor in network.state_dict().items()}
    checkpoint.save(path, tensors, Header(tiny_run(path.parent), 0, 0, {**facts, "standing": fact}))
    return path
