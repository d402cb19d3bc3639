"""The rules of the collapse watch on series written by hand."""

import json
import random

import pytest

from orthogan.stability import watch
from orthogan.stability.watch import LEAST, LOOKS, RULES, Alarm, Judge, Rule

STEADY = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.1, 0.9, 1.0, 1.05, 0.95, 1.0]


def judged(series: dict[str, list[float]], judge: Judge | None = None, first: int = 1) -> tuple[Judge, list[Alarm]]:
    """Looks at 100, 200, ... images."""
    judge, alarms = judge or Judge(), []
    for number, values in enumerate(zip(*series.values(), strict=True), first):
        judge, alarm = judge.after(100 * number, dict(zip(series, values, strict=True)))
        alarms += [alarm] if alarm else []
    return judge, alarms


@pytest.mark.parametrize("spike", [1, LOOKS - 1])
def test_a_spike_is_no_trend(spike: int) -> None:
    judge, alarms = judged({"sigma/generator.linear": [*STEADY, *[50.0] * spike, *STEADY]})
    assert not alarms
    assert not judge.streaks


def test_the_same_sign_at_three_looks_is_an_alarm_that_names_layer_and_time() -> None:
    judge, (alarm,) = judged({"sigma/generator.linear": [*STEADY, 4.0, 5.0, 6.0, 7.0], "d_loss_share": [0.5] * 16})
    assert (alarm.images, alarm.since, alarm.before) == (1500, 1300, 1200)
    (sign,) = alarm.signs
    assert (sign.signal, sign.of, sign.what) == (
        "sigma",
        "generator.linear",
        "sigma_0 of generator.linear has exploded",
    )
    assert (sign.value, sign.usual) == (6.0, 1.0)
    assert judge.clean == {1200}


def test_one_alarm_for_one_trouble_and_another_after_the_recovery() -> None:
    for_long, again = [*STEADY, *[9.0] * 6], [*STEADY, *STEADY, *STEADY, *[60.0] * 4]
    assert [alarm.images for alarm in judged({"gap": for_long})[1]] == [1500]
    assert [alarm.images for alarm in judged({"gap": [*for_long, *again]})[1]] == [1500, 100 * (18 + 36 + 3)]


def test_the_threshold_by_hand() -> None:
    """0, 1, ... 8 without the last three: median 2.5, median distance 1.5, spread 2.2239, six of them 13.3434."""
    rule = Rule(signal="x", side="above", by=1.0, what="")
    past = [float(i) for i in range(9)]
    assert not rule.is_sign(past, 2.5 + 13.34, 10)
    assert rule.is_sign(past, 2.5 + 13.35, 10)
    assert not rule.is_sign(past[:-1], 1e9, 9), f"fewer than {LEAST} in the reference"
    flat = Rule(signal="x", side="below", factor=2.0, what="")
    assert not flat.is_sign([3.0] * 9, 1.51, 10)
    assert flat.is_sign([3.0] * 9, 1.49, 10)


def test_a_bound_holds_after_the_warm_up_and_whatever_the_past() -> None:
    assert [a.images for a in judged({"diversity": [0.01] * 14})[1]] == [100 * (watch.WARM_UP + LOOKS)]


@pytest.mark.parametrize("rate", [0.97, 1.03])
@pytest.mark.parametrize("name", ["sigma/a", "ratio/a", "gap", "distance", "diversity", "d_grad_norm", "separation"])
def test_a_steady_drift_is_no_alarm(name: str, rate: float) -> None:
    """100 looks of 3 % each, a factor of 19 in all."""
    assert not judged({name: [10 * rate**i for i in range(100)]})[1]


@pytest.mark.parametrize("rate", [1.05, 1.2, 1.5])
def test_a_score_that_grows_steadily_is_an_alarm(rate: float) -> None:
    """Its logarithm is a line, whose spread would hide it; three scores above twice the lowest median of three."""
    series = [10 * rate**i for i in range(40)]
    _, alarms = judged({"score": series})
    first = next(i for i, value in enumerate(series) if i > 2 and value > 2 * 10 * rate)
    assert [alarm.images for alarm in alarms] == [100 * (first + 3)]
    (sign,) = alarms[0].signs
    assert sign.what == "the score has drifted to more than twice the best of the run"
    assert sign.usual == pytest.approx(10 * rate)


