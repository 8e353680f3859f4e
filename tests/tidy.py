"""Keeps a process that runs thousands of tests small: memory left by earlier ones is returned once it is large."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

import pytest

ROOM = 200 * 2**20  # growth in bytes that is tolerated
_STATM = Path("/proc/self/statm")


class Tidy:
    """A plugin: after a test, garbage and freed memory go back to the system if the process grew by `ROOM` since the last time.

    Cycles wait for Python's collector, which counts objects and not their bytes; glibc keeps freed memory among other.
    """

    def __init__(self) -> None:
        self._least = _resident()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self) -> None:
        """Exclude all tests and modules from later garbage collections, which would otherwise take half a second each."""
        gc.collect()
        gc.freeze()
        self._least = _resident()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        """Tidy up if it is time."""
        if _resident() > self._least + ROOM:
            gc.collect()
            if hasattr(_LIBC, "malloc_trim"):
                _LIBC.malloc_trim(0)
            self._least = _resident()


def _resident() -> int:
    """The bytes that this process has in memory; 0 if the system does not report them."""
    if not _STATM.exists():
        return 0
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


_LIBC = ctypes.CDLL(None)
