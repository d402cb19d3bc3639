"""The HTML page of a run: whole without a network, escaped, lenient about what a run has not written, repeatable."""

import base64
import gzip
import json
import math
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pages import HOSTILE, lines, page_of, score
from PIL import Image
from tiny import tiny_run

from orthogan import presets, runs
from orthogan.commands import report, train
from orthogan.data import holding, pack
from orthogan.data.cache import packs_folder
from orthogan.errors import UserError
from orthogan.judging import truncation
from orthogan.page import charts, embed, read, render, repeat
from orthogan.pair import with_networks
from orthogan.pictures import grid
from orthogan.runs import fine_tuning
from orthogan.settings import override
from orthogan.training import checkpoint
from orthogan.training.cadence import follow_length
from orthogan.training.logs import write_config
from orthogan.training.observer import Observer


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
    assert "Plotly" in gzip.decompress(base64.b64decode(page.scripts["plotly"])).decode()
    assert len(text) < 5_000_000
    sizes = embed.sizes(text)
    assert sum(sizes.values()) == len(text.encode())
    assert sizes["plotting script"] == len(page.scripts["plotly"])
    begin = "data:image/webp;base64,"
    assert sizes["pictures"] == sum(len(begin) + len(part.split('"')[0]) for part in text.split(begin)[1:])
    drawn = json.loads(page.scripts["charts"])
    assert {"losses", "logits", "rates", "speed", "sigma-generator", "truncation-precision"} <= drawn.keys()
    assert all(chart in ids for chart in drawn)
    sheets = json.loads(page.scripts["sheets"])
    assert [(sheet["caption"], bool(sheet["address"])) for sheet in sheets] == [
        ("80 images", True),
        ("160 images", False),
    ]
    addresses = text.split("data:image/webp;base64,")[1:]
    assert len(addresses) == len({one.split('"')[0] for one in addresses})


def test_hostile_names_are_texts(run: Path):
    text, page = page_of(run)
    assert HOSTILE not in text
    assert HOSTILE in page.words  # as a text, in the alarms and the reasons
    assert "<b>" not in text
    assert embed.plain("<b>a</b> & b") == "&lt;b&gt;a&lt;/b&gt; &amp; b"


@pytest.mark.parametrize(
    ("parent", "begun"),
    [(None, 0), ({"images": 40}, 40), ({"images": 40, "init": {}}, 0), ({"images": "x"}, 0), ({}, 0)],
)
def test_hours_are_those_of_the_run_itself_without_pauses(run: Path, parent: Any, begun: int):
    facts = read.read(run)
    facts.parent = parent
    first = (80 - begun) / 4 / 3600
    assert facts.hours() == pytest.approx({80: first, 160: first + 80 / 2 / 3600})


def test_what_a_rollback_has_given_up_is_not_shown_even_before_it_was_overtaken(run: Path):
    """Scores at 80 and 160, rolled back from 160 to 40, stopped at 64."""
    begun = [{"images": i, "d_loss": 1.0} for i in (32, 80, 160)]
    lines(run / "log.jsonl", [*begun, {"images": 64, "d_loss": 2.0, "attempt": 1}])
    (run / "status.json").write_text(json.dumps({"rollbacks": [{"from": 160, "to": 40, "attempt": 1}]}))
    for images in (80, 160):
        (run / "checkpoints" / checkpoint.file_name(images)).unlink()
    facts = read.read(run)
    assert (facts.scores, facts.layers, facts.sheets) == ([], [], [])
    assert [line["images"] for line in facts.log] == [32, 64]
    lines(run / "scores.jsonl", [{"images": 40, **score(50.0)}, {"images": 80, **score(50.0), "attempt": 1}])
    assert [one.images for one in read.read(run).scores] == [40, 80]


def test_a_page_knows_the_newest_checkpoint_and_passes_a_torn_one_by(run: Path):
    assert read.read(run).saved_images == 160
    (run / "checkpoints" / checkpoint.file_name(160)).write_bytes(b"torn")
    facts = read.read(run)
    assert facts.saved_images == 80
    assert checkpoint.file_name(160) in str(facts.complaints)


