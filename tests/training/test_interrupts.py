"""The first interrupt requests a stop, the second interrupts; the former handlers are restored."""

from __future__ import annotations

import signal
import threading

import pytest

from dcnn_fast.training.interrupts import interrupts

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def heard():
    """Handlers that record the signals that would otherwise end the test run."""
    found = []
    before = {number: signal.signal(number, lambda n, _: found.append(n)) for number in SIGNALS}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_first_asks_and_the_second_goes_through(heard, first, second):
    with interrupts() as asked:
        assert not asked.is_set()
        signal.raise_signal(first)
        assert asked.is_set() and heard == []
        signal.raise_signal(second)
        assert heard == [second]


def test_handlers_come_back(heard):
    with interrupts():
        pass
    signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM]


def test_another_thread_leaves_the_handlers_alone(heard):
    events = []

    def body():
        with interrupts() as asked:
            events.append(asked)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert not events[0].is_set()


def test_what_the_process_ignores_stays_ignored(heard):
    """nohup: a closed terminal must not end the run."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with interrupts() as asked:
        signal.raise_signal(signal.SIGHUP)
        assert not asked.is_set() and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        signal.raise_signal(signal.SIGTERM)
        assert asked.is_set()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
