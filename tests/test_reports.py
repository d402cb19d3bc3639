"""What a person sees while a run goes on: time left, and what a narrow terminal leaves out."""

import io
import re

import pytest
from rich.console import Console

from orthogan import reports
from orthogan.reports import TrainingView, duration

LOSSES = {"g_loss": 0.5, "d_loss": 1.25}


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (91, "2 min"),
        (3570, "1 h 00 min"),
        (4000, "1 h 07 min"),
        (7170, "2 h 00 min"),
        (47 * 3600, "47 h 00 min"),
        (300_000, "3 days 11 h"),
    ],
)
def test_durations_in_two_units(seconds: float, told: str) -> None:
    assert duration(seconds) == told


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def shown(monkeypatch: pytest.MonkeyPatch, width: int, step_seconds: float, terminal: bool = True) -> str:
    """What is on the screen after two steps of 128 of 2,000,000 images."""
    clock, screen = Clock(), io.StringIO()
    monkeypatch.setattr(reports, "time", clock)
    monkeypatch.setattr(
        reports, "console", Console(file=screen, width=width, force_terminal=terminal, soft_wrap=True, markup=False)
    )
    with TrainingView(2_000_000, 128) as view:
        for images in (128, 256):
            clock.now += step_seconds
            view.stepped(images, LOSSES)
        view.bar.refresh()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_the_time_left_is_there_at_every_width_and_for_slow_steps(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    last = shown(monkeypatch, width, 43.0).splitlines()[-1].rstrip()
    assert "256/2000000" in last
    assert last.endswith("7 days 19 h left")  # (2,000,000 - 256) / 128 steps of 43 s
    assert "3/s" in last
    assert ("G 0.500 D 1.250" in last) == (width >= 110)
    assert len(last) <= width


def test_whatever_is_counted_tells_of_itself_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, screen = Clock(), io.StringIO()
    monkeypatch.setattr(reports, "time", clock)
    monkeypatch.setattr(
        reports, "console", Console(file=screen, width=80, force_terminal=False, soft_wrap=True, markup=False)
    )
    with reports.counting("features of {braces} [and] brackets") as progress:
        for done in (0, 10, 11, 40):
            progress(done, 40)
            clock.now += 10
    assert screen.getvalue().splitlines() == [
        "features of {braces} [and] brackets  11/40  53 s left",  # 20 s for 11; the lines are 15 s apart
    ]


def test_without_a_terminal_the_time_left_is_in_hours_and_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, 80, 16.0, terminal=False).splitlines()
    assert lines[0] == "128/2000000 images  8/s  G 0.500 D 1.250  2 days 21 h left"


@pytest.mark.parametrize("terminal", [True, False])
def test_names_with_brackets_and_braces_are_shown_as_they_are(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    name, screen = "my [x] [/b] {y} folder", io.StringIO()
    monkeypatch.setattr(reports.console, "_file", screen)
    monkeypatch.setattr(reports.console, "_force_terminal", terminal)
    reports.table(name, ["what [/i]", "value"], [[name, 3]])
    reports.warn(name)
    with reports.counting(name) as progress:
        progress(1, 2)
    told = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert told.count(name) >= 3 + terminal
    assert "what [/i]" in told


def test_names_in_tables_cannot_steer_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(reports, "console", Console(file=screen, width=80, soft_wrap=True, markup=False))
    reports.table("", ["name", "images"], [("\x1b[31m[bold]\n", 12345)])
    assert screen.getvalue().splitlines()[-1].split() == [r"\x1b[31m[bold]\n", "│", "12,345"]


def test_where_the_output_is_for_programs_counting_goes_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, screen, other = Clock(), io.StringIO(), io.StringIO()
    monkeypatch.setattr(reports, "time", clock)
    monkeypatch.setattr(reports, "console", Console(file=screen))
    with reports.counting("decoding", on=Console(file=other)) as progress:
        clock.now += 20
        progress(1, 2)
    assert screen.getvalue() == ""
    assert other.getvalue().splitlines() == ["decoding  1/2  20 s left"]