@pytest.mark.parametrize(
    ("sheet", "torn", "checkpoints", "shown"),
    [
        (160, False, (80, 160), [80, 160]),
        (160, True, (80, 160), [80, 160]),
        (80, False, (80,), [80, 160]),
        (80, True, (80,), [80, 160]),
    ],
)
def test_samples_are_drawn_where_the_newest_checkpoint_has_no_sheet(
    run: Path, sheet: int, torn: bool, checkpoints: tuple[int, ...], shown: list[int]
):
    """Those of the sheets are 40 pixels wide."""
    path = run / "sheets" / f"images-{sheet:012d}.png"
    path.write_bytes(path.read_bytes()[:60]) if torn else path.unlink()
    for images in {80, 160} - {*checkpoints}:
        (run / "checkpoints" / checkpoint.file_name(images)).unlink()
    sheets = json.loads(page_of(run)[1].scripts["sheets"])
    assert [(one["caption"], one["alt"].endswith(one["caption"])) for one in sheets] == [
        (f"{images} images", True) for images in shown
    ]
    assert [one["width"] > 40 for one in sheets] == [images == sheet for images in shown]
    assert render.samples(read.read(run), 0, "cpu") is not None


def test_a_run_that_has_just_begun_has_a_page_that_loads_itself_anew(tmp_path: Path, arrays: Path):
    write_config(tmp_path, tiny_run(arrays), "small-32")
    _, page = page_of(tmp_path, reload_seconds=7)
    assert page.all("body")[0]["data-reload"] == "7"
    assert "0 of 160 training images have been shown" in page.words
    assert page.scripts["charts"] != "{}"  # learning rates are known


def test_data_that_are_gone_are_told(run: Path, arrays: Path):
    assert "the data have changed since" in page_of(run)[1].words
    shutil.rmtree(packs_folder())
    assert "the real images are not shown: they are not in the cache" in page_of(run)[1].words
    assert not packs_folder().exists()
    arrays.unlink()
    assert "the real images are not shown: " in page_of(run)[1].words


@pytest.mark.parametrize("settings", [{}, {"random_crop": 0.8}, {"hold_out": 0.25}])
def test_what_a_run_has_learnt_from_is_compared_with_what_is_there(
    tmp_path: Path, arrays: Path, settings: dict[str, Any]
):
    config = override(tiny_run(arrays, images=8), {f"data.{name}": value for name, value in settings.items()})
    folder = tmp_path / "run"
    assert runs.start(config, "small-32", folder, Observer(), torch.device("cpu"), lambda *_: None).run()
    packs = sorted(packs_folder().iterdir())
    data = render.data_of(read.read(folder))
    assert data.complaint == ""
    assert data.examples is not None
    assert sorted(packs_folder().iterdir()) == packs
    with np.load(arrays) as known:
        np.savez(arrays, images=known["images"], labels=np.roll(known["labels"], 1))
    pack(config.data, config.resolution)
    assert render.data_of(read.read(folder)).complaint == "the data have changed since the run learnt from them"


def test_the_real_images_are_the_first_of_each_class_that_were_trained_on(run: Path, arrays: Path):
    facts = read.read(run)
    facts.config = override(facts.config, {"data.hold_out": 0.5})
    cache = holding.load(facts.config.data, 16)
    drawn: list[Any] = []

    def keep(images: Any, columns: int) -> Any:
        drawn.append((images.numpy(), columns))
        return grid(images, columns)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "grid", keep)
        data = render.data_of(facts)
    ((images, columns),) = drawn
    assert cache.labels is not None
    rows = [row for kind in range(3) for row in ([i for i in range(len(cache)) if cache.labels[i] == kind] * 10)[:10]]
    assert len(cache) == 21  # 7 each: of 14, 13 and 13 half are kept back, and half of 13 is 6
    assert columns == 10
    assert (images == cache.checked[np.array(rows)]).all()
    assert ("images", "21; 50% of all were kept back") in data.rows
    assert sum(count for _, count in data.counts) == 21
    facts.extra["data"] = cache.fingerprint
    assert render.data_of(facts).complaint == ""


def test_learning_rates_fall_to_nothing_from_where_they_decay(run: Path):
    facts = read.read(run)
    facts.config = override(facts.config, {"optimizer.decay_from_images": 40})
    assert charts.rates(facts)[1] == ("discriminator", [0, 40, 160], [1e-3, 1e-3, 0.0])
    facts.config = override(facts.config, {"optimizer.decay_from_images": None})
    assert charts.rates(facts)[0] == ("generator", [0, 160], [1e-3, 1e-3])


