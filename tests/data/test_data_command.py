"""`orthogan data` as a person types it."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from pictures import flip_last_byte, noise, truncated_jpeg
from PIL import Image
from process import orthogan

from orthogan.commands.data import main
from orthogan.data import pack
from orthogan.data.cache import open_if_whole
from orthogan.data.config import DataConfig
from orthogan.data.partial import partial_folder
from orthogan.errors import UserError
from orthogan.files import ASIDE
from orthogan.metrics import kept


def test_inspect_prints_tables(classes, capsys):
    assert main(["inspect", str(classes), "--resolution", "32"]) == 0
    out = capsys.readouterr().out
    assert "5 images, 2 classes" in out
    for word in ("cat", "dog", "16x16", "RGB", "warning: 5 of 5 images are smaller than 32"):
        assert word in out


def test_inspect_lists_unreadable_files_and_ends_with_1(classes, capsys):
    truncated_jpeg(classes / "cat" / "[half].jpg")
    assert main(["inspect", str(classes)]) == 1
    assert "cat/[half].jpg" in capsys.readouterr().out


def test_json_is_the_whole_report(classes, capsys):
    assert main(["inspect", str(classes), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["classes"] == {"cat": 3, "dog": 2}
    assert set(report) >= {"images", "sizes", "modes", "duplicates", "unreadable", "ignored", "warnings"}


def test_what_cannot_be_opened_is_a_user_error():
    with pytest.raises(UserError, match="no such file"):
        main(["inspect", "no/such"])


def test_clear_lists_then_removes(classes, capsys, cache_home):
    path = pack(DataConfig(source=str(classes)), 16).path
    assert main(["clear", "--dry-run"]) == 0
    assert "1 packs" in capsys.readouterr().out
    assert main(["clear", "--keep-days", "1"]) == 0
    assert path.exists()
    os.utime(path / "meta.json", (time.time() - 2 * 86400,) * 2)
    assert main(["clear", "--keep-days", "1"]) == 0
    assert list(cache_home.iterdir()) == []


def test_clear_of_an_empty_cache(capsys):
    assert main(["clear"]) == 0
    assert "0 packs" in capsys.readouterr().out


def fill(classes, cache_home):
    """A pack, what a stopped packing left of one, and a file of features."""
    home = pack(DataConfig(source=str(classes)), 16).path
    with partial_folder(cache_home / "dead") as partial:
        (partial / "images.npy").write_bytes(bytes(3 * 2**20))
        shutil.copytree(partial, cache_home / partial.name.replace(partial.name[-4:], "gone"))
    features = kept.folder() / "a.safetensors"
    kept.write(features, np.zeros((10, 4), np.float32))
    return home, features


def test_clear_lists_and_removes_packs_partials_and_features(classes, cache_home):
    fill(classes, cache_home)
    with partial_folder(cache_home / "alive") as alive:
        listed = orthogan("data", "clear", "--dry-run", env={"COLUMNS": "200"})
        assert listed.status == 0, listed.err
        for told in ("pets", "left by a stopped", "3.15 MB", "features for scores", "2 packs and 1 files of features"):
            assert told in listed.out
        dead = kept.folder() / f"{ASIDE}dead"
        dead.mkdir()
        os.utime(dead, (0, 0))
        assert orthogan("data", "clear").status == 0
        assert list(cache_home.iterdir()) == [alive]
    assert list(kept.folder().iterdir()) == []


def test_clear_and_check_name_what_they_cannot_remove(classes, cache_home, capsys, read_only):
    home, features = fill(classes, cache_home)
    with read_only():
        assert main(["clear"]) == 1
    told = capsys.readouterr().out
    assert "0 packs and 0 files of features, 0 B, removed" in told
    for path in (home, features):
        assert path.exists()
        assert f"not removed: {path}: Read-only file system" in told
    for path in (home / "sums.npy", features):
        flip_last_byte(path)
    with read_only():
        assert main(["check"]) == 1
    told = capsys.readouterr().out.splitlines()
    for path in (home, features):
        (line,) = [line for line in told if line.startswith(f"torn: {path}")]
        assert "it cannot be set aside (Read-only file system): set ORTHOGAN_CACHE" in line
    assert main(["clear"]) == 0
    assert not home.exists()
    assert not features.exists()


def test_check_names_what_is_torn(classes, cache_home):
    home, features = fill(classes, cache_home)
    done = orthogan("data", "check")
    assert done.status == 0, done.out + done.err
    assert "is whole" in done.out
    for path in (home / "images.npy", features):
        flip_last_byte(path)
    done = orthogan("data", "check")
    assert done.status == 1
    assert f"torn: {home} " in done.out
    assert "1 images are not what was packed, the first is number 4" in done.out
    assert f"torn: {features}" in done.out
    assert open_if_whole(home) is None


def test_data_commands_need_no_pytorch():
    code = "import sys, orthogan.commands.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# What inspect advises


def last_line(done) -> list[str]:
    """The words of the last line, as a shell takes them."""
    return shlex.split(done.out.splitlines()[-1])


def test_inspect_ends_with_the_line_that_trains(tmp_path, picture):
    for i in range(3):
        picture(tmp_path / "my own $photos" / f"{i}.png", seed=i, size=(70, 64))
    folder = str(tmp_path / "my own $photos")
    words = last_line(orthogan("data", "inspect", folder))
    assert words == ["orthogan", "train", "small-32", "--data", folder]
    assert last_line(orthogan("data", "inspect", folder, "--resolution", "64"))[2] == "small-64"
    words = last_line(orthogan("data", "inspect", folder, "--data.unconditional"))
    assert words[-1] == "--data.unconditional"


def test_a_loose_picture_beside_class_folders_is_diagnosed(classes, picture):
    picture(classes / "loose.png", seed=70)
    truncated_jpeg(classes / "cat" / "half.jpg")
    done = orthogan("data", "inspect", classes)
    assert done.status == 1
    assert done.err.strip() == ""
    assert "training refuses this" in done.out
    assert "1 images lie beside the class folders (the first is 'loose.png')" in done.out
    assert "half.jpg" in done.out
    assert "7 images" in done.out
    assert last_line(done)[-2:] == ["--data.unconditional", "--data.skip-bad"]
    assert "lie beside the class folders" in orthogan("train", "digits", "--data", classes, "--out", "x").error


def test_advice_is_in_options_that_inspect_has(classes):
    up = orthogan("data", "inspect", classes.parent, "--json")
    advice = json.loads(up.out)["warnings"]
    assert any("--data.unconditional" in line for line in advice)
    assert orthogan("data", "inspect", classes.parent, "--data.unconditional").status == 0
    assert orthogan("data", "inspect", classes.parent, "--unconditional").status == 0


def test_many_duplicates_are_summed_up(tmp_path, picture):
    for i in range(40):
        picture(tmp_path / "in" / f"{i:02d}.png")
    done = orthogan("data", "inspect", tmp_path / "in")
    assert "and 36 more" in done.out
    assert "39 images repeat another one exactly" in done.out
    assert "30.png" not in done.out


def test_names_that_are_no_text_do_not_end_it(tmp_path, picture):
    picture(tmp_path / "in" / "a.png")
    for name in (b"\xff\xfe.png", b"\x1b[31mred.png"):
        with open(os.fsencode(tmp_path / "in") + b"/" + name, "wb") as file:
            file.write(b"x")
    done = orthogan("data", "inspect", tmp_path / "in", env={"PYTHONIOENCODING": "utf-8"})
    assert done.status == 1, done.err
    assert "\x1b" not in done.out
    assert "2 images cannot be read" in done.out
    refusal = orthogan("train", "digits", "--data", tmp_path / "in", "--out", "x").error
    assert "cannot identify" in refusal
    assert "\x1b" not in refusal


@pytest.mark.parametrize("name", ["C:\\[", "[bold]"])
def test_brackets_and_backslashes_in_names_are_shown_as_they_are(name, tmp_path, capsys):
    place = tmp_path / "in" / name / "x]"
    place.mkdir(parents=True)
    (place / "a.png").write_text("no image")
    Image.fromarray(noise(1)).save(place / "b.png")
    assert main(["inspect", str(tmp_path / "in")]) == 1
    assert f"{name}/x]/a.png" in capsys.readouterr().out
