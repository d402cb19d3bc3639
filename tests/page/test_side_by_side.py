"""Several runs on one page: only scores of one protocol share a table or a figure, and samples share a seed."""

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from pages import Page, lines, score
from tiny import tiny_run

from orthogan.errors import UserError
from orthogan.page import alike, charts, embed, read, render, several
from orthogan.page.read import Facts, Score
from orthogan.settings import override
from orthogan.training.logs import write_config


def one(network: str, images: int = 80, generated: int = 50, truncation: Any = None, **scores: float) -> Score:
    protocol = {
        "features": {"network": network},
        "generated": {"images": generated},
        "generator": {"truncation": truncation},
    }
    return Score("scores-x.json", images, scores or {"frechet_distance": 1.0}, {}, [], protocol)


def write_other(folder: Path, arrays: Path) -> Path:
    folder.mkdir(parents=True)
    write_config(folder, override(tiny_run(arrays), {"optimizer.g_lr": 0.5}), "small-32")
    lines(folder / "log.jsonl", [{"images": 8, "d_loss": 2.0}, {"images": 16, "d_loss": 1.0}])
    return folder


def page_of(*runs: Path) -> Page:
    return Page(several.of_runs([read.read(run) for run in runs], 0, "cpu"))


def test_runs_side_by_side(run: Path, tmp_path: Path, arrays: Path):
    other = write_other(tmp_path / "elsewhere" / run.name, arrays)
    result = score(7.0)
    result["protocol"]["features"] = {"network": "data"}
    (other / "scores-data.json").write_text(json.dumps(result | {"intervals": {"frechet_distance": [6.5, 7.5]}}))
    (other / "status.json").write_text("[{")
    page = page_of(run, other)
    assert f"runs/{run.name}" in page.words
    assert f"elsewhere/{run.name}" in page.words
    assert "7 (6.5 to 7.5)" in page.words
    assert "It cannot be told: no two of these runs were scored by the same protocol" in page.words
    assert "features.network: 'tiny' and 'data'" in page.words
    assert "optimizer.g_lr" in page.words
    assert "optimizer.d_lr" not in page.words
    assert "No checkpoint to draw from yet." in page.words
    assert "status.json: cannot be read" in page.words
    drawn = json.loads(page.scripts["charts"])
    assert [line["name"] for line in drawn["d_loss-images"]["data"]] == [
        embed.plain(f"{place}/{run.name}") for place in ("runs", "elsewhere")
    ]
    with pytest.raises(UserError, match="twice"):
        several.of_runs([read.read(run), read.read(run)])


def test_runs_with_several_protocols_are_shown_by_the_one_they_share(run: Path, tmp_path: Path, arrays: Path):
    """The other has a newer score over another network, which must not stand beside those over this one."""
    other = write_other(tmp_path / "other", arrays)
    lines(other / "scores.jsonl", [{"images": i, **score(f, images=i)} for i, f in ((80, 33.0), (120, 35.0))])
    strange = score(7.25, images=160)
    strange["protocol"]["features"] = {"network": "data"}
    (other / "scores-data.json").write_text(json.dumps(strange))
    page = page_of(run, other)
    assert "7.25" not in page.words
    assert "Not all of these may be compared" not in page.words
    assert "other is best by the Fréchet distance: 35, then mine<b> with 40" in page.words


def test_shared_protocols_by_hand():
    runs = {
        "a": [*[one("x", i) for i in range(9)], one("y")],
        "b": [one("y", 10), one("y", 20), one("y", 15)],
        "c": [one("z")],
        "d": [],
    }
    found = alike.shared(runs)
    assert [{name: (score.network, score.images) for name, score in group.scores.items()} for group in found] == [
        {"a": ("y", 80), "b": ("y", 20)},
        {"c": ("z", 80)},
    ]
    assert found[0].differences == []
    assert found[1].differences == ["features.network: 'y' and 'z'"]


