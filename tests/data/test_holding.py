"""The share of the images that is kept back from training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_run

from orthogan import runs
from orthogan.data import BatchStream, holding, pack
from orthogan.data.config import DataConfig
from orthogan.errors import UserError
from orthogan.settings import override
from orthogan.training.duties import scored_images
from orthogan.training.observer import Observer


def config(source: Path, **changes: object) -> DataConfig:
    return DataConfig(source=str(source), **changes)  # type: ignore[arg-type]


def test_of_every_class_its_share_is_kept_back_but_one_at_least_and_never_all() -> None:
    """By hand: a tenth of 40 are 4, of 4 is rounded up to 1, of 2 is 1, and of a single image nothing."""
    labels = np.repeat([0, 1, 2, 3], [40, 4, 2, 1])
    kept = holding.kept_back(labels, len(labels), 0.1, seed=0)
    assert np.bincount(labels[kept], minlength=4).tolist() == [4, 1, 1, 0]
    assert (np.diff(kept) > 0).all()
    most = holding.kept_back(labels, len(labels), 0.99, seed=0)
    assert np.bincount(labels[most], minlength=4).tolist() == [39, 3, 1, 0]
    assert len(holding.kept_back(None, 47, 0.1, seed=0)) == 5


def test_the_choice_follows_its_own_seed_alone() -> None:
    labels = np.arange(200) % 3
    first = holding.kept_back(labels, 200, 0.2, seed=0)
    assert np.array_equal(first, holding.kept_back(labels, 200, 0.2, seed=0))
    assert not np.array_equal(first, holding.kept_back(labels, 200, 0.2, seed=1))


def test_the_parts_are_the_whole_and_share_nothing(arrays: Path) -> None:
    whole = pack(config(arrays), 16)
    parts = [holding.load(config(arrays, hold_out=0.25), 16, part=part) for part in ("training", "held-out")]
    assert [len(part) for part in parts] == [30, 10]
    assert whole.labels is not None
    for part in parts:
        assert part.rows is not None
        assert part.labels is not None
        every = np.arange(len(part))
        assert np.array_equal(part.checked[every], whole.checked[part.rows])
        assert np.array_equal(part.labels, whole.labels[part.rows])
        assert part.checked.shape == (len(part), 16, 16, 3)
    assert sorted(np.concatenate([part.rows for part in parts if part.rows is not None])) == list(range(40))
    assert len({whole.fingerprint, *(part.fingerprint for part in parts)}) == 3


def test_nothing_kept_back_leaves_everything_as_it_was(arrays: Path) -> None:
    whole, loaded = pack(config(arrays), 16), holding.load(config(arrays), 16)
    assert loaded.rows is None
    assert loaded.fingerprint == whole.fingerprint


def test_batches_show_the_training_part_alone(arrays: Path) -> None:
    training = holding.load(config(arrays, hold_out=0.25), 16)
    images, labels = BatchStream(training, seed=0, mirror=False).batch(0, 30)
    whole = pack(config(arrays), 16)
    assert training.rows is not None
    assert whole.labels is not None
    shown = {(image.numpy().tobytes(), int(label)) for image, label in zip(images.permute(0, 2, 3, 1), labels)}  # noqa: B905
    wanted = {(whole.images[row].tobytes(), int(whole.labels[row])) for row in training.rows}
    assert shown == wanted


def test_a_damaged_image_of_a_part_is_named_by_its_place_in_the_pack(arrays: Path) -> None:
    training = holding.load(config(arrays, hold_out=0.25), 16)
    assert training.sums is not None
    assert training.rows is not None
    training.sums[training.rows[3]] ^= np.uint64(1)
    with pytest.raises(UserError, match=f"image {training.rows[3]} of "):
        training.checked[np.array([2, 3])]


def test_other_readings_of_the_source_have_the_same_parts(arrays: Path) -> None:
    """Larger images for random crops, or with the labels that an unconditional run does not see."""
    run = tiny_run(arrays, data=config(arrays, hold_out=0.25, unconditional=True, random_crop=0.8), n_classes=0)
    trained = runs.load_data(run)
    scored = scored_images(run, "data", trained)
    assert scored.labels is not None
    assert scored.resolution == 16
    assert trained.resolution == 20
    assert trained.rows is not None
    assert np.array_equal(scored.rows, trained.rows)
    assert scored_images(run, "efficientnet-lite0").labels is None


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UserError, match=r"data\.hold_out="):
        DataConfig(hold_out=share)


def test_a_seed_without_a_share_is_refused() -> None:
    with pytest.raises(UserError, match=r"data\.hold_out_seed=3"):
        DataConfig(hold_out_seed=3)


def test_where_nothing_is_kept_back_there_is_no_held_out_part(arrays: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--data\.hold-out 0\.1"):
        holding.load(config(arrays), 16, part="held-out")
    np.savez(tmp_path / "two.npz", images=np.zeros((2, 16, 16, 3), np.uint8), labels=np.arange(2))
    with pytest.raises(UserError, match="no class has the two images"):
        holding.load(config(tmp_path / "two.npz", hold_out=0.5), 16)


def test_a_run_knows_its_part_and_refuses_another_on_resume(arrays: Path, tmp_path: Path) -> None:
    def nothing(done: int, total: int) -> None:
        pass

    cpu = torch.device("cpu")
    begun = tiny_run(arrays, data=config(arrays, hold_out=0.25), images=16)
    trainer = runs.start(begun, "digits", tmp_path / "run", Observer(), cpu, nothing)
    trainer.run()
    assert len(trainer.cache) == 30
    kept = trainer.config
    again = runs.resume(tmp_path / "run", override(kept, {"images": 32}), Observer(), cpu, nothing)
    assert again.cache.fingerprint == trainer.cache.fingerprint
    again.close()
    with pytest.raises(UserError, match=r"data\.hold_out_seed: 0 -> 1"):
        runs.resume(tmp_path / "run", override(kept, {"data.hold_out_seed": 1}), Observer(), cpu, nothing)
