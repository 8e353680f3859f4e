"""Signals that end a run: Ctrl-C, SIGTERM and SIGHUP alike, between two pictures."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """While it is entered, the first of the signals raises KeyboardInterrupt in the main thread; a second ends the process.

    Those that the process was started to ignore (nohup, a shell's background jobs) stay ignored. `signum` is the one that
    came, or None. While it is `kept` in mind only, whoever works looks at `signum` where ending does no harm.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self._shielded = self._kept = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for signum in _SIGNALS:
                if signal.getsignal(signum) not in (signal.SIG_IGN, None):
                    self._before[signum] = signal.signal(signum, self._came)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    @property
    def status(self) -> int:
        """The exit status that says which signal it was."""
        return 128 + (self.signum or signal.SIGINT)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """What is done inside is done to its end: a signal is raised after it."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        self.check()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Inside, the first signal raises nothing."""
        self._kept = True
        try:
            yield
        finally:
            self._kept = False

    def forget(self) -> None:
        """The signal has been followed: the run goes on as if none had come."""
        self.signum = None

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self.signum is not None and not self._kept:
            raise KeyboardInterrupt

    def _came(self, signum: int, frame: FrameType | None) -> None:
        if self.signum is not None:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
            return
        self.signum = signum
        if not self._shielded and not self._kept:
            raise KeyboardInterrupt
