"""Pictures of many images, films, and files of samples."""

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from orthogan.errors import UserError
from orthogan.pictures import (
    check_film,
    full_columns,
    grid,
    labelled,
    place_of,
    plainly,
    save_film,
    save_images,
    to_and_fro,
)


def coloured(n: int, side: int = 16) -> Tensor:
    """Image i is filled with the grey level 30 i."""
    return (torch.arange(n) * 30).to(torch.uint8).view(n, 1, 1, 1).expand(n, side, side, 3).contiguous()


def test_the_grid_reads_left_to_right_and_leaves_colours_alone() -> None:
    images = torch.stack([torch.full((2, 2, 3), value, dtype=torch.uint8) for value in (10, 20, 30)])
    picture = np.asarray(grid(images, 2))
    assert picture.shape == (4, 4, 3)
    assert [int(picture[0, 0, 0]), int(picture[0, 2, 0]), int(picture[2, 0, 0])] == [10, 20, 30]
    assert (picture[2:, 2:] == 255).all()


def test_a_scaled_grid_repeats_pixels() -> None:
    images = coloured(2, 2)
    small, large = (np.asarray(grid(images, 2, scale)) for scale in (1, 3))
    assert np.array_equal(large, small.repeat(3, 0).repeat(3, 1))


@pytest.mark.parametrize(("n", "columns"), [(1, 1), (7, 7), (8, 4), (9, 3), (12, 4), (64, 8)])
def test_full_grids_have_no_hole(n: int, columns: int) -> None:
    assert full_columns(n) == columns
    assert n % columns == 0


def test_labels_stand_in_white_beside_their_rows_and_leave_the_picture_alone() -> None:
    picture = grid(coloured(4, 32), 2)
    whole = np.asarray(labelled(picture, ["Flags", "a name that is far too long to stand beside a row of images"]))
    left = whole.shape[1] - picture.width
    assert np.array_equal(whole[:, left:], np.asarray(picture))
    for row in (0, 1):
        ink = whole[row * 32 : (row + 1) * 32, :left] < 128
        assert ink.any()
        assert ink.any((1, 2))[[0, 1, -2, -1]].sum() == 0, "the text fits into its row"
    assert left < 250
    assert labelled(picture, []) is picture


@pytest.mark.parametrize(("layout", "name"), [("images", "000002.png"), ("grid", "grid.png"), ("npz", "samples.npz")])
def test_written_images_are_the_sampled_ones(tmp_path: Path, layout: str, name: str) -> None:
    images = coloured(3)
    save_images(iter([images[:2], images[2:]]), 3, tmp_path, layout)
    if layout == "npz":
        assert np.array_equal(np.load(tmp_path / name)["images"], images.numpy())
    elif layout == "grid":
        assert np.array_equal(np.asarray(Image.open(tmp_path / name)), np.asarray(grid(images, 2)))
    else:
        assert np.array_equal(np.asarray(Image.open(tmp_path / name)), images[2].numpy())


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_films_go_there_and_back(tmp_path: Path, suffix: str) -> None:
    if suffix == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    images = torch.arange(8, dtype=torch.uint8).mul(30).view(8, 1, 1, 1).expand(8, 16, 16, 3)
    path = tmp_path / f"film{suffix}"
    save_film(iter([images]), 4, path, fps=5)
    assert path.stat().st_size > 0
    if suffix == ".gif":
        film = Image.open(path)
        assert film.n_frames == 6  # type: ignore[attr-defined]


def test_the_class_of_every_numbered_file_is_in_a_table(tmp_path: Path) -> None:
    save_images(iter([coloured(3)]), 3, tmp_path / "new", "images", torch.tensor([1, 0, 1]), ["a, b", "Flags"])
    with (tmp_path / "new" / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["label"], row["class"]) for row in rows] == [
        ("000000.png", "1", "Flags"),
        ("000001.png", "0", "a, b"),
        ("000002.png", "1", "Flags"),
    ]


def test_an_npz_holds_labels_and_names(tmp_path: Path) -> None:
    save_images(iter([coloured(2)]), 2, tmp_path / "x.npz", "npz", torch.tensor([1, 0]), ["a", "Flags"])
    stored = np.load(tmp_path / "x.npz", allow_pickle=False)
    assert stored["labels"].tolist() == [1, 0]
    assert [str(stored["class_names"][c]) for c in stored["labels"]] == ["Flags", "a"]


