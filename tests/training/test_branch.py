"""A branch: a new run from a checkpoint of another, with other settings, what fits of it, and its parent recorded."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_run

from orthogan import runs
from orthogan.config import CadenceConfig, RunConfig
from orthogan.errors import UserError
from orthogan.game.augment import AugmentConfig
from orthogan.settings import override
from orthogan.training import checkpoint
from orthogan.training.logs import read_begun, read_config
from orthogan.training.trainer import Observer, Trainer

CPU = torch.device("cpu")
ADA = AugmentConfig(kind="ada", speed_images=64, interval=1)


class Listener(Observer):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def told(self, text: str) -> None:
        self.lines.append(text)


def begin(folder: Path, config: RunConfig) -> Path:
    assert runs.start(config, "digits", folder, Observer(), CPU, lambda done, total: None).run()
    return folder


def branch(
    parent: Path, folder: Path, config: RunConfig, at: int | None = None, observer: Observer | None = None
) -> Trainer:
    return runs.branch(parent, config, folder, observer or Observer(), CPU, lambda done, total: None, at)


def images_in(folder: Path) -> list[int]:
    return [checkpoint.images_of(path) for path in checkpoint.numbered(folder / "checkpoints")]


def at(folder: Path, images: int) -> checkpoint.Loaded:
    return checkpoint.load(folder / "checkpoints" / checkpoint.file_name(images))


def same(one: checkpoint.Loaded, other: checkpoint.Loaded) -> bool:
    assert one.tensors.keys() == other.tensors.keys()
    return all(torch.equal(tensor, other.tensors[name]) for name, tensor in one.tensors.items())


@pytest.fixture
def parent(tmp_path: Path, arrays: Path) -> Path:
    """A run of 96 images in steps of 16, with checkpoints at 32, 64 and 96, the second between two lines of its log."""
    cadence = CadenceConfig(log_images=24, sheet_images=0, checkpoint_images=32)
    return begin(tmp_path / "parent", tiny_run(arrays, images=96, cadence=cadence, augment=ADA))


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_branch_with_nothing_changed_ends_with_the_bits_of_its_parent(parent: Path, tmp_path: Path) -> None:
    trainer = branch(parent, tmp_path / "new", read_config(parent), at=64)
    begun = trainer.images
    assert begun == 64
    assert same(at(tmp_path / "new", begun), at(parent, begun))
    assert trainer.run()
    assert same(at(tmp_path / "new", 96), at(parent, 96))
    assert lines(tmp_path / "new")[1:] == lines(parent)[-len(lines(tmp_path / "new")) :][1:]
    assert all(line["images"] > begun for line in lines(tmp_path / "new"))


def test_a_learning_rate_acts_from_the_branch_on_and_the_parent_stays(parent: Path, tmp_path: Path) -> None:
    files = {path: path.read_bytes() for path in parent.rglob("*") if path.is_file()}
    config = override(read_config(parent), {"optimizer.g_lr": 1e-5})
    trainer = branch(parent, tmp_path / "new", config, at=64)
    assert same(at(tmp_path / "new", 64), at(parent, 64))
    rates = [player.optimizer.param_groups[0]["lr"] for player in (trainer.game.g, trainer.game.d)]
    assert rates == [1e-5, 1e-3]
    assert trainer.run()
    assert not same(at(tmp_path / "new", 96), at(parent, 96))
    assert read_config(tmp_path / "new") == config
    assert {path: path.read_bytes() for path in parent.rglob("*") if path.is_file()} == files


def test_the_same_draws_unless_the_seed_is_another(parent: Path, tmp_path: Path) -> None:
    config = override(read_config(parent), {"optimizer.d_lr": 1e-5})
    found = branch(parent, tmp_path / "same", config, at=64)
    other = branch(parent, tmp_path / "other", override(config, {"seed": 1}), at=64)
    original = runs.resume(parent, read_config(parent), Observer(), CPU, lambda done, total: None)
    drawn = [t.feed.latents("latents of D", 64)[0][0] for t in (original, found, other)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    for trainer in (original, found, other):
        trainer.close()


def test_the_parent_is_recorded_and_told(parent: Path, tmp_path: Path) -> None:
    listener, new = Listener(), tmp_path / "new"
    config = override(read_config(parent), {"optimizer.g_lr": 1e-5, "batch": 4, "images": 112})
    trainer = branch(parent, new, config, observer=listener)
    recorded = read_begun(new).parent
    source = at(parent, 96)
    taken = ["generator", "discriminator", "ema", "g_optimizer", "d_optimizer", "augment"]
    assert recorded == {
        "checkpoint": str(source.path),
        "images": 96,
        "checksum": source.header.checksum,
        "changed": {"batch": [8, 4], "images": [96, 112], "optimizer.g_lr": [0.001, 1e-5]},
        "taken": taken,
        "afresh": [],
    }
    assert listener.lines[:3] == [
        f"branched from {source.path} at 96 images",
        "changed: batch 8 -> 4, images 96 -> 112, optimizer.g_lr 0.001 -> 1e-05",
        f"taken over: {', '.join(taken)}",
    ]
    trainer.close()
    # It is the folder's own: a resumed branch has it, and so have its checkpoints.
    (new / "config.json").unlink()
    resumed = runs.resume(new, config, Observer(), CPU, lambda done, total: None)
    assert resumed.run()
    assert (trainer.preset, read_begun(new).parent) == ("digits", recorded)
    assert at(new, 112).header.extra["parent"] == recorded
    assert "parent" not in at(parent, 96).header.extra


def test_it_is_resumed_exactly_from_the_moment_it_is_there(parent: Path, tmp_path: Path) -> None:
    config = override(read_config(parent), {"optimizer.g_lr": 1e-2})
    assert branch(parent, tmp_path / "straight", config, at=64).run()
    branch(parent, tmp_path / "killed", config, at=64).close()
    resumed = runs.resume(tmp_path / "killed", config, Observer(), CPU, lambda done, total: None)
    assert resumed.images == 64
    assert resumed.run()
    assert same(at(tmp_path / "killed", 96), at(tmp_path / "straight", 96))


def test_what_does_not_fit_begins_afresh_and_is_told(tmp_path: Path, arrays: Path) -> None:
    parent = begin(tmp_path / "parent", tiny_run(arrays, images=48))
    listener = Listener()
    config = dataclasses.replace(tiny_run(arrays, images=64), augment=ADA, loss="least-squares")
    trainer = branch(parent, tmp_path / "new", config, observer=listener)
    assert "begins afresh: augment" in listener.lines
    assert "taken over: generator, discriminator, ema, g_optimizer, d_optimizer" in listener.lines
    assert trainer.run()
    # And back: what a part of the parent is not there for is left.
    back = branch(tmp_path / "new", tmp_path / "back", dataclasses.replace(tiny_run(arrays), images=80))
    assert back.parent is not None
    assert back.parent["afresh"] == []
    assert back.run()


def test_optimizers_of_a_parent_without_them_begin_afresh(parent: Path, tmp_path: Path) -> None:
    found = at(parent, 96)
    tensors = {name: tensor for name, tensor in found.tensors.items() if not name.startswith("d_optimizer.3.")}
    checkpoint.save(found.path, tensors, found.header)
    trainer = branch(parent, tmp_path / "new", override(read_config(parent), {"images": 112}))
    assert trainer.parent is not None
    assert trainer.parent["afresh"] == ["d_optimizer"]
    assert trainer.run()


def test_the_newest_at_or_below_is_taken_and_a_torn_one_is_named(parent: Path, tmp_path: Path) -> None:
    there = images_in(parent)
    assert there == [96, 64, 32]
    config = read_config(parent)
    for number, (asked, found) in enumerate({64: 64, 95: 64, 63: 32}.items()):
        assert branch(parent, tmp_path / f"new{number}", config, at=asked).images == found
    with pytest.raises(UserError, match="at or below 31 images; there are 32, 64, 96"):
        branch(parent, tmp_path / "new", config, at=31)
    assert not (tmp_path / "new").exists()
    path = parent / "checkpoints" / checkpoint.file_name(64)
    path.write_bytes(path.read_bytes()[:-100])
    listener = Listener()
    assert branch(parent, tmp_path / "new", config, at=70, observer=listener).images == 32
    assert any(line.startswith("skipped: ") and path.name in line for line in listener.lines)


def test_the_best_checkpoint_counts(parent: Path, tmp_path: Path) -> None:
    checkpoint.keep_as_best(parent / "checkpoints" / checkpoint.file_name(32))
    (parent / "checkpoints" / checkpoint.file_name(32)).unlink()
    trainer = branch(parent, tmp_path / "new", read_config(parent), at=40)
    assert trainer.images == 32
    assert read_begun(tmp_path / "new").parent["checkpoint"].endswith("best.safetensors")  # type: ignore[index]


def test_other_data_of_as_many_classes_may_be_given(parent: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    for classes in (3, 4):
        np.savez(tmp_path / f"of{classes}.npz", images=images, labels=np.arange(20) % classes)
    config = override(read_config(parent), {"data.source": str(tmp_path / "of3.npz"), "data.mirror": True})
    assert branch(parent, tmp_path / "new", config, at=64).run()
    assert at(tmp_path / "new", 96).header.extra["data"] != at(parent, 96).header.extra["data"]
    for change in ({"data.source": str(tmp_path / "of4.npz")}, {"data.unconditional": True}):
        with pytest.raises(UserError, match=r"has [40] classes, and this run was begun with 3"):
            branch(parent, tmp_path / "none", override(config, change), at=64)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "change",
    [{"generator.width": 4}, {"discriminator.stabilizer": "none"}, {"generator.dim_z": 15}, {"n_classes": 4}],
)
def test_settings_that_change_tensors_are_refused_by_name(
    parent: Path, tmp_path: Path, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orthogan.runs.checks.load_data", None)  # before the data is read
    (path, value) = next(iter(change.items()))
    with pytest.raises(UserError, match=f"a branch keeps the networks.*{path} .* -> {value!r}"):
        branch(parent, tmp_path / "new", override(read_config(parent), change), at=64)
    assert not (tmp_path / "new").exists()


def test_settings_of_networks_that_change_no_tensor_are_taken(parent: Path, tmp_path: Path) -> None:
    config = override(read_config(parent), {"generator.latent": "censored-normal", "generator.bn_eps": 1e-3})
    assert branch(parent, tmp_path / "new", config, at=64).run()


def test_a_branch_that_would_not_take_a_step_and_one_over_a_run_are_refused(parent: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="images=96: the branch begins at 96 images; give more by --images"):
        branch(parent, tmp_path / "new", read_config(parent))
    with pytest.raises(UserError, match="already holds a run"):
        branch(parent, parent, read_config(parent), at=64)


@pytest.mark.parametrize("frozen", ["generator", "discriminator"])
def test_a_frozen_network_keeps_its_moments_to_be_thawed_with(parent: Path, tmp_path: Path, frozen: str) -> None:
    config = override(read_config(parent), {"freeze": frozen})
    assert branch(parent, tmp_path / "frozen", config, at=64).run()
    before, after = at(parent, 64), at(tmp_path / "frozen", 96)
    for name in (frozen, f"{frozen[0]}_optimizer", *(["ema"] if frozen == "generator" else [])):
        kept = before.part(name)
        assert kept
        assert all(torch.equal(tensor, after.part(name)[key]) for key, tensor in kept.items())
    thawed = branch(tmp_path / "frozen", tmp_path / "thawed", override(config, {"freeze": "none", "images": 112}))
    assert thawed.parent is not None
    assert thawed.parent["afresh"] == []
    assert thawed.run()
