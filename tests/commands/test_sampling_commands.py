"""The commands that draw from a checkpoint, in processes."""

import csv
import resource
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from process import orthogan
from tiny import tiny_generator, tiny_run

from orthogan.training import checkpoint
from orthogan.training.checkpoint import Header

NAMES = ["Animals", "Flags", "Food, Drink"]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A checkpoint of three named classes, learnt from the folder `data`."""
    torch.manual_seed(0)
    tensors = {f"ema.{k}": v for k, v in tiny_generator().state_dict().items()}
    (tmp_path / "data" / "Flags").mkdir(parents=True)
    path = tmp_path / "tiny.safetensors"
    checkpoint.save(path, tensors, Header(tiny_run(tmp_path / "data"), 5, 1, {"class_names": NAMES}))
    return path


def test_samples_by_name_with_a_table_of_their_classes(saved: Path, tmp_path: Path) -> None:
    done = orthogan("sample", saved, "-n", "4", "--classes", '2,Flags,"Food, Drink"', "--out", tmp_path / "s")
    assert done.status == 0, done.err
    with (tmp_path / "s" / "classes.csv").open(newline="") as file:
        rows = [(row["file"], row["class"]) for row in csv.DictReader(file)]
    names = ["Food, Drink", "Flags", "Food, Drink", "Food, Drink"]
    assert rows == [(f"00000{i}.png", name) for i, name in enumerate(names)]
    by_index = orthogan(
        "sample", saved, "-n", "4", "--classes", "2,1,2", "--layout", "npz", "--out", tmp_path / "x.npz"
    )
    assert by_index.status == 0, by_index.err
    stored = np.load(tmp_path / "x.npz")
    assert [str(stored["class_names"][c]) for c in stored["labels"]] == names
    for i in range(4):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "s" / f"00000{i}.png")), stored["images"][i])


def test_samples_are_replaced_by_choice_only(saved: Path, tmp_path: Path) -> None:
    out = tmp_path / "s"
    assert orthogan("sample", saved, "-n", "5", "--out", out).status == 0
    error = orthogan("sample", saved, "-n", "2", "--out", out).error
    assert str(out) in error
    assert "--replace" in error
    assert len(list(out.glob("*.png"))) == 5
    assert orthogan("sample", saved, "-n", "2", "--out", out, "--replace").status == 0
    assert len(list(out.glob("*.png"))) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["sample", "-n", "4", "--layout", "npz", "--out", "mine.npz"],
        ["sample", "-n", "4", "--layout", "grid", "--out", "mine.png"],
        ["sheet", "classes", "--out", "mine.png"],
        ["sheet", "truncation", "--out", "mine.png"],
        ["interpolate", "--rows", "2", "--out", "mine.png"],
        ["interpolate", "--rows", "2", "--steps", "2", "--out", "mine.gif"],
    ],
)
def test_a_file_of_somebody_is_written_over_by_choice_only(words: list[str], saved: Path, tmp_path: Path) -> None:
    mine = tmp_path / words[-1]
    mine.write_text("mine")
    error = orthogan(*words, saved, cwd=tmp_path).error
    assert error == f"out='{mine.name}': is there already; choose another --out, or add --replace"
    assert mine.read_text() == "mine"
    assert orthogan(*words, saved, "--replace", cwd=tmp_path).status == 0
    assert mine.stat().st_size > 100
    assert {path.name for path in tmp_path.iterdir()} - {"cache", "standing"} == {"data", saved.name, mine.name}


@pytest.mark.parametrize(("suffix", "steps", "size"), [(".npz", 0, 2000), (".gif", 20, 2000), (".mp4", 20, 4000)])
def test_what_does_not_fit_the_disk_is_an_error_and_leaves_what_was_there(
    suffix: str, steps: int, size: int, saved: Path, tmp_path: Path
) -> None:
    if suffix == ".mp4":
        pytest.importorskip("imageio_ffmpeg")
    out = tmp_path / f"a{suffix}"
    out.write_text("earlier")
    words = ["interpolate", saved, "--steps", str(steps)] if steps else ["sample", saved, "--layout", "npz"]
    told = orthogan(*words, "--out", out, "--replace", limits={resource.RLIMIT_FSIZE: size}).error
    assert told.startswith(f"{out} cannot be written: ")
    assert out.read_text() == "earlier"
    assert not list(tmp_path.glob(".writing-*"))


def test_a_film_in_a_place_without_files_is_one_line(saved: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    assert orthogan("interpolate", saved, "--steps", "2", "--out", "/proc/x.mp4").error.startswith("/proc/x.mp4 cannot")


def test_names_that_are_no_text_are_written_as_escapes(tmp_path: Path) -> None:
    tensors = {f"ema.{k}": v for k, v in tiny_generator().state_dict().items()}
    path, names = tmp_path / "tiny.safetensors", ["caf\udce9", "b", "c"]
    checkpoint.save(path, tensors, Header(tiny_run(), 5, 1, {"class_names": names}))
    assert orthogan("sample", path, "-n", "1", "--classes", "0", "--out", tmp_path / "s").status == 0
    assert (tmp_path / "s" / "classes.csv").read_text().splitlines()[1] == "000000.png,0,caf\\udce9"
    if find_spec("huggingface_hub"):
        done = orthogan("export", path, "--to", "hub", "--out", tmp_path / "hub")
        assert done.status == 0, done.err
        assert "Classes: caf\\udce9, b, c." in (tmp_path / "hub" / "README.md").read_text()


def test_a_grid_is_written_to_the_file_that_is_named(saved: Path, tmp_path: Path) -> None:
    for words in (["--layout", "grid"], ["--replace"]):  # by its ending
        assert orthogan("sample", saved, "-n", "4", *words, "--out", tmp_path / "g.png").status == 0
        assert Image.open(tmp_path / "g.png").size == (32, 32)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sample", "--classes", "99"], "classes=99: this model has classes 0 to 2"),
        (["sample", "--classes", "Flag"], "did you mean 'Flags'?"),
        (["sample", "--out", "data/new"], "is in the data of the run"),
        (["sample", "--layout", "npz", "--out", "data/new.npz"], "is in the data of the run"),
        (["sample", "--out", "data"], "holds Flags; choose another folder"),
        (["sample", "--layout", "images", "--out", "g.png"], "add --layout grid"),
        (["sample", "--out", "g.jpg"], "must end in .npz or .png, or be a folder"),
        (["sample", "-n", "0"], "n=0: must be positive"),
        (["sheet", "classes", "--out", "data/sheet.png"], "is in the data of the run"),
        (["sheet", "truncation", "--thresholds", "1", "0"], "truncation=0.0: must be positive"),
        (["interpolate", "--classes", "Flag"], "did you mean 'Flags'?"),
        (["interpolate", "--fps", "0"], "fps=0: must be positive"),
        (["interpolate", "--scale", "0"], "scale=0: must be positive"),
        (["interpolate", "--out", "a.gif", "--fps", "60"], "at most 50"),
        (["interpolate", "--out", "data/a.gif"], "is in the data of the run"),
    ],
)
def test_what_cannot_be_is_refused_before_statistics_are_collected(
    words: list[str], told: str, saved: Path, tmp_path: Path
) -> None:
    error = orthogan(*words, saved, cwd=tmp_path).error
    assert told in error
    assert "\n" not in error
    assert {path.name for path in tmp_path.iterdir()} - {"cache"} == {"data", saved.name}


def test_rows_of_sheets_have_their_names_beside_them(saved: Path, tmp_path: Path) -> None:
    for words in (["sheet", "classes"], ["sheet", "truncation"], ["interpolate", "--between", "both", "--rows", "3"]):
        assert orthogan(*words, saved, "--out", tmp_path / "a.png", "--replace").status == 0
        picture = np.asarray(Image.open(tmp_path / "a.png"))
        left = picture[:, : picture.shape[1] - 160]
        assert left.shape[1] > 10
        for row in range(picture.shape[0] // 16):
            assert (left[16 * row : 16 * row + 16] < 100).any(), "something is written beside every row"


def test_films_are_full_and_a_second_long(saved: Path, tmp_path: Path) -> None:
    words = ["--rows", "6", "--steps", "2", "--scale", "2", "--fps", "10", "--out", tmp_path / "a.gif"]
    assert orthogan("interpolate", saved, *words).status == 0
    with Image.open(tmp_path / "a.gif") as film:
        assert film.size == (96, 64)
        durations = []
        for i in range(film.n_frames):  # type: ignore[attr-defined]
            film.seek(i)
            durations.append(film.info["duration"])
    assert sum(durations) >= 1000


def test_a_pickle_given_as_a_checkpoint_is_told_what_it_is(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "G_ema.pth")
    for words in (["sample", "G_ema.pth"], ["evaluate", "G_ema.pth", "--against", "x"]):
        error = orthogan(*words, cwd=tmp_path).error
        assert "G_ema.pth is a zip file: of torch.save" in error
        assert ".safetensors" in error


def test_too_few_images_to_score_are_refused_before_anything_is_imported_or_decoded() -> None:
    code = (
        "import sys; from orthogan.cli import main; "
        "status = main(['evaluate', 'x', '--against', 'y', '-n', '5']); sys.exit('torch' in sys.modules or status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: samples=5: must be at least 10\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["s"], {"sample", "sheet", "study"}),
        (["train", "biggan-25"], {"biggan-256"}),
        (["train", "digits", "--generator.wi"], {"--generator.width"}),
        (["train", "digits", "--dat"], {"--data", "--data.source"}),
        (["sheet", "t"], {"truncation"}),
        (["sample", "run", "--lay"], {"--layout"}),
        (["data", "clear", "--keep"], {"--keep-days"}),
        (["data", "ch"], {"check"}),
        (["sample", "ru"], set()),
    ],
)
def test_a_shell_completes_commands_presets_and_options(
    words: list[str], expected: set[str], completion_script: str
) -> None:
    ask = f"COMP_WORDS=(orthogan {' '.join(words)}); COMP_CWORD={len(words)}; _orthogan; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", f"{completion_script}\n{ask}"], capture_output=True, text=True, check=True)
    assert expected <= set(done.stdout.split())
    assert all(word.startswith(words[-1]) for word in done.stdout.split())
    assert expected or not done.stdout.split(), "no words: the shell offers paths"


@pytest.fixture(scope="module")
def completion_script() -> str:
    done = orthogan("completion", "bash")
    assert (done.status, done.err) == (0, "")
    return done.out


def test_completion_of_an_unknown_shell() -> None:
    assert "known: bash, zsh" in orthogan("completion", "tcsh").error
    assert orthogan("completion", "zsh").out.startswith("autoload")