def test_a_named_file_is_written_itself(tmp_path: Path) -> None:
    assert save_images(iter([coloured(4)]), 4, tmp_path / "g.png", "grid") == tmp_path / "g.png"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "g.png")), np.asarray(grid(coloured(4), 2)))
    for layout, name in (("images", "g.png"), ("npz", "g.png"), ("grid", "x.npz")):
        with pytest.raises(UserError, match="add --layout"):
            place_of(tmp_path / name, layout, False)


def test_samples_are_not_mixed_with_others(tmp_path: Path) -> None:
    save_images(iter([coloured(5)]), 5, tmp_path, "images", torch.zeros(5, dtype=torch.int64), ["a"])
    with pytest.raises(UserError, match=r"other samples.*--replace"):
        save_images(iter([coloured(2)]), 2, tmp_path, "images")
    save_images(iter([coloured(2)]), 2, tmp_path, "images", replace=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000.png", "000001.png"]
    (tmp_path / "cat.png").touch()
    with pytest.raises(UserError, match=r"holds cat\.png; choose another folder$"):
        save_images(iter([coloured(2)]), 2, tmp_path, "images", replace=True)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("layout", ["images", "grid", "npz"])
def test_samples_are_removed_when_there_are_others_in_their_place(tmp_path: Path, layout: str) -> None:
    save_images(iter([coloured(5)]), 5, tmp_path, "images")

    def failing() -> Iterator[Tensor]:
        raise RuntimeError("no memory")
        yield

    with pytest.raises(RuntimeError, match="no memory"):
        save_images(failing(), 2, tmp_path, layout, replace=True)
    assert len(list(tmp_path.iterdir())) == 5
    save_images(iter([coloured(2)]), 2, tmp_path, layout, replace=True)
    assert len(list(tmp_path.iterdir())) == (2 if layout == "images" else 1)


def test_what_a_killed_process_left_is_no_sample_of_others(tmp_path: Path) -> None:
    (tmp_path / ".writing-0123").mkdir()
    assert place_of(tmp_path, "grid", False) == tmp_path / "grid.png"


@pytest.mark.parametrize(("steps", "fps"), [(2, 15), (3, 24), (10, 15), (20, 30)])
def test_a_film_shows_every_step_there_and_back_for_a_second_at_least(steps: int, fps: int) -> None:
    order = to_and_fro(steps, fps)
    assert len(order) >= fps
    moves = [abs(a - b) for a, b in zip(order, [*order[1:], order[0]], strict=True)]
    assert max(moves) == 1
    assert set(order) == set(range(steps))
    assert all(order.count(step) == 2 for step in range(1, steps - 1))


def test_a_film_of_many_rows_is_full_and_large_enough(tmp_path: Path) -> None:
    save_film(iter([coloured(8).repeat(2, 1, 1, 1)]), 2, tmp_path / "a.gif", 10)
    with Image.open(tmp_path / "a.gif") as film:
        assert film.size == (256, 128)
        frame = np.asarray(film.convert("RGB"))
        assert sum(film.seek(i) or film.info["duration"] for i in range(film.n_frames)) >= 1000  # type: ignore[attr-defined, func-returns-value]
    assert (frame < 250).all(), "no white hole"
    save_film(iter([coloured(8)]), 2, tmp_path / "b.gif", 10, scale=3)
    assert Image.open(tmp_path / "b.gif").size == (96, 96)


@pytest.mark.parametrize(
    ("name", "fps", "told"), [("a.mp4", 0, "fps=0"), ("a.gif", -1, "fps=-1"), ("a.gif", 60, "mp4")]
)
def test_films_that_cannot_be_are_refused_at_once(name: str, fps: int, told: str) -> None:
    with pytest.raises(UserError, match=told):
        check_film(Path(name), fps)


def test_without_a_font_of_other_alphabets_labels_are_told_in_ascii() -> None:
    assert plainly("Tiere (größer) é 日本") == "Tiere (grosser) e ??"


@pytest.mark.parametrize(("layout", "name"), [("grid", "h.jpg"), ("npz", "h.pt"), ("grid", "h.gif")])
def test_a_file_of_another_kind_is_refused_and_makes_no_folder(tmp_path: Path, layout: str, name: str) -> None:
    with pytest.raises(UserError, match=r"must end in \.(png|npz), or be a folder"):
        place_of(tmp_path / name, layout, False)
    assert not list(tmp_path.iterdir())
