"""`orthogan data` as a person types it."""

import json
import os
import time

import pytest
from pictures import truncated_jpeg

from orthogan.commands.data import main
from orthogan.config import DataConfig
from orthogan.data import pack
from orthogan.errors import UserError


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
