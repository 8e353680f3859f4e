"""Ctrl-C, SIGTERM, which batch systems send before they kill, and SIGHUP, which a closed terminal sends.

The first signal ends a run where it can be resumed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Asked(threading.Event):
    """Set when the run was asked to end; signum: the signal, if there was one."""

    signum: int | None = None


@contextmanager
def interrupts() -> Iterator[Asked]:
    """An event that the first of the signals sets; the next one has its usual effect. Only the main thread may handle signals.

    Signals that the process ignores, as under nohup and in a shell's background jobs, stay ignored.
    """
    event = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def ask(number: int, frame: FrameType | None) -> None:
        event.signum = number
        event.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    found = {number: signal.getsignal(number) for number in _ASKING}
    before = {number: handler for number, handler in found.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, ask)
    try:
        yield event
    finally:
        restore()


def ignore_interrupts() -> None:
    """Ignore the signals, in a process that its parent ends: terminals and batch systems signal every process."""
    for number in _ASKING:
        signal.signal(number, signal.SIG_IGN)
