"""Batches addressed by position."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from orthogan.data import BatchStream, ImageCache


def cache_of(n: int, labelled: bool = True, size: int = 4) -> ImageCache:
    """Image i holds the value i on the left and 255 - i on the right, so that a mirrored one is known."""
    images = np.empty((n, size, size, 3), np.uint8)
    images[:, :, : size // 2] = np.arange(n).reshape(n, 1, 1, 1)
    images[:, :, size // 2 :] = 255 - np.arange(n).reshape(n, 1, 1, 1)
    labels = np.arange(n) % 3 if labelled else None
    return ImageCache(images, labels, ["a", "b", "c"] if labelled else [], "", [], "made", Path())


def ids(images: torch.Tensor) -> list[int]:
    """Which images of `cache_of` these are, mirrored or not."""
    return torch.minimum(images[:, 0, 0, 0], images[:, 0, 0, -1]).tolist()


def mirrored(images: torch.Tensor) -> list[bool]:
    return (images[:, 0, 0, 0] > images[:, 0, 0, -1]).tolist()


@pytest.mark.parametrize("mirror", [False, True])
def test_form_of_a_batch(mirror):
    images, labels = BatchStream(cache_of(10, size=8), 0, mirror).batch(0, 6)
    assert images.shape == (6, 3, 8, 8)
    assert images.dtype == torch.uint8
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [i % 3 for i in ids(images)]
    assert torch.equal(images[:, 0], images[:, 1])


def test_every_image_exactly_once_an_epoch():
    stream = BatchStream(cache_of(23), 0, mirror=True)
    shown = [i for position in range(0, 23 * 4, 4) for i in ids(stream.batch(position, 4)[0])]
    epochs = [shown[i : i + 23] for i in range(0, 23 * 4, 23)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(23))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_any_slicing_gives_the_same_images():
    cache = cache_of(10)
    images, labels = BatchStream(cache, 3, mirror=True).batch(7, 24)  # over three epochs
    for sizes in ([12, 12], [1, 10, 13], [1] * 24):
        position, parts = 7, []
        for size in sizes:  # a new stream each time, as another process or a resumed run has
            parts.append(BatchStream(cache, 3, mirror=True).batch(position, size))
            position += size
        assert torch.equal(torch.cat([part[0] for part in parts]), images)
        assert torch.equal(torch.cat([part[1] for part in parts]), labels)


def test_going_back_gives_the_same_batch():
    stream = BatchStream(cache_of(10), 0, mirror=True)
    first = stream.batch(5, 4)[0].clone()
    for epoch in range(5):
        stream.batch(10 * epoch, 4)
    assert torch.equal(stream.batch(5, 4)[0], first)


def test_more_images_than_the_data_has():
    images, _ = BatchStream(cache_of(3), 0, mirror=False).batch(0, 9)
    assert [sorted(ids(images)[i : i + 3]) for i in (0, 3, 6)] == [[0, 1, 2]] * 3


def test_seeds_differ():
    orders = {tuple(ids(BatchStream(cache_of(50), seed, False).batch(0, 50)[0])) for seed in range(4)}
    assert len(orders) == 4


def test_mirror_flips_about_half_and_only_when_asked():
    cache = cache_of(120)
    flips = mirrored(BatchStream(cache, 0, True).batch(0, 120)[0])
    assert 40 < sum(flips) < 80
    assert flips != mirrored(BatchStream(cache, 0, True).batch(120, 120)[0])
    assert not any(mirrored(BatchStream(cache, 0, False).batch(0, 120)[0]))


def test_mirror_reverses_columns_and_leaves_order_alone():
    generator = np.random.default_rng(0)
    cache = dataclasses.replace(cache_of(40), images=generator.integers(0, 256, (40, 6, 6, 3), dtype=np.uint8))
    plain, with_flips = (BatchStream(cache, 0, mirror).batch(0, 40)[0] for mirror in (False, True))
    kinds = {(torch.equal(a, b), torch.equal(a.flip(2), b)) for a, b in zip(plain, with_flips, strict=True)}
    assert kinds == {(True, False), (False, True)}


# Random crops


def places(n: int, size: int) -> ImageCache:
    """Each pixel of image i holds i, its row and its column."""
    y, x = np.mgrid[:size, :size]
    images = np.stack([np.stack([np.full_like(x, i), y, x], -1) for i in range(n)]).astype(np.uint8)
    return dataclasses.replace(cache_of(n), images=images)


def corners(images: torch.Tensor) -> list[tuple[int, int]]:
    return [(int(image[1].min()), int(image[2].min())) for image in images]


def test_crops_are_whole_squares_of_the_image():
    images, _ = BatchStream(places(50, 10), 0, mirror=False, resolution=8).batch(0, 50)
    assert images.shape == (50, 3, 8, 8)
    assert images.is_contiguous(memory_format=torch.channels_last)
    for image, (top, left) in zip(images, corners(images), strict=True):
        assert torch.equal(image[1], torch.arange(top, top + 8).repeat(8, 1).T)
        assert torch.equal(image[2], torch.arange(left, left + 8).repeat(8, 1))
    assert len(set(corners(images))) == 9  # 0, 1 or 2 down and across
    assert sorted(images[:, 0, 0, 0].tolist()) == list(range(50))


def test_crops_do_not_depend_on_how_a_batch_is_sliced():
    cache = places(10, 12)
    images, _ = BatchStream(cache, 3, mirror=True, resolution=8).batch(7, 24)
    for sizes in ([12, 12], [1, 10, 13], [1] * 24):
        position, parts = 7, []
        for size in sizes:
            parts.append(BatchStream(cache, 3, mirror=True, resolution=8).batch(position, size)[0])
            position += size
        assert torch.equal(torch.cat(parts), images)


def test_crops_change_from_epoch_to_epoch_and_leave_order_and_flips_alone():
    cache = places(40, 20)
    stream = BatchStream(cache, 0, mirror=True, resolution=10)
    first, second = corners(stream.batch(0, 40)[0]), corners(stream.batch(40, 40)[0])
    assert first != second
    plain, cropped = BatchStream(cache, 0, True).batch(0, 40)[0], stream.batch(0, 40)[0]
    assert torch.equal(plain[:, 0, 0, 0], cropped[:, 0, 0, 0])
    rising = [x[:, 2, 0, 0] < x[:, 2, 0, -1] for x in (plain, cropped)]
    assert torch.equal(rising[0], rising[1])


def test_unlabelled_images_have_label_zero():
    assert BatchStream(cache_of(5, labelled=False), 0, False).batch(3, 4)[1].tolist() == [0] * 4


def test_batches_are_fresh_memory():
    cache = cache_of(4)
    before = cache.images.copy()
    stream = BatchStream(cache, 0, True)
    first = stream.batch(0, 4)[0]
    kept = first.clone()
    stream.batch(4, 4)
    assert torch.equal(first, kept)
    first.zero_()
    assert np.array_equal(cache.images, before)


def test_order_does_not_change_between_versions():
    """A run resumed under a newer version must see the order it began with."""
    images, _ = BatchStream(cache_of(8), 0, True).batch(0, 8)
    assert ids(images) == [4, 1, 5, 3, 6, 0, 2, 7]
    assert [int(flip) for flip in mirrored(images)] == [0, 0, 1, 1, 0, 0, 1, 0]