@pytest.mark.parametrize(
    ("rollbacks", "extra", "xs", "shares"),
    [
        ([], {"changes": {"rate_factor": 0.5}}, [0, 80, 160], [0.5, 0.5, 0]),
        ([(40, 0.5)], {}, [0, 40, 40, 80, 160], [1, 1, 0.5, 0.5, 0]),
        ([(40, 0.5), (120, 0.25)], {}, [0, 40, 40, 80, 120, 120, 160], [1, 1, 0.5, 0.5, 0.25, 0.125, 0]),
        ([(40, 0.5), (24, 0.25)], {}, [0, 24, 24, 80, 160], [1, 1, 0.25, 0.25, 0]),
        ([(0, 0.5), (10**400, 0.1), (-1, 0.1), (8, "x")], {}, [0, 80, 160], [0.5, 0.5, 0]),
    ],
)
def test_learning_rates_are_those_that_rollbacks_have_left(
    run: Path, rollbacks: Any, extra: Any, xs: list[int], shares: list[float]
):
    """Of a decay from 80 of 160 images on; at 120 a half is left of it."""
    facts = read.read(run)
    facts.config = override(facts.config, {"optimizer.decay_from_images": 80})
    facts.status = {"rollbacks": [{"from": 150, "to": to, "rate_factor": factor} for to, factor in rollbacks]}
    facts.extra = extra
    assert charts.rates(facts)[1] == ("discriminator", xs, pytest.approx([1e-3 * share for share in shares]))
    (drawn,) = [one for one in charts.training(facts) if one["id"] == "rates"]
    assert ("rollbacks" in drawn["note"]) == bool(rollbacks)


def test_figures_of_the_training_have_a_mark_at_every_alarm(run: Path):
    lines(run / "alarms.jsonl", [{"images": 96, "signs": []}, {"images": 99, "notice": True}, {"images": "x"}])
    losses, *_ = charts.training(read.read(run))
    assert losses["layout"]["marks"] == [96]
    assert losses["alt"].endswith("alarms at 96 images")
    assert "Dotted" in losses["note"]
    (run / "alarms.jsonl").unlink()
    assert "marks" not in charts.training(read.read(run))[0]["layout"]


@pytest.mark.parametrize(("count", "told"), [(200, "Alarms (200 rows)"), (1201, "The newest 200 of 1,201 alarms")])
def test_no_more_alarms_are_shown_than_a_page_holds(run: Path, count: int, told: str):
    lines(run / "alarms.jsonl", [{"images": i, "signs": []} for i in range(count)])
    text, page = page_of(run)
    assert told in page.words
    assert ("of 1,201" in text) == (count > 200)


def test_a_single_further_term_has_its_name(run: Path):
    lines(run / "log.jsonl", [{"images": i, "d_loss": 1.0, "d_odd": 2.0} for i in (8, 16)])
    (others,) = [one for one in charts.training(read.read(run)) if one["id"] == "others"]
    assert [(line["name"], line["showlegend"]) for line in others["data"]] == [("d_odd", True)]


def test_the_spikes_of_the_beginning_lie_outside_a_figure():
    xs = list(range(101))
    ys = [1000.0 if x <= 5 else float(x % 2) for x in xs]
    assert charts.settled([("a", xs, ys)]) == pytest.approx((-0.08, 1.08))
    assert charts.settled([("a", [], [])]) is None


def test_a_score_is_shown_with_its_deviation_and_repeated_by_a_command(run: Path):
    result = score(7.0, images=160)
    result["protocol"]["generator"]["checkpoint"] = "images-000000000160.safetensors"
    result["protocol"] |= {"real": {"images": 40, "source": "else where"}, "settings": {"seed": 3}}
    (run / "scores-tiny.json").write_text(json.dumps(result))
    words = page_of(run)[1].words.rpartition("Written ")[0]
    assert "0.5 ± 0.1" in words
    (run / "scores-tiny.json").rename(run / "scores.json")  # the name that `make demo` gives it
    again = page_of(run)[1].words.rpartition("Written ")[0]
    assert again.replace("scores.json", "scores-tiny.json") == words
    file = shlex.quote(str(run / "checkpoints" / "images-000000000160.safetensors"))
    assert f"orthogan evaluate {file} --against 'else where' --features tiny --samples 50 --seed 3" in words