def test_the_plain_score_of_most_images_is_shown_where_protocols_are_shared_by_as_many():
    scores = [one("x", truncation=0.5), one("x", generated=10), one("x", generated=500), one("x", generated=40)]
    for order in permutations(scores):
        (group,) = alike.shared({"a": list(order), "b": list(order)})
        assert {(score.generated, score.truncation) for score in group.scores.values()} == {(500, None)}


def test_truncated_scores_are_not_like_plain_ones():
    assert not alike.is_alike(one("x"), one("x", truncation=0.5))
    assert alike.difference(one("x"), one("x", truncation=0.5)) == ["generator.truncation: None and 0.5"]
    assert alike.is_alike(one("x", images=1), one("x", images=2))


@pytest.mark.parametrize(
    ("intervals", "told"),
    [
        (({}, {}), "Without intervals"),
        (((1.0, 3.0), (2.0, 4.0)), "Their intervals overlap"),
        (((1.0, 2.0), (3.0, 4.0)), "do not overlap"),
    ],
)
def test_which_is_best(intervals: Any, told: str):
    low, high = (
        Score("scores-x.json", 8, {"frechet_distance": value}, {"frechet_distance": ends} if ends else {}, [], {})
        for value, ends in zip((2.0, 3.0), intervals, strict=True)
    )
    text = several.best_of([alike.Group({"worse": high, "better": low}, [])], 3)
    assert "Of the 2 runs that were scored alike, better is best by the Fréchet distance: 2, then worse with 3" in text
    assert told in text
    assert several.best_of([alike.Group({"alone": low}, [])], 1) == ""


def test_a_figure_holds_scores_of_one_protocol(run: Path, tmp_path: Path, arrays: Path):
    other = write_other(tmp_path / "other", arrays)
    rows = [{"images": i, **score(f, images=i)} for i, f in ((80, 33.0), (120, 35.0))]
    for row in rows:
        row["protocol"]["generated"]["images"] = 51  # type: ignore[index]
    lines(other / "scores.jsonl", rows)
    runs: dict[str, Facts] = {"a": read.read(run), "b": read.read(other)}
    drawn = [one for one in charts.scores(runs) if "Fréchet" in one["title"]]
    assert [[line["y"] for line in one["data"]] for one in drawn] == [[[50.0, 40.0]], [[33.0, 35.0]]]
    assert ["50 samples" in one["note"] for one in drawn] == [True, False]
    assert drawn[0]["data"][0]["line"]["color"] != drawn[1]["data"][0]["line"]["color"]
    every = [one["id"] for clock in (False, True) for one in charts.scores(runs, clock)]
    assert len(set(every)) == len(every)


def test_curves_over_time_put_scores_at_the_hours_of_their_images(run: Path):
    facts = read.read(run)
    (over_time,) = [one for one in charts.scores({"a": facts}, clock=True) if "Fréchet" in one["title"]]
    assert over_time["data"][0]["x"] == pytest.approx([80 / 4 / 3600, (80 / 4 + 80 / 2) / 3600])


def test_samples_are_of_the_seed_that_is_asked_for(run: Path, tmp_path: Path, arrays: Path):
    """The run's own sheet, a red square, is of its own seed."""
    facts = read.read(run)
    own, other, again = (render.samples(facts, seed, "cpu") for seed in (0, 1, 1))
    assert own is not None
    assert other is not None
    assert (own.width, own.height) == (40, 40)
    assert other.width > 40
    assert other == again


def test_runs_are_repeated_by_what_begins_them_and_by_nothing_else(run: Path, tmp_path: Path, arrays: Path):
    other = tmp_path / "tuned"
    write_config(other, tiny_run(arrays), "", {"checkpoint": "/a/checkpoints/x", "images": 7, "init": {}})
    page = page_of(run, other)
    assert f"orthogan train small-32 --data {arrays}" in page.words
    assert "orthogan resume" not in page.words
    assert "No command begins these again, whose presets are not known: tuned." in page.words


def test_too_many_runs_are_refused(run: Path):
    with pytest.raises(UserError, match="too many"):
        several.of_runs([read.read(run)] * 13)
