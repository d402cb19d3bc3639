"""From images to the dictionary of scores."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from orthogan.errors import UserError
from orthogan.features import pretrained
from orthogan.features.pretrained import CHUNK, FeatureNet
from orthogan.metrics import evaluate, measuring, protocol, sides
from orthogan.metrics.manifolds import manifolds


def noise(n: int, seed: int, side: int = 8, low: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, 256, (n, side, side, 3), dtype=np.uint8)


REAL, FAKE = noise(60, 0), noise(40, 1, low=100)


def test_classes_are_in_the_data_s_proportions() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    assert np.bincount(evaluate.classes_like(labels, 10)).tolist() == [6, 3, 1]
    assert evaluate.classes_like(None, 10) is None


def test_the_result_is_plain_json_and_says_by_what_protocol(tiny: FeatureNet):
    result = evaluate.evaluate(
        [REAL],
        [torch.from_numpy(FAKE)],
        tiny,
        seed=3,
        real_source={"fingerprint": "abc"},
        generator={"truncation": 0.5},
    )
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["scores"].keys() == {
        "frechet_distance",
        "kernel_distance",
        "kernel_distance_std",
        "classifier_score",
        "classifier_score_std",
        "precision",
        "recall",
        "density",
        "coverage",
    }
    stamp = result["protocol"]
    assert stamp["features"]["network"] == "tiny"
    assert stamp["features"]["weights_sha256"] == "0" * 64
    assert stamp["features"]["resize"] == "none"
    assert stamp["real"] == {"images": 60, "size": [8, 8], "fingerprint": "abc"}
    assert stamp["generated"] == {"images": 40}
    assert stamp["generator"] == {"truncation": 0.5}
    assert stamp["settings"]["seed"] == 3
    assert stamp["versions"]["torch"] == torch.__version__.split("+")[0]


def test_the_manifolds_are_of_the_published_neighbours(tiny: FeatureNet) -> None:
    """The third one for precision and recall, the fifth for density and coverage."""
    fake = noise(60, 9)
    scores = evaluate.evaluate([REAL], [fake], tiny, seed=0)["scores"]
    sides = measuring.measure([REAL], tiny).features, measuring.measure([fake], tiny).features
    third, fifth = (manifolds(*sides, neighbourhood=k, density_neighbourhood=k) for k in (3, 5))
    hits = {"precision": third.precise, "recall": third.recalled, "density": fifth.density, "coverage": fifth.covered}
    told = {name: float(each.double().mean()) for name, each in hits.items()}
    assert {name: scores[name] for name in told} == told
    assert float(third.density.mean()) != told["density"]
    assert float(fifth.precise.double().mean()) != told["precision"]


def test_a_density_of_0_has_no_interval(tiny: FeatureNet) -> None:
    """Every resample of no image in a ball is 0, but the score is not known to be."""
    far, near = (
        evaluate.evaluate([REAL], [fake], tiny, seed=0, resamples=100) for fake in (255 + 0 * FAKE, noise(60, 9))
    )
    assert far["scores"]["density"] == far["scores"]["precision"] == 0
    assert "density" not in far["intervals"]
    assert far["intervals"]["precision"][1] > 0
    assert near["scores"]["density"] > 0
    assert near["intervals"]["density"][0] < near["scores"]["density"] < near["intervals"]["density"][1]


def test_same_seed_same_digits_however_the_images_are_batched(tiny: FeatureNet):
    first = evaluate.evaluate([REAL], [FAKE], tiny, seed=3)
    batches = [FAKE[:1], FAKE[1:30], FAKE[30:]]
    again = evaluate.evaluate((REAL[i : i + 7] for i in range(0, 60, 7)), iter(batches), tiny, seed=3)
    assert json.dumps(first) == json.dumps(again)
    other = evaluate.evaluate([REAL], [FAKE], tiny, seed=4)
    assert other["scores"]["kernel_distance"] != first["scores"]["kernel_distance"]


def test_worse_images_score_worse(tiny: FeatureNet):
    near, far = (evaluate.evaluate([REAL], [fake], tiny, seed=0)["scores"] for fake in (noise(60, 9), FAKE))
    assert near["frechet_distance"] < far["frechet_distance"]
    assert near["kernel_distance"] < far["kernel_distance"]
    assert near["precision"] > far["precision"]
    assert near["recall"] > far["recall"]


@pytest.mark.parametrize("sizes", [[1], [CHUNK], [CHUNK, 1], [5, CHUNK, CHUNK], [3 * CHUNK], [2] * CHUNK])
def test_chunks_hold_the_same_images_in_order(sizes: list[int]):
    images = noise(sum(sizes), 0, side=2)
    chunks = list(measuring.in_chunks(np.split(images, np.cumsum(sizes)[:-1]), CHUNK))
    assert torch.equal(torch.cat(chunks), torch.from_numpy(images))
    assert all(len(chunk) == CHUNK for chunk in chunks[:-1])
    assert 0 < len(chunks[-1]) <= CHUNK


def test_several_sizes_are_refused(tiny: FeatureNet):
    with pytest.raises(UserError, match="8x8 and 4x4"):
        evaluate.evaluate([REAL], [FAKE, noise(4, 2, side=4)], tiny, seed=0)
    with pytest.raises(UserError, match="generated images of 4x4 against real ones of 8x8"):
        evaluate.evaluate([REAL], [noise(20, 2, side=4)], tiny, seed=0)


def test_no_or_too_few_images_are_refused(tiny: FeatureNet):
    with pytest.raises(UserError, match="no images"):
        evaluate.evaluate([REAL], [], tiny, seed=0)
    with pytest.raises(UserError, match="at least 10 generated images, got 3"):
        evaluate.evaluate([REAL], [FAKE[:3]], tiny, seed=0)


def test_notes_warn_of_few_and_of_unequal_numbers(tiny: FeatureNet):
    assert evaluate.notes(1281, 1281, 1280) == []
    (few,) = evaluate.notes(1281, 1280, 1280)
    assert "no more images than the 1280 feature dimensions (1280 generated):" in few
    assert "biased" in few
    (unequal,) = evaluate.notes(5000, 2000, 10)
    assert "5000 real and 2000 generated" in unequal


def test_few_images_and_few_of_the_classes_are_one_note():
    classes = {"cat": {"real": 300, "generated": 200}, "dog": {"real": 40, "generated": 900}}
    (one,) = evaluate.notes(340, 1100, 300, classes)[:1]
    assert "(those of 2 of 2 classes)" in one
    assert evaluate.notes(340, 600, 199, classes)[0].count("those of 1 of 2 classes") == 1
    (few,) = evaluate.notes(340, 600, 1280, classes)
    assert "(340 real, 600 generated, those of 2 of 2 classes): such Fréchet distances" in few


def test_a_result_by_class_of_few_images_has_that_one_note(tiny: FeatureNet, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tiny, "feature_dim", 1280)
    real, fake = (measuring.measure([images[:40]], tiny) for images in (REAL, FAKE))
    labels = torch.arange(40) % 2
    side = sides.Real(real.features, real.size, {}, labels, ("cat", "dog"))
    (one,) = evaluate.compare(side, dataclasses.replace(fake, labels=labels), tiny, seed=0)["notes"]
    assert "(40 real, 40 generated, those of 2 of 2 classes)" in one


def test_progress_counts_images(tiny: FeatureNet):
    seen: list[int] = []
    measuring.measure([REAL], tiny, seen.append)
    assert seen == [CHUNK, 60]


@pytest.fixture
def counted(tiny: FeatureNet, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tiny network stands in for every name; the list grows by the number of images it looks at."""
    counts: list[int] = []
    forward = tiny._forward

    def counting(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        counts.append(len(images))
        return forward(images)

    monkeypatch.setattr(tiny, "_forward", counting)
    monkeypatch.setattr(pretrained, "load", lambda name, path=None, device="cpu": tiny)
    return counts


def test_the_scorer_agrees_with_evaluate_and_computes_the_real_side_once(tiny: FeatureNet, counted: list[int]):
    scorer = evaluate.Scorer("tiny", REAL, "abc")
    assert sum(counted) == 60
    first, second = scorer.score([FAKE], 0, generator={"images_seen": 7}), scorer.score([FAKE], 0)
    assert sum(counted) == 60 + 40 + 40
    plain = evaluate.evaluate([REAL], [FAKE], tiny, seed=0)
    assert first["scores"] == second["scores"] == plain["scores"]
    assert first["protocol"]["real"] == {"images": 60, "size": [8, 8], "fingerprint": "abc", "of": 60}
    assert first["protocol"]["generator"] == {"images_seen": 7}


def test_real_features_come_from_the_cache_bit_for_bit(counted: list[int], cache_folder: Path):
    first = evaluate.Scorer("tiny", REAL, "abc")
    counted.clear()
    again = evaluate.Scorer("tiny", REAL, "abc")
    assert counted == []
    assert torch.equal(first.real.features, again.real.features)
    evaluate.Scorer("tiny", REAL, "another fingerprint")
    assert sum(counted) == 60
    assert not list(cache_folder.rglob("*.partial"))


def test_kept_features_are_of_the_very_images_that_were_chosen(tiny: FeatureNet) -> None:
    first, other = (measuring.of_array(REAL, rows, "abc") for rows in (np.arange(20), np.arange(20, 40)))
    assert torch.equal(measuring.measure(first, tiny).features, measuring.measure([REAL[:20]], tiny).features)
    assert torch.equal(measuring.measure(other, tiny).features, measuring.measure([REAL[20:40]], tiny).features)


def test_a_torn_cache_file_is_computed_anew(counted: list[int], cache_folder: Path):
    evaluate.Scorer("tiny", REAL, "abc")
    (kept,) = cache_folder.rglob("*.safetensors")
    whole = kept.read_bytes()
    kept.write_bytes(whole[:50])
    counted.clear()
    evaluate.Scorer("tiny", REAL, "abc")
    assert sum(counted) == 60
    assert kept.read_bytes() == whole


@pytest.mark.parametrize("at", [-1, -100, 20])
def test_a_flipped_bit_of_kept_features_is_noticed(counted: list[int], cache_folder: Path, at: int):
    evaluate.Scorer("tiny", REAL, "abc")
    (kept_file,) = cache_folder.rglob("*.safetensors")
    whole = bytearray(kept_file.read_bytes())
    kept_file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at:][1:])
    counted.clear()
    evaluate.Scorer("tiny", REAL, "abc")
    assert sum(counted) == 60
    assert kept_file.read_bytes() == whole


