"""Two processes (gloo) give the scores of one to the last digit, and each looks at its share of the images."""

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import judge
import numpy as np
import pytest
import torch
from tiny import tiny_generator, tiny_run

from orthogan import ranks
from orthogan.features.pretrained import CHUNK
from orthogan.judging import generated
from orthogan.metrics import measuring
from orthogan.metrics.evaluate import Scorer
from orthogan.metrics.measuring import ImageSet
from orthogan.model import load
from orthogan.networks import GENERATORS, build_generator
from orthogan.sampling import snapshot
from orthogan.training import checkpoint
from orthogan.training.checkpoint import Header

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def array(path: Path, n: int, seed: int) -> str:
    images = np.random.default_rng(seed).integers(1, 256, (n, 16, 16, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.array(["a", "b", "c"])[np.arange(n) % 3])
    return str(path)


def generator(path: Path, data: str) -> str:
    torch.manual_seed(0)
    tensors = {f"ema.{k}": v for k, v in tiny_generator().state_dict().items()}
    checkpoint.save(path, tensors, Header(tiny_run(data), 5, 1, {"class_names": ["a", "b", "c"]}))
    return str(path)


def judged(folder: Path, requests: list[dict[str, Any]], launcher: list[str]) -> list[dict[str, Any]]:
    """What `judge` has found in each of its processes, which have one thread: digits depend on their number."""
    folder.mkdir()
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ORTHOGAN_CACHE": str(folder / "cache")}
    command = [sys.executable, *launcher, str(Path(judge.__file__)), str(folder), json.dumps(requests)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(path.read_text()) for path in sorted(folder.glob("process-*.json"))]


def test_two_processes_give_the_digits_of_one(tmp_path: Path) -> None:
    real, made = array(tmp_path / "real.npz", 100, 0), array(tmp_path / "made.npz", 77, 1)
    model = generator(tmp_path / "model.safetensors", real)
    requests: list[dict[str, Any]] = [
        {"source": made, "against": real, "resamples": 100},
        {"source": model, "against": real, "samples": 150, "resamples": 100},
        {"source": model, "against": model, "samples": 40, "truncation": 0.5, "resamples": 0},
        {"source": made, "against": real, "accuracy": True, "resamples": 0},
        {"source": model, "against": real, "samples": 20, "features": "data", "resamples": 0},
        {"source": made, "against": str(tmp_path / "nothing.npz"), "resamples": 0},
    ]
    first, second = judged(tmp_path / "two", requests, TORCHRUN)
    (one,) = judged(tmp_path / "one", requests, [])
    for alone, a, b in zip(one["scores"], first["scores"], second["scores"], strict=True):
        assert a["found"] == alone["found"] or "nothing.npz" in a["found"]
        assert b["found"] == a["found"] or "nothing.npz" in b["found"]
        assert a["images"] + b["images"] == alone["images"]
    # Blocks of 32 of 100 real and 77 generated images; then the real ones are kept, and 5 blocks of 150 drawn.
    assert (first["scores"][0]["images"], second["scores"][0]["images"]) == (64 + 64, 36 + 13)
    assert (first["scores"][1]["images"], second["scores"][1]["images"]) == (96, 54)
    assert second["scores"][2]["images"] == 8 + 8
    assert "nothing.npz" in first["scores"][-1]["found"]
    assert "nothing.npz" in second["scores"][-1]["found"]

    # While a run trains: the real ones are kept, and each of two scores is of 70 images.
    assert (first["in_training"], second["in_training"]) == (2 * 64, 2 * 6)
    lines = [json.loads(line) for line in (tmp_path / "two" / "run" / "scores.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [16, 32]
    with judge.tiny_networks():
        whole = np.load(real)["images"]
        average = tiny_generator()
        average.load_state_dict(checkpoint.newest(tmp_path / "two" / "run" / "checkpoints")[0].part("ema"))
        images = [torch.cat(list(snapshot(average, "float32").stream(70, seed=0)))]
        scores = Scorer("tiny", whole, "abc").score(images, seed=0)["scores"]
    assert lines[-1]["scores"] == pytest.approx(scores)  # of several threads, perhaps


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [1, 31, 32, 33, 100, 255, 256, 5000])
def test_shares_are_whole_blocks_of_all_rows_in_order(n: int, world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "count", lambda: world)
    shares = [ranks._share_of(rank, n, 32) for rank in range(world)]
    assert [row for first, last in shares for row in range(first, last)] == list(range(n))
    assert all(first % 32 == 0 or first == n for first, _ in shares)
    assert shares[0][1] > 0
    sizes = [-(-(last - first) // 32) for first, last in shares]
    assert max(sizes) - min(sizes) <= 1


def test_images_of_a_stretch_are_those_of_the_whole_stream(tmp_path: Path) -> None:
    """In chunks that lie where they lie in the whole."""
    sampler = load(generator(tmp_path / "model.safetensors", ""), "cpu", "float32").sampler
    sampler.collect()
    whole = torch.cat(list(sampler.stream(150, seed=3)))
    for first, last in ((0, 150), (0, 32), (32, 64), (64, 65), (96, 150), (149, 150)):
        part = torch.cat(list(sampler.stream(last - first, seed=3, first=first)))
        assert torch.equal(part, whole[first:last])


def test_a_stretch_runs_in_chunks_that_lie_where_they_lie_in_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU the rounding of an image may depend on its place among those that run with it."""
    sampler = load(generator(tmp_path / "model.safetensors", ""), "cpu", "float32").sampler
    sampler.collect()
    seen: list[tuple[int, int]] = []
    latents = sampler.latents

    def noted(seed: int, first: int, n: int, *how: Any) -> torch.Tensor:
        seen.append((first, n))
        return latents(seed, first, n, *how)

    monkeypatch.setattr(sampler, "latents", noted)
    assert sum(map(len, sampler.stream(40, first=100))) == 40
    assert sum(map(len, sampler.stream(64 * 16 + 1, first=64))) == 64 * 16 + 1
    assert seen == [(64, 76), (64, 64 * 16), (64 * 17, 1)]


def test_features_of_samples_are_kept_under_all_that_changes_them(tmp_path: Path) -> None:
    """And nothing else: another seed, number, truncation or weight, and it is computed."""
    real = array(tmp_path / "real.npz", 60, 0)
    model = generator(tmp_path / "model.safetensors", real)
    request = {"source": model, "against": real, "samples": 40, "resamples": 0}
    with judge.tiny_networks(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("orthogan.runtime.git_commit", lambda: "abc")
        first = judge.scored(request, "cpu")
        again = judge.scored(request | {"resamples": 100}, "cpu")
        assert (first["images"], again["images"]) == (60 + 40, 0)
        assert again["found"]["scores"] == first["found"]["scores"]
        other = copy.deepcopy(torch.get_rng_state())
        for change in ({"seed": 1}, {"samples": 41}, {"truncation": 0.5}, {"truncation": 0.5, "form": "scaled"}):
            assert judge.scored(request | change, "cpu")["images"] == change.get("samples", 40)
        assert torch.equal(other, torch.get_rng_state())
        tensors = checkpoint.load(Path(model)).tensors
        name = next(iter(tensors))
        checkpoint.save(Path(model), tensors | {name: tensors[name] + 1}, checkpoint.read_header(Path(model)))
        assert judge.scored(request, "cpu")["images"] == 40
        patch.setattr("orthogan.runtime.git_commit", lambda: "abd")
        assert judge.scored(request, "cpu")["images"] == 40
        patch.setattr("orthogan.runtime.git_commit", lambda: "abd+")  # a changed checkout: nothing tells what it draws
        assert judge.scored(request, "cpu")["images"] == 40
        assert judge.scored(request, "cpu")["images"] == 40


def test_samples_of_other_classes_have_another_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orthogan.runtime.git_commit", lambda: None)
    loaded = load(generator(tmp_path / "model.safetensors", ""), "cpu", "float32")
    asked: list[list[int] | None] = [None, [0, 1, 2, 0], [0, 1, 2, 1], [0, 1, 2, 0]]
    found = [generated.drawn(loaded, 4, classes=classes, seed=0).identity for classes in asked]
    assert None not in found
    assert found[1] == found[3]
    assert len({str(identity) for identity in found}) == 3


def test_a_network_from_outside_the_package_has_no_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orthogan.runtime.git_commit", lambda: None)
    model = load(generator(tmp_path / "model.safetensors", ""), "cpu", "float32")
    assert model.identity() == model.identity() != model.identity(0.5)
    torch.manual_seed(0)
    style = GENERATORS["stylegan2"].tiny
    tensors = {f"ema.{k}": v for k, v in build_generator(style, 16, 3).state_dict().items()}
    checkpoint.save(tmp_path / "style.safetensors", tensors, Header(tiny_run("", generator=style), 5, 1, {}))
    styled = load(tmp_path / "style.safetensors", "cpu", "float32")  # without statistics that depend on the truncation
    found = {styled.identity(), styled.identity(0.5), styled.identity(0.4)}
    found |= {load(styled.path, "cpu", "float32", noise="none").identity()}
    found |= {load(styled.path, "cpu", "float32", cutoff=1).identity(0.5)}
    assert len(found) == 5
    monkeypatch.setattr(type(model.sampler.generator), "__module__", "elsewhere")
    assert model.identity() is None


def test_an_image_set_without_identity_is_not_kept(tiny: Any, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
    made = ImageSet(50, (8, 8), lambda first, last: measuring.batches(images, np.arange(first, last)))
    found = measuring.measure(made, tiny)
    assert torch.equal(found.features, measuring.measure([images], tiny).features)
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    kept = measuring.measure(measuring.of_array(images, np.arange(50), "abc"), tiny)
    assert torch.equal(kept.features, found.features)
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 1
    assert CHUNK == 32
