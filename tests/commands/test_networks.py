"""Networks chosen apart on the command line, by name and by setting, in today's words and in those of earlier times."""

import json
from pathlib import Path
from typing import Any

import pytest
from process import orthogan

from orthogan import model
from orthogan.cli import main
from orthogan.commands.options import expand, separate
from orthogan.commands.train import with_augmentation
from orthogan.game.augment import AugmentConfig
from orthogan.presets import get
from orthogan.settings import flatten

TINY = ["--batch", "8", "--images", "32", "--precision", "float32", "--device", "cpu"]


def expanded(preset: str, *words: str) -> list[str]:
    return expand(separate(list(words)), flatten(get(preset)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("--network.width 4", "--generator.width 4 --discriminator.width 4"),
        ("--network.width=4", "--generator.width 4 --discriminator.width 4"),
        ("--width 4 --seed 1", "--generator.width 4 --discriminator.width 4 --seed 1"),
        ("--network.g-channels 4 4 2 --seed 1", "--generator.channels 4 4 2 --seed 1"),
        ("--network.g_channels 4 4 2", "--generator.channels 4 4 2"),
        ("--network.no-skip-z", "--generator.no-skip-z"),
        ("--network.resolution 64", "--resolution 64"),
        ("--network.n-classes 2", "--n-classes 2"),
        ("--network.latent normal", "--generator.latent normal"),
        ("--stabilizer none", "--discriminator.stabilizer none"),
        ("--network.d-downs 1 --latent uniform", "--discriminator.downs 1 --generator.latent uniform"),
        ("--stabilizer wgan-gp", "--discriminator.stabilizer wgan-gp --loss wasserstein"),
        ("--network.stabilizer wgan-gp --loss hinge", "--discriminator.stabilizer wgan-gp --loss hinge"),
        ("--data x --generator.width 3", "--data.source x --generator.width 3"),
        ("--network.widht 3", "--network.widht 3"),
    ],
)
def test_old_and_short_words_are_today_s_options(old: str, new: str) -> None:
    assert expanded("digits", *old.split()) == new.split()


def test_a_shared_word_goes_to_the_networks_that_have_the_setting() -> None:
    assert expanded("sngan-32", "--network.sn-eps", "1e-3") == ["--discriminator.sn-eps", "1e-3"]
    assert expanded("sngan-32", "--network.d-labels", "concat") == ["--discriminator.labels", "concat"]


def settings(folder: Path) -> dict[str, Any]:
    run: dict[str, Any] = json.loads((folder / "config.json").read_text())["run"]
    return run


def test_a_run_in_old_words_is_the_run_in_new_ones(tmp_path: Path, arrays: Path) -> None:
    shape = {
        "old": "--network.resolution 16 --network.width 4 --network.g-channels 4 2 1 --network.dim-z 12"
        " --network.no-skip-z --network.d-channels 1 2 --network.d-downs 1 --network.stabilizer none",
        "new": "--resolution 16 --width 4 --generator.channels 4 2 1 --generator.dim-z 12"
        " --generator.no-skip-z --discriminator.channels 1 2 --discriminator.downs 1 --stabilizer none",
    }
    for name, words in shape.items():
        out = ["--data", arrays, *TINY, "--out", tmp_path / name]
        assert orthogan("train", "digits", *words.split(), *out).status == 0
    assert settings(tmp_path / "old") == settings(tmp_path / "new")
    assert orthogan("resume", tmp_path / "old", "--images", "64", "--network.width", "4").status == 0