@pytest.mark.parametrize("kind", ["z", "w"])
@pytest.mark.parametrize(("distance", "amenable"), [(5.0, True), (9.0, False)])
def test_the_verdict_on_truncation_is_told(run: Path, kind: str, distance: float, amenable: bool):
    """Of every kind that `orthogan truncation` writes."""
    points = [
        {"truncation": t, "scores": {"frechet_distance": f}, "saturated_share": 0.1}
        for t, f in ((None, 9.0), (0.5, distance))
    ]
    found = truncation.verdict(points, 0.1, kind)
    assert found["amenable"] == amenable
    (run / "truncation-tiny.json").write_text(json.dumps({"points": points, "verdict": found}))
    words = page_of(run)[1].words
    assert ("that works" in words, "not amenable to truncation" in words) == (amenable, not amenable)
    assert ("To mend that" in words) == ("remedy" in found)
    assert found["reasons"][0] in words


def test_the_command_of_a_fine_tuned_run_gives_its_configuration(
    run: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch
):
    file = run / "checkpoints" / checkpoint.file_name(160)
    begun = fine_tuning.configuration(checkpoint.load(file), presets.get("small-32"))
    config = override(
        follow_length(begun, 5000, 8, 1), {"batch": 8, "data.source": str(arrays), "optimizer.g_lr": 3e-3}
    )
    asked: list[Any] = []

    def begin(found: Any, init: Any, config: Any, *rest: Any) -> None:
        asked.append((found.path, init, config))
        raise UserError("enough")

    monkeypatch.setattr(train.runs, "fine_tune", begin)
    facts = read.read(run)
    facts.config, facts.parent = config, {"checkpoint": str(file), "images": 160, "init": {"classes": "name"}}
    words = repeat.begin_words(facts, {"optimizer.d_lr": 5e-3})
    with pytest.raises(UserError, match="enough"):
        train.main([*words[1:], "--out", "nowhere", "--device", "cpu"])
    init = fine_tuning.InitConfig(file=str(file), classes="name")
    assert asked == [(file, init, override(config, {"optimizer.d_lr": 5e-3}))]


def test_the_command_of_a_branch_has_its_changes_once(run: Path):
    facts = read.read(run)
    facts.parent = {
        "checkpoint": "/a/checkpoints/x",
        "images": 7,
        "changed": {"optimizer.g_lr": [1, 2], "seed": [0, 3]},
    }
    assert repeat.begin_words(facts, {"optimizer.g_lr": 0.5}) == [
        *("branch", "/a", "--at", "7", "--optimizer.g-lr", "0.5", "--seed", "3")
    ]
    what, command = repeat.commands(facts)[0]
    assert what == "Branch it again"
    assert command.startswith("orthogan branch /a --at 7 --optimizer.g-lr 2 ")


def test_the_page_makes_the_folder_that_is_asked_for(run: Path, tmp_path: Path):
    out = tmp_path / "some" / "where" / "page.html"
    assert report.main([str(run), "--out", str(out), "--device", "cpu"]) == 0
    assert out.is_file()


def test_a_page_is_written_over_and_what_is_none_by_choice_only(run: Path, tmp_path: Path):
    out = tmp_path / "page.html"
    words = [str(run), "--out", str(out), "--device", "cpu"]
    out.write_text("<!doctype html>\n<title>mine</title>")
    with pytest.raises(UserError, match=r"page\.html': is there already; choose another --out, or add --replace"):
        report.main(words)
    assert "mine" in out.read_text()
    assert report.main([*words, "--replace"]) == 0
    written = out.stat().st_mtime_ns
    assert report.main(words) == 0
    assert out.stat().st_mtime_ns > written


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
    assert {one.width for _, one in embed.sheets(paths, "x")} == {embed.WIDEST}
    monkeypatch.setattr(embed, "BUDGET_BYTES", 1_000_000)
    assert {one.width for _, one in embed.sheets(paths, "x")} == {embed.WIDEST // 2}


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


def test_what_the_data_say_is_no_setting_of_the_command():
    """A run that has begun has the number of classes of its data written down."""
    words = repeat.train_words(config_of("digits", {}, {"n_classes": 10}), "digits")
    assert words == ["train", "digits", "--data", "digits"]


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


def test_real_images_are_shown_from_all_over_the_data():
    assert render.evenly(np.arange(10, 110), 4).tolist() == [10, 35, 60, 85]
    assert render.evenly(np.arange(3), 10).tolist() == [0, 1, 2]
    assert render.evenly(np.arange(0), 10).tolist() == []