def test_of_many_real_images_the_same_choice_is_made(counted: list[int]):
    scorer = evaluate.Scorer("tiny", REAL, "abc", max_real=25)
    assert sum(counted) == 25
    assert len(scorer.real.features) == 25
    chosen = evaluate.choose(60, 25)
    assert np.array_equal(chosen, evaluate.choose(60, 25))
    assert len(set(chosen.tolist())) == 25
    assert (np.diff(chosen) > 0).all()


def test_a_read_only_memory_map_is_a_real_side(counted: list[int], tmp_path: Path):
    np.save(tmp_path / "images.npy", REAL)
    scorer = evaluate.Scorer("tiny", np.load(tmp_path / "images.npy", mmap_mode="r"), "abc")
    assert torch.equal(scorer.real.features, measuring.measure([REAL], scorer.net).features)


def test_protocols_compare_by_what_decides_the_numbers(tiny: FeatureNet):
    here, there = {"fingerprint": "abc", "source": "here"}, {"fingerprint": "abc", "source": "there"}
    a = evaluate.evaluate([REAL], [FAKE], tiny, seed=0, real_source=here, generator={"seed": 0})["protocol"]
    b = evaluate.evaluate([REAL], [FAKE], tiny, seed=1, real_source=there, generator={"seed": 1})["protocol"]
    assert protocol.comparable(a, b) == []
    changed = evaluate.evaluate([REAL], [FAKE], tiny, seed=0, real_source={"fingerprint": "xyz"})["protocol"]
    assert protocol.comparable(a, changed) == ["real.fingerprint: 'abc' and 'xyz'"]
    fewer = evaluate.evaluate([REAL], [FAKE[:30]], tiny, seed=0, real_source=here)["protocol"]
    assert "generated.images: 40 and 30" in protocol.comparable(a, fewer)
    tiny.weights_sha256 = "1" * 64
    other = evaluate.evaluate([REAL], [FAKE], tiny, seed=0, real_source=here)["protocol"]
    (why,) = protocol.comparable(a, other)
    assert why.startswith("features.weights_sha256")
