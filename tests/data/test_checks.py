"""What inspect finds, one trap at a time."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from pictures import noise, truncated_jpeg, zipped
from PIL import Image

from orthogan.data import inspect_source, layout_warnings, open_source


def report_on(path, resolution=None, unconditional=False):
    return inspect_source(open_source(str(path), unconditional), resolution)


def many(root, picture, name, n, first=0):
    for i in range(n):
        picture(root / name / f"{i}.png", seed=first + i)


@pytest.fixture
def healthy(tmp_path, picture):
    many(tmp_path / "in", picture, "cat", 25)
    many(tmp_path / "in", picture, "dog", 26, first=100)
    return tmp_path / "in"


def test_a_healthy_folder_has_nothing_to_warn_of(healthy):
    report = report_on(healthy, resolution=16)
    assert report.warnings == []
    assert report.images == 51
    assert report.classes == {"cat": 25, "dog": 26}
    assert report.sizes == {"16x16": 51}
    assert report.modes == {"RGB": 51}
    assert (report.duplicates, report.unreadable, report.ignored) == ([], [], {})
    assert json.loads(json.dumps(report.to_dict()))["classes"] == {"cat": 25, "dog": 26}


def only_warning(report) -> str:
    assert len(report.warnings) == 1, report.warnings
    return report.warnings[0]


def test_unreadable_files_are_decoded_to_be_found(healthy):
    truncated_jpeg(healthy / "cat" / "half.jpg")
    report = report_on(healthy)
    assert [name for name, _ in report.unreadable] == ["cat/half.jpg"]
    assert "truncated" in report.unreadable[0][1]
    assert "1 images cannot be read" in only_warning(report)


def test_same_pixels_in_other_files_are_duplicates(healthy):
    Image.fromarray(noise(3)).save(healthy / "dog" / "copy.bmp")
    Image.fromarray(noise(4)).save(healthy / "cat" / "copy.tif")
    report = report_on(healthy)
    assert sorted(map(sorted, report.duplicates)) == [["cat/3.png", "dog/copy.bmp"], ["cat/4.png", "cat/copy.tif"]]
    assert "2 images repeat another one" in report.warnings[0]
    assert report.warnings[1].startswith("1 of these groups have the same image in different classes")


def test_same_bytes_in_another_shape_are_no_duplicate(healthy):
    for size in ((8, 32), (32, 8)):
        Image.new("RGB", size).save(healthy / "cat" / f"{size[0]}.png")
    assert report_on(healthy).duplicates == []


def test_sizes_are_upright_and_modes_as_stored(healthy):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(7, (30, 10))).save(healthy / "cat" / "turned.jpg", exif=exif)
    Image.fromarray(np.zeros((10, 10), np.uint16)).save(healthy / "cat" / "deep.png")
    report = report_on(healthy)
    assert report.sizes == {"16x16": 51, "10x30": 1, "10x10": 1}
    assert report.modes == {"RGB": 52, "I;16": 1}


def test_one_level_too_high(tmp_path, healthy):
    up = tmp_path / "up"
    up.mkdir()
    healthy.rename(up / "images")
    warning = only_warning(report_on(up))
    assert "single class, 'images'" in warning
    assert "one level too high" in warning
    assert f"{up}/images" in warning


def test_splits_as_classes(tmp_path, healthy, picture):
    up = tmp_path / "up"
    up.mkdir()
    healthy.rename(up / "train")
    many(up, picture, "val", 25, first=200)
    warning = only_warning(report_on(up))
    assert "look like splits" in warning
    assert f"{up}/train" in warning


def test_one_level_too_low(healthy):
    assert "one level too low" in only_warning(report_on(healthy / "cat"))


def test_a_flat_folder_beside_other_things_is_fine(tmp_path, picture):
    many(tmp_path / "home", picture, "faces", 3)
    (tmp_path / "home" / "documents").mkdir()
    picture(tmp_path / "home" / "samples" / "000000.png")  # as `orthogan sample` names what it draws
    assert report_on(tmp_path / "home" / "faces").warnings == []


@pytest.mark.parametrize(("closed", "warnings"), [([f"home/closed{i}" for i in range(9)], 1), (["home"], 0)])
def test_closed_folders_beside_the_data_stop_nothing(tmp_path, picture, monkeypatch, closed, warnings):
    for name in ("cats", "dogs"):
        many(tmp_path / "home", picture, name, 3)
    for name in closed:
        (tmp_path / name).mkdir(exist_ok=True)
    source = open_source(str(tmp_path / "home" / "cats"))
    for call in ("scandir", "listdir"):
        monkeypatch.setattr(os, call, closing(getattr(os, call), [tmp_path / name for name in closed]))
    assert sum("one level too low" in text for text in layout_warnings(source)) == warnings


def closing(call, closed):
    """The call, refused in some folders, as it is to those who may not read them."""

    def asked(place):
        if Path(place) in closed:
            raise PermissionError(13, "Permission denied", str(place))
        return call(place)

    return asked


def test_small_and_unbalanced_classes(healthy, picture):
    picture(healthy / "owl" / "0.png", seed=500)
    warnings = report_on(healthy).warnings
    assert "1 of 3 classes have fewer than 25 images: owl (1)" in warnings[0]
    assert "26 images in the largest, 1 in the smallest" in warnings[1]
    assert report_on(healthy, unconditional=True).warnings == []


def test_a_class_without_any_image_counts_as_small(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.stack([noise(i) for i in range(60)]), labels=[1, 2] * 30)
    report = report_on(tmp_path / "a.npz")
    assert report.classes == {"0": 0, "1": 30, "2": 30}
    assert "0 (0)" in only_warning(report)


def test_images_below_the_training_resolution(healthy):
    assert "51 of 51 images are smaller than 32 pixels" in only_warning(report_on(healthy, resolution=32))


def test_shapes_that_are_not_square(healthy, picture):
    picture(healthy / "cat" / "wide.png", seed=9, size=(48, 16))
    warning = only_warning(report_on(healthy))
    assert "1 of 52 images are not square (of mixed shapes, up to 3.00 to 1)" in warning
    assert "--data.crop" in warning


@pytest.mark.parametrize(("brightest", "warned"), [(1, True), (2, False)])
def test_masks_of_0_and_1_are_black(tmp_path, brightest, warned):
    masks = np.random.default_rng(0).integers(0, 2, (40, 8, 8), np.uint8)
    masks[-1, 0, 0] = brightest
    np.save(tmp_path / "a.npy", masks)
    warnings = layout_warnings(open_source(str(tmp_path / "a.npy")))
    assert [("black: multiply by 255" in text) for text in warnings] == [True] * warned
    np.save(tmp_path / "b.npy", np.minimum(masks, 1).astype(np.float32))
    assert layout_warnings(open_source(str(tmp_path / "b.npy"))) == []


def test_ignored_files_are_counted_by_suffix(healthy):
    for name in ("a.txt", "b.TXT", "README"):
        (healthy / "cat" / name).write_text("x")
    report = report_on(healthy)
    assert report.ignored == {".txt": 2, "README": 1}
    assert "3 files were left aside" in only_warning(report)


def test_layout_warnings_decode_nothing(healthy, monkeypatch):
    source = open_source(str(healthy / "cat"))
    monkeypatch.setattr(type(source), "read", None)
    assert "too low" in layout_warnings(source)[0]


def test_a_zip_is_inspected_alike(healthy, tmp_path):
    truncated_jpeg(healthy / "cat" / "half.jpg")
    report = report_on(zipped(healthy, tmp_path / "a.zip"))
    assert (report.images, len(report.unreadable), report.classes) == (52, 1, {"cat": 26, "dog": 26})
