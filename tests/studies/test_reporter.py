"""The time of training, as a run of a study tells it."""

import json
import queue
from pathlib import Path

from orthogan.studies.work import TIMES, Reporter


def test_scores_and_checkpoints_are_not_training(tmp_path: Path) -> None:
    """Steps of 2 seconds, the first of 10, and a score of 100 after the third."""
    now = 0.0
    reporter = Reporter(tmp_path, 40, queue.Queue(), lambda: now)  # type: ignore[arg-type]
    for images, seconds in ((10, 10), (20, 2), (30, 2)):
        now += seconds
        reporter.stepped(images, {})
    now += 100
    reporter.told("a score")
    now += 2
    reporter.stepped(40, {})
    reporter.keep_time()
    assert json.loads((tmp_path / TIMES).read_text()) == {"images": 30, "seconds": 6.0}
