"""What the top of a page says: whether the model is good, why, and what to do next. Rules, at hand-made records."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from pages import lines, page_of, score
from tiny import tiny_run

from orthogan import presets
from orthogan.networks import DISCRIMINATORS
from orthogan.page import following, read, short, troubles, verdict
from orthogan.page.numbers import is_number, number, share
from orthogan.page.read import Facts
from orthogan.settings import override
from orthogan.training.logs import write_config


def sign(what: str = "D's loss has leapt", **more: Any) -> dict[str, Any]:
    return {"signal": "d_loss_share", "of": "", "what": what, "since": 90, "advice": ["rates", "r1"], **more}


def alarm(images: int = 100, **more: Any) -> dict[str, Any]:
    return {"images": images, "since": 90, "before": 80, "signs": [sign()], "notice": False, **more}


def facts_of(run: Path, **changes: Any) -> Facts:
    """The run of the fixture without alarms and scores, but for what is changed."""
    plain: dict[str, Any] = {"alarms": [], "scores": [], "truncations": [], "status": {}}
    return dataclasses.replace(read.read(run), **plain | changes)


def scored(precision: float | None, recall: float | None, images: int = 160, generated: int = 9000) -> read.Score:
    values = {"precision": precision, "recall": recall, "frechet_distance": 3.0}
    protocol = {"features": {"network": "tiny"}, "generated": {"images": generated}, "generator": {"truncation": None}}
    known = {name: value for name, value in values.items() if value is not None}
    return read.Score("scores-x.json", images, known, {}, [], protocol)


@pytest.mark.parametrize(
    ("precision", "recall", "kind", "answer"),
    [
        (0.7, 0.7, "good", "Yes"),
        (0.69, 0.9, "fair", "In part"),
        (0.9, 0.3, "fair", "In part"),
        (0.9, 0.29, "bad", "Not by these scores"),
        (0.29, 0.9, "bad", "Not by these scores"),
        (0.8, None, "good", "Yes"),
        (None, None, "unknown", "cannot be told"),
    ],
)
def test_the_lower_of_precision_and_recall_decides(run: Path, precision: Any, recall: Any, kind: str, answer: str):
    found = verdict.of_run(facts_of(run, scores=[scored(precision, recall)]))
    assert (found.kind, answer in found.answer) == (kind, True)


def test_a_run_without_scores_is_judged_by_eye(run: Path):
    found = verdict.of_run(facts_of(run))
    assert (found.kind, found.answer) == ("unknown", "Nobody has measured it yet.")
    assert following.steps(facts_of(run))[0].words == ["evaluate", str(run)]


def test_a_run_that_goes_on_is_not_good_yet(run: Path):
    config = override(tiny_run(), {"images": 1000})
    assert verdict.of_run(facts_of(run, config=config, scores=[scored(0.1, 0.1)])).answer == "Not yet."
    assert verdict.of_run(facts_of(run, config=config, scores=[scored(0.9, 0.9)])).answer == "Yes, so far."


@pytest.mark.parametrize(
    ("alarms", "status", "scores", "kind"),
    [
        ([alarm()], {}, [], "bad"),
        ([alarm()], {}, [scored(0.1, 0.1)], "bad"),
        ([alarm(notice=True)], {}, [], "unknown"),
        ([alarm()], {"rollbacks": [{"from": 100, "to": 80}]}, [], "unknown"),
        ([alarm(), alarm(120)], {"rollbacks": [{"from": 100, "to": 80}]}, [], "bad"),
        ([alarm()], {"rollbacks": [{"from": 100, "to": 80, "attempt": 1}]}, [], "unknown"),
        ([alarm(), alarm(attempt=1)], {"rollbacks": [{"from": 100, "to": 80, "attempt": 1}]}, [], "bad"),
        ([alarm(attempt=1)], {"rollbacks": [{"from": 100, "to": 80}]}, [], "unknown"),
        ([alarm(attempt="x")], {"rollbacks": [{"from": 100, "to": 80, "attempt": 7}]}, [], "bad"),
        ([alarm()], {}, [scored(0.9, 0.9)], "good"),
        ([alarm(161)], {}, [scored(0.9, 0.9)], "bad"),
    ],
)
def test_an_alarm_counts_until_a_rollback_or_a_good_later_score(
    run: Path, alarms: Any, status: Any, scores: Any, kind: str
):
    assert verdict.of_run(facts_of(run, alarms=alarms, status=status, scores=scores)).kind == kind


def test_an_alarm_of_a_later_attempt_is_not_answered_by_the_rollback_of_an_earlier_one(run: Path):
    status = {"state": "collapsed", "rollbacks": [{"from": 100, "to": 80, "attempt": 1}]}
    facts = facts_of(run, alarms=[alarm(), alarm(attempt=1)], status=status)
    facts.config = override(facts.config, {"images": 1000, "watch.on_collapse": "rollback"})
    assert [row[3].split(":")[0] for row in troubles.alarms(facts)] == [
        "the run went back to 80",
        "the run was stopped",
    ]
    assert following.steps(facts)[0].words[0] == "branch"
    assert all(step.words[0] != "resume" for step in following.steps(facts))


def test_what_went_wrong_is_said_without_short_forms(run: Path):
    assert (
        verdict.of_run(facts_of(run, alarms=[alarm()])).reason
        == "The training went wrong: the discriminator's loss has leapt (seen at 100 images)."
    )
    assert troubles.in_full("sigma_0 / sigma_1 of generator.linear") == (
        "the ratio of the two largest singular values of generator.linear"
    )


def test_the_newest_of_the_alarms_that_stand_is_told(run: Path):
    found = troubles.of_run(facts_of(run, alarms=[alarm(), alarm(120, before=110), {"images": 130, "odd": 1}]))
    assert found is not None
    assert (found.images, found.before, found.advice) == (120, 110, ["rates", "r1"])


def test_the_plain_score_of_the_newest_generator_counts():
    def cut(images: int) -> read.Score:
        score = scored(0.1, 0.1, images)
        return dataclasses.replace(score, protocol=score.protocol | {"generator": {"truncation": 0.5}})

    plain = [scored(0.9, 0.9, 160), scored(0.8, 0.8, 80)]
    assert verdict.newest([*plain, cut(320)]) == plain[0]
    assert verdict.newest([cut(80), cut(320), cut(160)]) == cut(320)
    assert verdict.newest([]) is None


def test_after_an_alarm_the_advice_begins_before_its_first_sign(run: Path):
    first = following.steps(facts_of(run, alarms=[alarm()]))[0]
    beside = run.with_name(f"{run.name}-branch-1")
    assert first.words[:6] == ["branch", str(run), "--at", "80", "--out", str(beside)]
    assert first.words[6:] == ["--optimizer.g-lr", "0.0005", "--optimizer.d-lr", "0.0005"]
    beside.mkdir()
    again = following.steps(facts_of(run, alarms=[alarm(before=159)]))[0]
    assert again.words[2:6] == ["--at", "80", "--out", str(run.with_name(f"{run.name}-branch-2"))]
    anew = following.steps(facts_of(run, alarms=[alarm(before=79)]))[0]
    assert anew.words[:2] == ["train", "small-32"]
    assert "0.0005" in anew.words


@pytest.mark.parametrize("values", [((50, 30, 40), "worse"), ((50, 40, 39.9), "level"), ((50, 30), "falling")])
def test_the_trend_of_a_distance(run: Path, values: tuple[tuple[float, ...], str]):
    found = [read.as_score("scores.jsonl", {"images": i, **score(f)}) for i, f in enumerate(values[0], 1)]
    facts = facts_of(run, scores=found)
    assert short.trend(facts) == values[1]
    begun, ended = (number(values[0][i]) for i in (0, -1))
    assert any(f"went from {begun} to {ended}; lower is better" in one.text for one in short.sentences(facts))
    told = {"worse": "Its best was 30 at 2", "level": "levelled off", "falling": "still falling"}[values[1]]
    assert any(told in sentence.text for sentence in short.sentences(facts))


def test_a_trend_is_of_one_protocol(run: Path):
    rows: list[Any] = [{"images": i, **score(f)} for i, f in ((10, 1.0), (20, 50.0), (30, 40.0))]
    rows[0]["protocol"]["generated"]["images"] = 10
    facts = facts_of(run, scores=[read.as_score("scores.jsonl", row) for row in rows])
    assert short.distances(facts) == [(20, 50.0), (30, 40.0)]
    assert short.trend(facts) == "falling"


def test_a_run_that_was_getting_better_is_made_longer(run: Path):
    scores = [read.as_score("scores.jsonl", {"images": i, **score(f, 0.1)}) for i, f in ((80, 50.0), (160, 30.0))]
    facts = facts_of(run, scores=scores, preset="of nobody")
    assert ["resume", str(run), "--images", "320"] in [step.words for step in following.steps(facts)]
    by_preset = facts_of(run, scores=scores)
    planned = str(presets.get("small-32").images)
    assert ["resume", str(run), "--images", planned] in [step.words for step in following.steps(by_preset)]
    fixed = override(facts.config, {"optimizer.decay_from_images": 80})
    assert all(step.words[0] != "resume" for step in following.steps(dataclasses.replace(facts, config=fixed)))


def test_a_run_that_was_better_names_its_best_checkpoint(run: Path):
    scores = [read.as_score("scores.jsonl", {"images": i, **score(f, 0.9)}) for i, f in ((80, 30.0), (160, 50.0))]
    facts = facts_of(run, scores=scores)
    assert all("best" not in step.command for step in following.steps(facts))
    best = run / "checkpoints" / "best.safetensors"
    best.write_bytes((run / "checkpoints" / "images-000000000080.safetensors").read_bytes())
    assert any(str(best) in step.command and "30 at 80 images" in step.why for step in following.steps(facts))


def test_scores_of_few_samples_or_of_an_older_generator_are_taken_again(run: Path):
    few, old, firm = (
        facts_of(run, scores=[scored(0.9, 0.9, images, generated)])
        for images, generated in ((160, 4999), (80, 9000), (160, 5000))
    )
    assert "more samples" in following.steps(few)[0].why
    assert "of 80 images" in following.steps(old)[0].why
    assert [step.words[0] for step in following.steps(firm)] == ["sample"]


@pytest.mark.parametrize(
    ("state", "silent_seconds", "ended", "silent", "word"),
    [
        ("training", 0.0, False, False, "--watch"),
        ("training", 1e6, False, True, "resume"),
        ("stopped", 0.0, True, False, "resume"),
        ("failed", 1e6, True, False, "resume"),
        ("unheard of", 0.0, False, False, "--watch"),
    ],
)
def test_what_a_run_does_now(
    run: Path, state: str, silent_seconds: float, ended: bool, silent: bool, word: str
):  # fmt: skip
    config = override(tiny_run(), {"images": 1000})
    facts = facts_of(run, config=config, status={"state": state}, silent_seconds=silent_seconds)
    assert (facts.ended, facts.silent, facts.finished) == (ended, silent, False)
    assert word in following.steps(facts)[0].command


def test_a_run_is_silent_after_the_time_of_five_lines(run: Path):
    facts = facts_of(run, config=override(tiny_run(), {"images": 1000}), speeds=[(80, 0.5)])  # 160 s a line
    assert [dataclasses.replace(facts, silent_seconds=s).silent for s in (799.0, 801.0)] == [False, True]


def test_the_top_of_the_page_answers(run: Path):
    result = score(40.0, 0.8, 160)
    result["scores"]["recall"] = 0.1
    (run / "scores-tiny.json").write_text(json.dumps(result | {"intervals": {"recall": [0.05, 0.2]}}))
    lines(run / "alarms.jsonl", [alarm(notice=True)])
    text, page = page_of(run)
    top = text[text.index('<section id="verdict"') : text.index('<section id="samples"')]
    assert "Not by these scores." in top
    assert "much less varied" in top
    assert "10%" in top
    assert "5% to 20%" in top
    assert "orthogan evaluate" in top
    assert "50 samples against 40 real images, by tiny, after 160 images of training; few" in top
    assert "few images" not in top  # notes stand once, at the scores
    assert page.words.count("few images") == 1


def test_a_judge_that_favours_the_discriminator_is_told_at_the_top(run: Path):
    one = dataclasses.replace(scored(0.9, 0.9), notes=["it may favour this discriminator", "few"])
    told = [sentence.text for sentence in short.sentences(facts_of(run, scores=[one]))]
    assert [text for text in told if "favour" in text or "few" in text] == [
        "Of the scores: it may favour this discriminator."
    ]


def test_random_features_are_told_at_the_top(run: Path):
    random = dataclasses.replace(tiny_run(), discriminator=DISCRIMINATORS["projected"].tiny)
    for config, there in ((random, True), (tiny_run(), False)):
        told = [sentence.text for sentence in short.sentences(facts_of(run, config=config))]
        assert any("with random weights: nothing in it was learnt" in text for text in told) == there


def test_a_discriminator_with_nothing_to_learn_is_told(run: Path):
    for loss, there in ((0.01, True), (0.06, False), (float("nan"), False)):
        facts = facts_of(run, config=override(tiny_run(), {"loss": "hinge"}), log=[{"images": 8, "d_loss": loss}])
        assert any("teaches little" in sentence.text for sentence in short.sentences(facts)) == there


def test_alarms_in_the_status_do_where_their_file_is_missing(tmp_path: Path, arrays: Path):
    write_config(tmp_path, tiny_run(arrays), "small-32")
    (tmp_path / "status.json").write_text(json.dumps({"state": "collapsed", "alarms": [alarm(), 3]}))
    assert read.read(tmp_path).alarms == [alarm()]


def test_alarms_and_rollbacks_are_told_in_words(run: Path) -> None:
    many = [sign(f"G {i}") for i in range(5)]
    rows = [
        alarm(96, signs=many[:2]),
        alarm(97, signs=many),
        alarm(98, notice=True),
        alarm(99, signs=[sign(signal="non-finite")]),
        {"images": 9, "odd": 1},
    ]
    status = {"rollbacks": [{"from": 96, "to": 64, "change": "r1", "rate_factor": 1.0, "r1_gamma": 2.0}, "torn"]}
    told = troubles.alarms(facts_of(run, alarms=rows, status=status))
    assert [row[2] for row in told] == [
        "the generator 0; the generator 1",
        "the generator 0; the generator 1; the generator 2; and 2 more signs",
        "the discriminator's loss has leapt",
        "the discriminator's loss has leapt",
        "odd 1",
    ]
    assert [row[3].split(":")[0] for row in told] == [
        "the run went back to 64",
        "it was told, and the run went on",
        "nothing",
        "the run was stopped",
        "it was told, and the run went on",
    ]
    assert told[0][:2] == ["96", "90"]
    assert troubles.rollbacks(status) == [["96", "64", "r1", 1.0, 2.0]]
    assert troubles.rollbacks({"rollbacks": 3}) == []


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0%"), (0.004, "less than 1%"), (0.01, "1%"), (0.5, "50%"), (0.999, "more than 99%"), (1.0, "100%")],
)
def test_shares_are_not_rounded_to_nothing_or_all(value: float, told: str):
    assert share(value) == told


def test_numbers_that_no_float_holds_are_none():
    assert not any(map(is_number, (10**400, float("inf"), float("nan"), True, "1", None)))
    assert is_number(10**300)
    assert [number(value) for value in (1234.56, 12345.6, 0.00012345)] == ["1235", "12,346", "0.0001234"]
