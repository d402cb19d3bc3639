"""Figures of studies: what is drawn stands where it can be told apart."""

from typing import Any

from orthogan import plots


def of_points(intervals: bool) -> list[dict[str, Any]]:
    points = []
    for threshold, distance in ((None, 50.0), (0.5, 40.0)):
        scores = {"frechet_distance": distance, "classifier_score": 3.0, "precision": 0.5, "recall": 0.4}
        ends = {"intervals": {name: [0.9 * value, 1.1 * value] for name, value in scores.items()}} if intervals else {}
        points.append({"truncation": threshold, "scores": scores, **ends})
    return points


def test_a_single_truncation_curve_has_the_intervals_of_its_points() -> None:
    with_ = plots.truncation({"": [of_points(True)]}, "efficientnet-lite0", "a run").axes[0]
    assert [45.0, 55.00000000000001] in [list(line.get_ydata()) for line in with_.lines]
    without = plots.truncation({"": [of_points(False)]}, "efficientnet-lite0", "an older file").axes[0]
    assert max(max(line.get_ydata(), default=0) for line in without.lines) == 50
