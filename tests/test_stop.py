"""Being told to stop by signals."""

import signal
from collections.abc import Iterator

import pytest

from orthogan.stop import SIGNALS, Stop


@pytest.fixture(autouse=True)
def with_a_terminal() -> Iterator[None]:
    """The tests themselves may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda s: s.name)
def test_the_first_signal_is_remembered_and_only_ctrl_c_after_it_ends_at_once(number: signal.Signals) -> None:
    told: list[str] = []
    before = [signal.getsignal(s) for s in SIGNALS]
    stop = Stop()
    with stop.on_signals(lambda: told.append("first"), lambda: told.append("at once")):
        assert stop.by is None
        for each in (number, signal.SIGTERM, signal.SIGHUP):
            signal.raise_signal(each)
            assert (stop.by, told) == (number, ["first"])
        signal.raise_signal(signal.SIGINT)
        assert (stop.by, told) == (number, ["first", "at once"])
    assert [signal.getsignal(s) for s in SIGNALS] == before


def test_a_program_under_nohup_outlives_its_terminal() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = Stop()
    with stop.on_signals(lambda: None, lambda: None):
        signal.raise_signal(signal.SIGHUP)
        assert stop.by is None
        signal.raise_signal(signal.SIGTERM)
        assert stop.by == signal.SIGTERM
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_a_handler_that_is_not_pythons_ends_as_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a program that embeds Python has set it: `signal.signal` then answers None."""
    install = signal.signal
    monkeypatch.setattr(signal, "signal", lambda number, handler: install(number, handler) and None)
    before = [signal.getsignal(s) for s in SIGNALS]
    try:
        with Stop().on_signals(lambda: None, lambda: None):
            pass
        assert [signal.getsignal(s) for s in SIGNALS] == [signal.SIG_DFL] * len(SIGNALS)
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            install(number, handler)
