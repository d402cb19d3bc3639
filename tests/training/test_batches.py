"""What the trainer hands to the steps: G's batch over several batches, pairs, noise."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from process import orthogan
from tiny import tiny_run

from orthogan import randomness, runs
from orthogan.randomness import LATENTS_OF_D, LATENTS_OF_G, draw
from orthogan.settings import override
from orthogan.training.trainer import Observer, Trainer


def begin(folder: Path, source: Path, **changes: Any) -> Trainer:
    # 10 classes, as many as the preset digits, for those of the data to be taken.
    config = override(tiny_run(source), {"n_classes": 10, **changes})
    return runs.start(config, "digits", folder, Observer(), torch.device("cpu"), lambda done, total: None)


def rows_normalised_together(trainer: Trainer) -> list[int]:
    """Rows that a batch norm of G saw in each forward of one step whose gradients are asked for."""
    seen: list[int] = []

    def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if torch.is_grad_enabled():
            seen.append(len(inputs[0]))

    trainer.game.g.network.norm.register_forward_hook(note)  # type: ignore[operator, union-attr]
    trainer.step()
    return seen


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({}, [8]),
        ({"g_batches": 2}, [16]),
        ({"g_batches": 2, "accumulate": 2}, [8, 8]),
        ({"g_batches": 2, "accumulate": 2, "bn_over": "batch"}, [16]),
        ({"g_batches": 3, "accumulate": 4}, [6, 6, 6, 6]),
    ],
    ids=str,
)
def test_g_normalises_its_whole_batch_at_once_or_a_micro_batch_of_it(
    tmp_path: Path, arrays: Path, changes: dict[str, Any], rows: list[int]
) -> None:
    assert rows_normalised_together(begin(tmp_path / "run", arrays, **changes)) == rows


def test_latents_of_all_batches_are_drawn_alike_however_they_are_shared(tmp_path: Path, arrays: Path) -> None:
    whole = begin(tmp_path / "whole", arrays, g_batches=2).feed.latents(LATENTS_OF_G, 0, 2)
    shared = begin(tmp_path / "shared", arrays, g_batches=2, accumulate=4).feed.latents(LATENTS_OF_G, 0, 2)
    assert [len(z) for z, _ in shared] == [4] * 4
    assert torch.equal(torch.cat([z for z, _ in shared]), whole[0][0])
    assert len(whole[0][0].unique(dim=0)) == 16


@pytest.mark.parametrize("accumulate", [1, 4])
def test_pixel_noise_is_drawn_once_a_batch_and_is_the_same_in_any_share(
    tmp_path: Path, arrays: Path, accumulate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = begin(tmp_path / "run", arrays, accumulate=accumulate, **{"data.dequantize": True})
    drawn: list[str] = []
    monkeypatch.setattr(randomness, "draw", lambda *address: drawn.append(address[1]) or draw(*address))
    images = torch.cat([x for x, _ in trainer.feed.real(8)])
    assert drawn.count("dequantize") == 1
    noise = torch.rand((8, 3, 16, 16), generator=draw(0, "dequantize", 8))
    torch.testing.assert_close(images, (trainer.feed.stream.batch(8, 8)[0] + noise) / 128 - 1)


def test_statistics_over_the_batch_are_refused_only_where_they_are_that_already(arrays: Path) -> None:
    words = ("train", "sngan-32", "--data", arrays, "--bn-over", "batch")
    told = orthogan(*words).error
    assert told.startswith("bn_over='batch': has no effect while accumulate is 1, for each update is then one batch")
    assert orthogan(*words, "--accumulate", "2", "--width", "4", "--dry-run").status == 0


def test_fakes_have_the_classes_of_the_data_as_often(tmp_path: Path) -> None:
    """Nine tenths of the images are of the first of two classes."""
    np.savez(tmp_path / "data.npz", images=np.zeros((40, 16, 16, 3), np.uint8), labels=np.repeat([0, 1], [36, 4]))
    first = {}
    for kind in ("uniform", "data"):
        trainer = begin(tmp_path / kind, tmp_path / "data.npz", fake_classes=kind)
        drawn = torch.cat([y for k in range(40) for _, y in trainer.feed.latents(LATENTS_OF_D, 8 * k) if y is not None])
        first[kind] = float((drawn == 0).float().mean())
        trainer.close()
    assert first["data"] == pytest.approx(0.9, abs=0.06)
    assert first["uniform"] == pytest.approx(0.5, abs=0.09)
