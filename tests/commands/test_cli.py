"""The command line as a person meets it, in process."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import orthogan
from orthogan import presets, runtime
from orthogan.cli import COMMANDS, main

TINY = ["--width", "4", "--batch", "8", "--precision", "float32", "--device", "cpu"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of pictures of several sizes and modes, and one broken file."""
    rng = np.random.default_rng(0)
    modes = ["RGB", "RGBA", "L", "P", "CMYK", "1"]
    for i in range(24):
        folder = tmp_path / "pictures" / ("cats", "dogs")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        mode = modes[i % len(modes)]
        size = (40 + i, 64 - i)
        image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).convert(mode)
        image.save(folder / f"{i:02d}{'.jpg' if mode in ('RGB', 'CMYK') else '.png'}")
    (tmp_path / "pictures" / "dogs" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    return tmp_path / "pictures"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("evaluate", "[OPTIONS] RUN_OR_IMAGES ..."),
        ("evaluate", "--data.crop {center,"),
        ("compare", "RESULT ..."),
        ("spectra", "--out FOLDER"),
    ],
)
def test_help_tells_choices_and_that_several_may_follow(
    name: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    said = capsys.readouterr().out
    assert told in said
    assert "None" not in said


def test_every_command_has_a_module_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in COMMANDS)
    for name in COMMANDS:
        with contextlib.suppress(SystemExit):  # tyro leaves by itself
            assert main([name, "--help"]) == 0
        assert capsys.readouterr().out


def test_a_folder_of_ones_own_pictures_from_refusal_to_score(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["train", "digits", "--data", str(pictures), "--out", str(run), "--images", "32", *TINY]
    assert main(words) == 2
    assert "broken.jpg" in capsys.readouterr().err
    assert not run.exists()

    assert main([*words, "--data.skip-bad", "--cadence.sheet-images", "16"]) == 0
    told = capsys.readouterr().out
    assert f"orthogan sample {run}" in told
    assert list((run / "sheets").glob("*.png"))
    assert json.loads((run / "config.json").read_text())["run"]["n_classes"] == 2

    assert main(["resume", str(run), "--images", "40", "--device", "cpu"]) == 0
    # At its cadence, and at each end.
    assert [int(path.stem[-3:]) for path in sorted((run / "sheets").glob("*.png"))] == [16, 32, 40]
    assert main(["resume", str(run), "--images", "48", "--device", "cpu"]) == 0
    assert main(["resume", str(run), "--batch", "4", "--device", "cpu"]) == 2
    assert "batch: 8 -> 4" in capsys.readouterr().err

    out = tmp_path / "samples"
    assert main(["sample", str(run), "-n", "5", "--classes", "1", "--truncation", "0.5", "--out", str(out)]) == 0
    assert len(list(out.glob("*.png"))) == 5
    assert Image.open(out / "000000.png").size == (32, 32)
    assert main(["interpolate", str(run), "--rows", "2", "--steps", "3", "--out", str(tmp_path / "walk.png")]) == 0
    width, height = Image.open(tmp_path / "walk.png").size
    assert (width > 96, height) == (True, 64)  # classes stand on the left
    sheet = ["sheet", "truncation", str(run), "--thresholds", "1", "0.5", "--out", str(tmp_path / "sheet.png")]
    assert main(sheet) == 0
    width, height = Image.open(tmp_path / "sheet.png").size
    assert (width > 320, height) == (True, 64)  # thresholds stand on the left


def test_a_flat_folder_trains_without_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flat = tmp_path / "flat"
    flat.mkdir()
    for i in range(9):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(flat / f"{i}.png")
    run = tmp_path / "run"
    assert main(["train", "digits", "--data", str(flat), "--out", str(run), "--images", "16", *TINY]) == 0
    assert orthogan.load(run).n_classes == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trian"], "did you mean 'train'"),
        (["train", "digts"], "did you mean 'digits'"),
        (["train", "--data", "x"], "name a preset first"),
        (["train", "biggan-32"], "--data"),
        (["train", "digits", "--data", "/no/such/place"], "/no/such/place"),
        (["train", "digits", "--n-classes", "7"], "the data has 10 classes"),
        (["train", "digits", "--loss", "hing"], "did you mean 'hinge'"),
        (["train", "digits", "--latent", "normall"], "did you mean 'normal'"),
        (["train", "digits", "--cadence.score-images", "9", "--cadence.score-features", "incepton"], "'inception'"),
        (["resume", "/no/such/run"], "config.json"),
        (["sample", "/no/such/run"], "does not exist"),
        (["presets", "show", "bigan-128"], "did you mean 'biggan-128'"),
        (["presets", "diff", "biggan-128"], "diff A B"),
        (["doctor", "--fix"], "takes no options"),
        (["interpolate", "x", "--out", "walk.jpg"], ".png, .gif, .mp4"),
    ],
)
def test_bad_words_are_told_with_a_way_out(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.glob("runs/*"))


def test_one_word_chooses_the_stabilizer_and_wgan_gp_brings_its_loss(tmp_path: Path) -> None:
    words = ["train", "sngan-cnn-32", "--data", "digits", "--images", "16", *TINY]
    for stabilizer, loss in (("layer-norm", "non-saturating"), ("wgan-gp", "wasserstein")):
        run = tmp_path / stabilizer
        assert main([*words, "--stabilizer", stabilizer, "--out", str(run)]) == 0
        config = json.loads((run / "config.json").read_text())["run"]
        assert (config["discriminator"]["stabilizer"], config["loss"]) == (stabilizer, loss)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--regularizers.d-clip", "0.1"], "only discriminator.stabilizer weight-clipping reads it, not spectral-norm"),
        (["--stabilizer", "wgan-gp", "--loss", "hinge"], "needs --loss wasserstein"),
        (["--stabilizer", "orthonormal", "--regularizers.d-ortho", "0.1"], "contained in the stabiliser"),
    ],
)
def test_combinations_that_make_no_sense_are_refused_with_the_reason(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "sngan-cnn-32", "--data", "digits", *words]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "nearest"), [("--generator.widht", "--generator.width"), ("--optimiser.g-lr", "--optimizer.g-lr")]
)
def test_a_misspelt_option_is_refused_with_the_nearest_one(
    option: str, nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "digits", option, "3"]) == 2
    assert f"did you mean {nearest}?" in capsys.readouterr().err


def test_presets_are_listed_shown_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["presets"]) == 0
    told = capsys.readouterr().out
    of_sizes = {name: f"{name.rpartition('-')[0]}-R" for name in presets.PRESETS}
    assert all(name in told or kind in told for name, kind in of_sizes.items())
    assert "projected-R" in told
    assert "biggan-512-released" in told
    assert "32, 64" in told
    assert main(["presets", "diff", "biggan-128", "biggan-512"]) == 0
    told = capsys.readouterr().out
    assert "resolution" in told
    assert "optimizer" not in told


def test_dry_run_tells_parameters_and_trains_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["train", "biggan-128", "--dry-run", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "70,433,988" in told
    assert "87,982,370" in told
    assert "GB" in told
    assert not (tmp_path / "run").exists()


def test_doctor_names_versions_and_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    assert runtime.versions()["torch"] in told
    assert "pt_inception" in told
    monkeypatch.setattr("orthogan.optional.version", lambda name: None)
    assert main(["doctor"]) == 0
    assert "pip install 'orthogan[video]'" in capsys.readouterr().out


def test_importing_the_package_and_asking_for_help_loads_no_pytorch() -> None:
    code = "import sys, orthogan; from orthogan.cli import main; main([]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
