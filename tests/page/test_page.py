"""The HTML page of a run: whole without a network, escaped, lenient about what a run has not written, repeatable."""

import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import tiny_generator, tiny_run
from torch.utils.tensorboard import SummaryWriter

from orthogan import presets
from orthogan.commands import report, train
from orthogan.errors import UserError
from orthogan.page import charts, embed, read, render, repeat, short, troubles
from orthogan.pair import with_networks
from orthogan.settings import override
from orthogan.training import checkpoint
from orthogan.training.checkpoint import Header
from orthogan.training.logs import write_config

HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "img", "input", "link", "br"}


class Page(HTMLParser):
    """Tags of a page with their attributes; fails on tags that are not closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str | None, str] = {}
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            own = next(attributes for name, attributes in reversed(self.tags) if name == "script")
            self.scripts[own.get("id")] = self.scripts.get(own.get("id"), "") + data
        else:
            self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def ids(self) -> list[str]:
        return [str(attributes["id"]) for _, attributes in self.tags if "id" in attributes]


def lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def score(frechet: float, precision: float = 0.8, images: int = 80, **more: Any) -> dict[str, Any]:
    scores = {"frechet_distance": frechet, "kernel_distance": 0.5, "kernel_distance_std": 0.1, "precision": precision}
    protocol = {
        "features": {"network": "tiny"},
        "generated": {"images": 50},
        "real": {"images": 40},
        "generator": {"images_seen": images, "truncation": None},
    }
    return {"scores": scores, "notes": ["few images"], "protocol": protocol, **more}


@pytest.fixture
def run(tmp_path: Path, arrays: Path) -> Path:
    """The folder of a run of 160 images at its end, with hostile names wherever there are names."""
    folder = tmp_path / "runs" / "mine<b>"
    (folder / "sheets").mkdir(parents=True)
    write_config(folder, tiny_run(arrays), "small-32")
    torch.manual_seed(0)
    tensors = {f"ema.{k}": v for k, v in tiny_generator().state_dict().items()}
    header = Header(tiny_run(arrays), 160, 20, {"class_names": [HOSTILE, "b", "c"], "fingerprint": "other"})
    for images in (80, 160):
        header = Header(tiny_run(arrays), images, images // 8, header.extra)
        checkpoint.save(folder / "checkpoints" / checkpoint.file_name(images), tensors, header)
    lines(
        folder / "log.jsonl",
        [{"images": i, "steps": i // 8, "d_loss": 1.0 + i, "g_loss": 0.5, "d_real": 1.0, "d_fake": -1.0}
         for i in range(8, 161, 8)],
    )  # fmt: skip
    lines(folder / "scores.jsonl", [{"images": i, **score(f, images=i)} for i, f in ((80, 50.0), (160, 40.0))])
    lines(
        folder / "spectra.jsonl",
        [{"images": i, "generator": {"linear": [2.0 + i, 1.0]}, "discriminator": {"head": [3.0]}} for i in (80, 160)],
    )
    lines(folder / "alarms.jsonl", [{"images": 90, "signal": HOSTILE}])
    for i in (80, 160):
        Image.new("RGB", (40, 40), (i, 0, 0)).save(folder / "sheets" / f"images-{i:012d}.png")
    points = [
        {"truncation": t, "scores": {"frechet_distance": 9.0, "classifier_score": 2.0, "precision": 1.0, "recall": 0.5}}
        for t in (None, 0.5)
    ]
    verdict = {"amenable": False, "reasons": [HOSTILE], "remedy": "ortho"}
    protocol = {"features": {"network": "tiny"}, "generated": {"images": 50}}
    curve = {"points": points, "verdict": verdict, "protocol": protocol}
    (folder / "truncation-tiny.json").write_text(json.dumps(curve))
    curves = SummaryWriter(str(folder / "curves"))
    for i, speed in ((80, 4.0), (160, 2.0)):
        curves.add_scalar("images_per_second", speed, i)
    curves.close()
    return folder


def page_of(run: Path, reload_seconds: int = 0) -> tuple[str, Page]:
    text = render.of_run(read.read(run), "cpu", reload_seconds)
    return text, Page(text)


def test_a_page_needs_nothing_from_elsewhere_and_names_everything(run: Path):
    text, page = page_of(run)
    addresses = [value for _, tag in page.tags for name, value in tag.items() if name in ("src", "href", "data")]
    assert addresses
    assert all(str(address).startswith(("data:image/webp;base64,", "#")) for address in addresses)
    assert "default-src 'none'" in str(page.all("meta"))
    assert all(image["alt"] for image in page.all("img"))
    ids = page.ids()
    assert len(set(ids)) == len(ids)
    assert {str(link["href"])[1:] for link in page.all("a")} <= set(ids)
    assert {section["aria-labelledby"] for section in page.all("section")} <= set(ids)
    labelled_ = {label["for"] for label in page.all("label")}
    assert {one["id"] for one in page.all("input")} <= labelled_
    assert "Plotly" in page.scripts[None]
    assert len(text) < 15_000_000
    drawn = json.loads(page.scripts["charts"])
    assert {"losses", "logits", "rates", "speed", "sigma-generator", "truncation-precision"} <= drawn.keys()
    assert all(chart in ids for chart in drawn)
    assert [sheet["caption"] for sheet in json.loads(page.scripts["sheets"])] == ["80 images", "160 images"]


def test_hostile_names_are_texts(run: Path):
    text, page = page_of(run)
    assert HOSTILE not in text
    assert HOSTILE in page.words  # as a text, in the alarms and the reasons
    assert "<b>" not in text
    assert embed.plain("<b>a</b> & b") == "&lt;b&gt;a&lt;/b&gt; &amp; b"


def test_a_page_says_what_the_scores_mean(run: Path):
    told = {sentence.text: sentence.kind for sentence in short.sentences(read.read(run))}
    assert told["The training is finished: 160 real images were shown."] == "good"
    falling = next(text for text in told if "went from 50 to 40" in text)
    assert "still falling" in falling
    assert "80% of the samples" in str(told)
    assert any("not amenable" in text for text in told)
    assert any("1 alarm was" in text for text in told)


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [((50, 30, 40), "warning", "best was 30"), ((50, 40, 39.9), "fact", "levelled off"), ((50, 30), "good", "falling")],
)
def test_the_trend_of_a_distance(values: tuple[float, ...], kind: str, told: str):
    scores = [read.as_score("scores.jsonl", {"images": i, **score(f)}) for i, f in enumerate(values, 1)]
    (sentence,) = short._trend([one for one in scores if one])
    assert sentence.kind == kind
    assert told in sentence.text


def test_hours_leave_pauses_out(run: Path):
    assert read.read(run).hours() == pytest.approx({80: 80 / 4 / 3600, 160: (80 / 4 + 80 / 2) / 3600})


def test_lines_that_a_rollback_left_behind_are_not_drawn():
    rows = [{"images": i, "a": n} for n, i in enumerate((10, 20, 30, 20, 30))]
    assert read.surviving(rows) == [rows[0], rows[3], rows[4]]


def test_torn_files_are_told_and_the_rest_is_shown(run: Path):
    with (run / "log.jsonl").open("a") as file:
        file.write('{"images": 168, "d_lo')
    for name in ("truncation-tiny.json", "spectra.jsonl", "status.json", "scores-x.json"):
        (run / name).write_text("[{")
    (run / "truncation-odd.json").write_text('{"points": [3], "verdict": {}}')
    (run / "sheets" / "images-000000000160.png").write_bytes(b"no picture")
    (run / "curves" / "events.out.tfevents.9999999999.x").write_bytes(b"nothing")
    facts = read.read(run)
    words = page_of(run)[1].words
    for name in ("log.jsonl: 1 of", "truncation-tiny.json", "truncation-odd.json", "spectra.jsonl", "status.json"):
        assert name in words
    assert facts.images == 160


def test_a_page_knows_the_newest_checkpoint_and_passes_a_torn_one_by(run: Path):
    assert read.read(run).saved_images == 160
    (run / "checkpoints" / checkpoint.file_name(160)).write_bytes(b"torn")
    facts = read.read(run)
    assert facts.saved_images == 80
    assert checkpoint.file_name(160) in str(facts.complaints)


def test_samples_are_drawn_where_the_newest_checkpoint_has_no_sheet(run: Path):
    (run / "sheets" / "images-000000000160.png").unlink()
    sheets = json.loads(page_of(run)[1].scripts["sheets"])
    assert [(sheet["caption"], sheet["alt"].endswith(sheet["caption"])) for sheet in sheets] == [
        ("80 images", True),
        ("160 images", True),
    ]


def test_a_run_that_has_just_begun_has_a_page_that_loads_itself_anew(tmp_path: Path, arrays: Path):
    write_config(tmp_path, tiny_run(arrays), "small-32")
    _, page = page_of(tmp_path, reload_seconds=7)
    assert page.all("body")[0]["data-reload"] == "7"
    assert "0 of 160 real images have been shown" in page.words
    assert page.scripts["charts"] != "{}"  # learning rates are known


def test_data_that_are_gone_are_told(run: Path, arrays: Path):
    assert "the data have changed since" in page_of(run)[1].words
    arrays.unlink()
    assert "the real images are not shown" in page_of(run)[1].words


def test_numbers_that_are_none_leave_a_gap():
    drawn = charts.chart("a", "A", [("x", [1, 2, 3], [1.0, math.nan, 100.0])], "up", log=True)
    assert drawn is not None
    assert drawn["data"][0]["y"] == [1.0, None, 100.0]
    assert drawn["layout"]["yaxis"]["type"] == "log"
    assert charts.chart("a", "A", [("x", [1], [math.nan])], "up") is None


def test_a_run_keeps_its_colour_where_another_has_no_points():
    both = charts.chart("a", "A", [("x", [1], [1.0]), ("y", [1], [2.0])], "up")
    alone = charts.chart("a", "A", [("x", [], []), ("y", [1], [2.0])], "up")
    assert both is not None
    assert alone is not None
    assert both["data"][1]["line"] == alone["data"][0]["line"]


def test_few_of_many_keep_the_ends():
    assert embed.thinned(range(100), 4) == [0, 33, 66, 99]
    assert embed.thinned([1, 2], 4) == [1, 2]


def test_large_sheets_shrink_until_the_page_is_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    noise = np.random.default_rng(0).integers(0, 256, (400, 1500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    paths = [(i, tmp_path / "a.png") for i in range(3)]
    assert {one.width for one in embed.sheets(paths, "x")} == {embed.WIDEST}
    monkeypatch.setattr(embed, "BUDGET_BYTES", 1_000_000)
    assert {one.width for one in embed.sheets(paths, "x")} == {embed.WIDEST // 2}


def config_of(preset: str, networks: dict[str, str], changes: dict[str, Any]) -> Any:
    return override(with_networks(presets.get(preset), networks), {"data.source": "digits", **changes})


@pytest.mark.parametrize(
    ("preset", "networks", "changes"),
    [
        ("digits", {}, {}),
        ("digits", {}, {"images": 5000, "batch": 8, "regularizers.g_ortho.strength": 1e-4, "seed": 3}),
        (
            "small-32",
            {},
            {"generator.skip_z": False, "generator.channels": [4, 4, 2, 2], "augment.kind": "diffaugment"},
        ),
        ("sngan-cnn-32", {}, {"images": 70_000, "d_steps": 2, "data.unconditional": True}),
        ("small-32", {"generator": "sngan"}, {"ema.decay": None, "ema.halflife_images": 500.0}),
    ],
)
def test_the_command_of_a_run_gives_its_configuration(
    preset: str, networks: dict[str, str], changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    config = config_of(preset, networks, changes)
    asked: list[Any] = []

    def start(run: Any, *rest: Any) -> None:
        asked.append(run)
        raise UserError("enough")

    monkeypatch.setattr(train.runs, "start", start)
    words = repeat.train_words(config, preset)
    with pytest.raises(UserError, match="enough"):
        train.main([*words[1:], "--out", "nowhere", "--device", "cpu"])
    assert asked == [config]


def test_runs_side_by_side(run: Path, tmp_path: Path, arrays: Path):
    other = tmp_path / "elsewhere" / run.name
    other.mkdir(parents=True)
    write_config(other, override(tiny_run(arrays), {"optimizer.g_lr": 0.5}), "small-32")
    lines(other / "log.jsonl", [{"images": 8, "d_loss": 2.0}, {"images": 16, "d_loss": 1.0}])
    result = score(7.0)
    result["protocol"]["features"] = {"network": "data"}
    (other / "scores-data.json").write_text(json.dumps(result | {"intervals": {"frechet_distance": [6.5, 7.5]}}))
    page = Page(render.of_runs([read.read(run), read.read(other)], 0, "cpu"))
    assert f"runs/{run.name}" in page.words
    assert f"elsewhere/{run.name}" in page.words
    assert "7 (6.5 to 7.5)" in page.words
    assert "may be compared" in page.words
    assert "optimizer.g_lr" in page.words
    assert "optimizer.d_lr" not in page.words
    assert "No checkpoint to draw from yet." in page.words
    drawn = json.loads(page.scripts["charts"])
    assert [line["name"] for line in drawn["d_loss-images"]["data"]] == [
        embed.plain(f"{place}/{run.name}") for place in ("runs", "elsewhere")
    ]
    with pytest.raises(UserError, match="twice"):
        render.of_runs([read.read(run), read.read(run)])


def test_the_command_writes_into_the_run_and_stops_watching_when_it_has_ended(
    run: Path, capsys: pytest.CaptureFixture[str]
):
    assert report.main([str(run), "--watch", "--device", "cpu"]) == 0
    text = (run / "report.html").read_text()
    assert text.startswith("<!doctype html>")
    assert "data-reload" not in text.partition("<main")[0]
    assert "report.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["."], "not the folder of a run"),
        (["nowhere"], "not the folder of a run"),
        ([".", "--out", "a.png"], r"\.html"),
        ([".", "--every", "0"], "second"),
        ([".", "b", "--watch"], "for one run"),
    ],
)
def test_what_has_no_page_is_refused(words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        report.main(words)


def test_alarms_and_rollbacks_are_told_in_words() -> None:
    sign = {
        "signal": "sigma",
        "of": "generator.linear",
        "what": "sigma_0 of generator.linear has exploded",
        "since": 80,
    }
    lines = [{"images": 96, "since": 80, "before": 64, "signs": [sign, sign], "notice": False}, {"images": 9, "odd": 1}]
    assert [row[:3] for row in troubles.alarms(lines)] == [
        [96, 80, "sigma_0 of generator.linear has exploded; sigma_0 of generator.linear has exploded"],
        [9, "", "odd 1"],
    ]
    status = {"rollbacks": [{"from": 96, "to": 64, "change": "r1", "rate_factor": 1.0, "r1_gamma": 2.0}, "torn"]}
    assert troubles.rollbacks(status) == [[96, 64, "r1", 1.0, 2.0]]
    assert troubles.rollbacks({"rollbacks": 3}) == []
