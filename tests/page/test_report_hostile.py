"""Folders of runs in which anything is missing or damaged: the page says so, or one line does. Never a traceback."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from pages import Page, lines, score
from PIL import Image
from process import orthogan

from orthogan.commands import report
from orthogan.errors import UserError
from orthogan.page import read, render
from orthogan.page.memory import as_answer
from orthogan.training import checkpoint

NAMES = ("log.jsonl", "scores.jsonl", "alarms.jsonl", "watch.jsonl", "spectra.jsonl", "status.json")
RESULTS = ("scores-x.json", "truncation-x.json", "memorization-x.json")
HUGE = "1" + "0" * 400
DAMAGES: dict[str, bytes] = {
    "empty": b"",
    "torn": b'{"images": 168, "d_lo',
    "binary": bytes(range(256)),
    "list": b"[1, 2]\n",
    "deep": b"[" * 100_000,
    "odd types": b'{"images": 8, "scores": 3, "protocol": [], "points": 1, "verdict": 1, "state": [], "rollbacks": 7, '
    b'"alarms": "x", "signs": [3], "generator": {"a": ["b"]}, "discriminator": {}, "neighbours": []}\n',
    "huge": b'{"images": ' + HUGE.encode() + b', "d_loss": ' + HUGE.encode() + b"}\n"
    b'{"images": 9, "d_loss": 1e308}\n{"images": 99, "d_loss": -1e308}\n{"images": 999, "d_loss": 1e308}\n'
    b'{"images": 1e999, "d_loss": NaN, "signs": [{"what": "\\ud800"}], "state": "\\ud800"}\n',
}


def told(run: Path) -> str:
    text = render.of_run(read.read(run), "cpu")
    text.encode("utf-8")
    page = Page(text)
    for name in ("charts", "sheets"):
        json.loads(page.scripts[name], parse_constant=pytest.fail)  # a browser takes no NaN and no Infinity
    return page.words


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_records_are_told_and_the_rest_is_shown(run: Path, damage: str):
    for name in (*NAMES, *RESULTS):
        (run / name).write_bytes(DAMAGES[damage])
    words = told(run)
    assert "160 images" in words  # of the newest sheet
    if damage in ("torn", "binary", "list", "deep"):
        assert all(name in words for name in (*NAMES, *RESULTS))
    if damage in ("odd types", "huge"):
        assert all(name in words for name in RESULTS)


@pytest.mark.parametrize("name", [*NAMES, "sheets", "curves", "checkpoints", "truncation-tiny.json"])
def test_what_is_missing_or_of_another_kind_is_no_obstacle(run: Path, name: str):
    place = run / name
    shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    assert "Is it good?" in told(run)
    (place.mkdir if place.suffix else place.touch)()
    words = told(run)
    assert "Is it good?" in words
    assert not place.suffix or re.search(rf"{name}:? cannot be read", words)


def test_everything_torn_at_once(run: Path):
    for path in [path for path in run.rglob("*") if path.is_file() and path.name != "config.json"]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    words = told(run)
    assert "sheets: images-000000000080.png, images-000000000160.png cannot be read" in words
    assert checkpoint.file_name(160) in words


def test_a_truncated_sheet_is_told_and_the_others_stay(run: Path):
    sheet = run / "sheets" / "images-000000000160.png"
    Image.effect_noise((400, 400), 90).save(sheet)
    sheet.write_bytes(sheet.read_bytes()[:5000])
    words = told(run)
    assert "sheets: images-000000000160.png cannot be read" in words
    assert "real images" in words


def test_files_that_are_no_results_are_told(run: Path):
    (run / "scores-x.json").write_text('{"scores": 3}')
    (run / "truncation-odd.json").write_text('{"points": [3], "verdict": {}}')
    (run / "memorization-x.json").write_text('{"discriminator": 3}')
    words = told(run)
    for name, command in (
        ("scores-x", "evaluate"),
        ("truncation-odd", "truncation"),
        ("memorization-x", "memorization"),
    ):
        assert f"{name}.json: is not what `orthogan {command}` writes" in words


def test_a_configuration_that_cannot_be_read_is_one_line(tmp_path: Path, run: Path):
    (run / "config.json").write_text("[{")
    assert "Is it good?" in told(run)  # from the newest checkpoint
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        read.read(run)


@pytest.mark.parametrize("versions", [None, [], 3, {"torch": 3}])
def test_versions_of_any_kind_are_no_obstacle(run: Path, versions: Any):
    values = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(values | {"versions": versions}))
    assert ("torch 3" in told(run)) == isinstance(versions, dict)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("truncation-tiny.json", {"points": [{"scores": {}}], "verdict": {}}),
        ("scores-x.json", {"images": 160, "scores": {}, "protocol": {}}),
    ],
)
def test_results_with_the_least_that_makes_them_such_are_no_obstacle(run: Path, name: str, values: Any):
    (run / name).write_text(json.dumps(values))
    assert "is not what" not in told(run)


@pytest.mark.parametrize("parent", [3, [], {"changed": 3}, {"changed": {"a": 1}, "images": "x"}, {"init": 3}])
def test_a_parent_of_any_kind_is_no_obstacle(run: Path, parent: Any):
    values = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(values | {"parent": parent}))
    assert "Is it good?" in told(run)


def test_the_command_says_one_line_of_a_place_without_a_run(tmp_path: Path):
    ended = orthogan("report", str(tmp_path))
    assert ended.status == 2
    assert "Traceback" not in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_the_page_is_not_written_into_a_folder_that_is_gone(tmp_path: Path):
    with pytest.raises(UserError, match="is not there"):
        render.write(tmp_path / "gone" / "report.html", "x")
    assert not (tmp_path / "gone").exists()


def memorized(
    auc: float = 0.5, low: float = 0.45, generated: float = 0.1, held_out: float = 0.3, copies: int = 0
) -> Any:
    def closer(value: float) -> dict[str, Any]:
        ends = [value - 0.05, value + 0.05]
        return {"images": 100, "share_closer": value, "share_closer_interval": ends, "copies": copies}

    space = {"generated": closer(generated), "held_out": closer(held_out)}
    said = {
        name: {"share_real": 0.5, "share_real_interval": [0.4, 0.6]} for name in ("training", "held_out", "generated")
    }
    return {
        "discriminator": said | {"separation": {"auc": auc, "auc_interval": [low, 0.99]}},
        "neighbours": {"features": space, "pixels": space},
        "notes": ["a note"],
        "protocol": {"generator": {"images_seen": 160}},
    }


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        (memorized(), ("good", ["good", "good"])),
        (memorized(auc=0.6, low=0.55), ("fact", ["good", "good"])),
        (memorized(auc=0.75, low=0.55), ("warning", ["good", "good"])),
        (memorized(copies=3), ("good", ["warning", "good"])),
        (memorized(generated=0.45), ("good", ["good", "warning"])),
        (memorized(generated=0.39), ("good", ["good", "good"])),  # the intervals overlap
    ],
)
def test_what_memorisation_means(values: Any, kinds: Any):
    answer = as_answer("memorization-x.json", values)
    assert answer is not None
    assert (answer.of_discriminator.kind, [one.kind for one in answer.of_generator]) == kinds


def test_memorisation_is_told_in_words_with_the_sheet_of_its_name(run: Path):
    (run / "memorization-x-n10.json").write_text(json.dumps(memorized(copies=2)))
    old = memorized() | {"protocol": {"generator": {"images_seen": 80}}}
    (run / "memorization-a.json").write_text(json.dumps(old))
    Image.new("RGB", (8, 8)).save(run / "memorization-x-n10.png")
    Image.new("RGB", (9, 9)).save(run / "memorization-x-n100.png")
    page = Page(render.of_run(read.read(run), "cpu"))
    assert "2 of 100 generated images are copies of training images." in page.words
    assert "50% of the time (a coin: 50%)" in page.words
    assert "share_closer" not in page.words
    assert page.words.index("2 of 100") < page.words.index("Earlier results (1)") < page.words.index("None of 100")
    assert [image["width"] for image in page.all("img") if "closest" in str(image["alt"])] == ["8"]
    assert "The sheet of nearest images is not beside memorization-a.json" in page.words


@pytest.mark.parametrize("path", ["separation", "training", "closer", "share", "copies", "text"])
def test_damaged_memorisation_is_none(path: str):
    values = memorized()
    if path == "separation":
        values["discriminator"]["separation"] = {"auc": 2.0}
    elif path == "training":
        del values["discriminator"]["training"]
    elif path == "closer":
        values["neighbours"]["features"] = []
    elif path == "copies":
        values["neighbours"]["pixels"]["generated"]["copies"] = json.loads("1e999")
    elif path == "share":
        values["discriminator"]["generated"]["share_real"] = "most"
    else:
        values["protocol"] = "none"
    assert as_answer("x", values) is None


def test_a_loss_whose_logits_say_nothing_alone_has_no_bars_of_them():
    values = memorized()
    for name in ("training", "held_out", "generated"):
        values["discriminator"][name]["share_real"] = None
    answer = as_answer("x", values)
    assert answer is not None
    assert answer.real == []


class Clock:
    """In the place of time.sleep: lets something happen to a run between two writings of the page."""

    def __init__(self, *happenings: Any):
        self.left = list(happenings)

    def __call__(self, seconds: float) -> None:
        self.left.pop(0)()


def test_watching_follows_a_run_through_a_rollback_to_its_end(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[bool, str]] = []

    def look() -> None:
        text = (run / "report.html").read_text()
        seen.append(("data-reload" in text.partition("<main")[0], Page(text).words))

    def state(name: str, images: int, **more: Any) -> None:
        (run / "status.json").write_text(json.dumps({"state": name, "images": images, **more}))

    def go_back() -> None:
        look()
        (run / "checkpoints" / checkpoint.file_name(160)).unlink()
        state("training", 80, rollbacks=[{"from": 160, "to": 80, "change": "none", "rate_factor": 1.0}])
        lines(run / "log.jsonl", [{"images": 88, "d_loss": 1.0, "attempt": 1}])

    def end() -> None:
        look()
        state("collapsed", 88)

    lines(run / "scores.jsonl", [{"images": 80, **score(50.0)}])
    state("training", 160)
    monkeypatch.setattr(report.time, "sleep", Clock(go_back, end))
    assert report.main([str(run), "--watch", "--device", "cpu"]) == 0
    look()
    assert [reloads for reloads, _ in seen] == [True, True, False]
    assert "88 of 160" in seen[1][1]
    assert "It was stopped because it collapses" in seen[2][1]
    assert "the run is collapsed" in capsys.readouterr().out


def test_watching_ends_when_the_run_is_deleted(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):  # fmt: skip
    (run / "status.json").write_text('{"state": "training"}')
    monkeypatch.setattr(report.time, "sleep", Clock(lambda: shutil.rmtree(run)))
    with pytest.raises(UserError, match="no longer there"):
        report.main([str(run), "--watch", "--device", "cpu"])
    assert not run.exists()


def test_watching_does_not_bring_a_deleted_run_back(run: Path, monkeypatch: pytest.MonkeyPatch):
    """It is deleted while the page is made."""
    (run / "status.json").write_text('{"state": "training"}')
    made = render.of_run

    def make(*words: Any) -> str:
        page = made(*words)
        shutil.rmtree(run)
        return page

    monkeypatch.setattr(report.render, "of_run", make)
    with pytest.raises(UserError, match="no longer there"):
        report.main([str(run), "--watch", "--device", "cpu"])
    assert not run.exists()


def test_the_command_writes_into_the_run_and_says_what_takes_the_room(run: Path, capsys: pytest.CaptureFixture[str]):
    assert report.main([str(run), "--watch", "--device", "cpu"]) == 0
    text = (run / "report.html").read_text()
    assert text.startswith("<!doctype html>")
    assert "data-reload" not in text.partition("<main")[0]
    out = capsys.readouterr().out
    assert "report.html" in out
    assert f"({len(text.encode()) / 1e6:.1f} MB: pictures" in out
    assert "the run has finished" in out
