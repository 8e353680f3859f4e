"""Signals that end a run between two pictures: Ctrl-C, SIGTERM and SIGHUP."""

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
    """Within its context, the first signal raises KeyboardInterrupt in the main thread; a second ends the process.

    Signals that the process was started to ignore (nohup, a shell's background jobs) stay ignored. `signum` is the signal that
    came, or None. Within `kept`, a signal is only recorded, and the code inside checks `signum` where it can end safely.
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
        """The exit status for the signal that came."""
        return 128 + (self.signum or signal.SIGINT)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Let the block inside finish: a signal raises KeyboardInterrupt only after it."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        self.check()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within the block, the first signal is recorded and raises nothing."""
        self._kept = True
        try:
            yield
        finally:
            self._kept = False

    def forget(self) -> None:
        """Forget a signal that has been acted on: the run goes on as if none had come."""
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