def test_another_discriminator_and_generator_by_name(tmp_path: Path, arrays: Path) -> None:
    words = ["--resolution", "16", "--width", "4", "--generator=sngan-cnn", "--discriminator", "biggan-deep"]
    chosen = [*words, "--discriminator.channels", "1", "2", "--discriminator.downs", "1", "--data", arrays, *TINY]
    chosen += ["--stabilizer", "layer-norm"]
    assert orthogan("train", "digits", *chosen, "--dry-run").status == 0
    assert orthogan("train", "digits", *chosen, "--out", tmp_path / "run").status == 0
    run = settings(tmp_path / "run")
    assert (run["resolution"], run["n_classes"]) == (16, 3)
    assert (run["generator"]["family"], run["generator"]["width"]) == ("sngan-cnn", 4)
    found = run["discriminator"]
    assert (found["family"], found["width"], found["channels"]) == ("biggan-deep", 4, [1, 2])
    assert found["stabilizer"] == "layer-norm"
    assert "BigGANDeep" not in repr(model.load(tmp_path / "run", device="cpu"))
    assert orthogan("resume", tmp_path / "run", "--images", "64").status == 0
    told = orthogan("resume", tmp_path / "run", "--images", "96", "--discriminator", "sngan").error
    assert "discriminator.family: 'biggan-deep' -> 'sngan'" in told


def test_a_network_that_the_preset_has_already_keeps_the_preset_s_shape(tmp_path: Path, arrays: Path) -> None:
    words = ["--generator", "biggan", "--discriminator", "biggan", "--width", "4", "--data", arrays, *TINY]
    assert orthogan("train", "digits", *words, "--out", tmp_path / "run").status == 0
    assert settings(tmp_path / "run")["generator"]["channels"] == [8, 8, 4, 2]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--discriminator", "sgan"], "unknown discriminator 'sgan'; did you mean 'sngan'? known: biggan, biggan-deep"),
        (["--generator"], "--generator='': give a name: biggan"),
        (["--generator", "--width", "3"], "--generator='--width': give a name: biggan"),
        (["--discriminator.downs", "9"], "discriminator.downs=9: must be at most the 4 blocks"),
        (["--resolution", "20"], "resolution=20: the generator's blocks need a multiple of 8: 16 or 24"),
        (["--network.resolution", "20"], "resolution=20: "),
        (["--generator", "sngan-cnn", "--stabilizer", "batchnorm"], "did you mean 'batch-norm'"),
        (["--generator", "sngan", "--generator.attention", "8"], "unknown option --generator.attention"),
    ],
)
def test_what_does_not_fit_is_one_line_in_the_words_of_today(words: list[str], told: str) -> None:
    assert told in orthogan("train", "digits", "--data", "digits", *words).error


def test_networks_from_outside_are_commanded_like_the_others(
    tmp_path: Path, arrays: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The toys of tests/toys.py, which the tables alone know, in this process."""
    words = ["--generator", "toy", "--discriminator", "toy", "--resolution", "16", "--data", str(arrays), *TINY]
    words += ["--generator.sharpness", "0.5", "--discriminator.patches", "2"]
    assert main(["train", "digits", *words, "--dry-run"]) == 0
    assert "generator.sharpness" in capsys.readouterr().out
    run = tmp_path / "run"
    assert main(["train", "digits", *words, "--out", str(run)]) == 0
    assert settings(run)["discriminator"] == {"family": "toy", "patches": 2}
    assert main(["resume", str(run), "--images", "64"]) == 0
    assert main(["sample", str(run), "-n", "2", "--out", str(tmp_path / "samples")]) == 0
    capsys.readouterr()
    assert main(["sample", str(run), "-n", "2", "--truncation", "0.5", "--out", str(tmp_path / "cut")]) == 2
    assert "truncation=0.5: this generator has no truncation; leave it out" in capsys.readouterr().err
    assert main(["train", "digits", *words, "--latent", "uniform", "--stabilizer", "none"]) == 2
    assert "unknown option --stabilizer" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["none", "ada"])
def test_another_augmentation_comes_without_the_preset_s_settings(kind: str) -> None:
    config = with_augmentation(get("fastgan-64"), ["--augment.kind", kind])
    assert config.augment == AugmentConfig(kind=kind)  # type: ignore[arg-type]
    assert with_augmentation(get("fastgan-64"), ["--augment.kind", "diffaugment"]) == get("fastgan-64")
    assert with_augmentation(get("fastgan-64"), ["--augment.kind", "more"]) == get("fastgan-64")  # told by the parser


def test_augment_is_a_short_word() -> None:
    assert expanded("digits", "--augment", "ada") == ["--augment.kind", "ada"]