def test_the_best_score_is_remembered_from_longer_ago_than_looks_are() -> None:
    judge, _ = judged({"score": [10.0, 11.0, 12.0, 13.0, 14.0]})
    for number in range(6, 60):
        judge, _ = judge.after(100 * number, {"gap": 1.0})
    assert not judged({"score": [21.0] * 3}, judge, 60)[1]
    assert [alarm.images for alarm in judged({"score": [23.0] * 3}, judge, 60)[1]] == [6200]


@pytest.mark.parametrize("seed", range(20))
def test_noise_of_a_healthy_score_is_no_drift(seed: int) -> None:
    """It falls to a fifth, and up to a factor of 1.5 lies between two looks."""
    noise = random.Random(seed)
    series = [10 * (0.2 + 0.8 * 0.9**i) * noise.uniform(1, 1.5) for i in range(100)]
    assert not judged({"score": series})[1]
    assert not judged({"score": [10.0, 40.0, 40.0, 40.0, 40.0]})[1], "at the beginning nothing is known"


def test_a_weak_sign_needs_another_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    weak = [Rule(signal=name, side="above", factor=2.0, alone=False, what=name) for name in "ab"]
    monkeypatch.setattr(watch, "RULES_OF", {"a": [(0, weak[0])], "b": [(1, weak[1])]})
    rising, flat = [*STEADY, *[9.0] * 4], [*STEADY, *[1.0] * 4]
    assert not judged({"a": rising, "b": flat})[1]
    assert not judged({"a/1": rising, "a/2": rising})[1]
    assert [sign.what for sign in judged({"a": rising, "b": rising})[1][0].signs] == ["a", "b"]


def test_what_a_look_did_not_measure_neither_breaks_a_streak_nor_adds_to_it() -> None:
    judge, _ = judged({"score": [10.0, 9.0, 8.0, 8.0, 8.0, 30.0]})
    judge, alarm = judge.after(650, {"gap": 1.0})
    assert alarm is None
    assert judge.clean == {500}
    _, alarm = judge.after(700, {"score": 31.0})
    assert alarm is not None
    assert (alarm.since, alarm.signs[0].signal) == (600, "score")


@pytest.mark.parametrize(
    "series",
    [
        {"sigma/a": [*STEADY, 4.0, 5.0, 6.0, 7.0], "diversity": [1.0] * 16},
        {"score": [1.2**i for i in range(16)]},
    ],
)
def test_it_goes_on_from_its_facts(series: dict[str, list[float]]) -> None:
    whole, alarms = judged(series)
    assert len(alarms) == 1
    for cut in range(1, 16):
        first, before = judged({name: values[:cut] for name, values in series.items()})
        read = Judge.of_facts(json.loads(json.dumps(first.facts())))
        second, after = judged({name: values[cut:] for name, values in series.items()}, read, cut + 1)
        assert [a.facts() for a in before + after] == [a.facts() for a in alarms]
        assert second.facts() == whole.facts()


def test_it_remembers_no_more_than_it_needs() -> None:
    judge, _ = judged({"gap": [1.0] * 200})
    assert len(judge.looks) == watch.KEPT
    assert judge.count == 200


def test_every_rule_says_what_people_change() -> None:
    assert all(rule.advice and rule.what and (rule.factor or rule.by or rule.bound or rule.drift) for rule in RULES)


def test_a_notice_is_told_once_and_hides_no_collapse() -> None:
    """D is right about every image, look after look; then a layer explodes too."""
    quiet = {"d_loss_share": [0.01] * 20, "sigma/generator.linear": [1.0] * 20}
    judge, (notice,) = judged(quiet)
    assert notice.notice
    _, (alarm,) = judged({"d_loss_share": [0.01] * 6, "sigma/generator.linear": [9.0] * 6}, judge, 21)
    assert not alarm.notice
    assert {sign.signal for sign in alarm.signs} == {"d_loss_share", "sigma"}
