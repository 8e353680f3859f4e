"""Watches folders for new photographs: gives each once, when its file has settled."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dcnn_fast.data.folders import Found, Passed, Search

SETTLED = 2.0  # seconds without a change
_SETTLED_EMPTY = 30.0  # the same for an empty file, which some programs create long before they fill it
_SWEEP, _SWEEP_ALONE = 60.0, 5.0  # seconds between scans of all folders, with and without the system's notifications
_SHARE = 10  # scans take at most a tenth of the time
_SLICE = 0.25  # longest wait of a caller, in seconds


@dataclass(frozen=True)
class _Seen:
    """A file at one moment. state: size, time and inode, which differ after a write. since: when it was first seen so."""

    state: tuple[int, int, int]
    since: float


class Watch:
    """Finds files that come into the folders among `paths`, and those that are there, as `search` finds them.

    A file has settled when two scans, `settle` seconds apart, have seen it with the same size and time; at the first scan, a
    file last written that long ago needs no second one. The system notifies of changes where the package watchfiles is
    installed; all folders are scanned now and then even so, as network drives send no notifications. A folder that vanishes,
    such as an unplugged drive's, may return.
    """

    def __init__(self, search: Search, paths: Sequence[str], *, settle: float = SETTLED) -> None:
        self._search, self._paths, self._settle = search, paths, settle
        self._folders = [path for path in paths if os.path.isdir(path)]
        self._given: set[str] = set()
        self._coming: dict[str, _Seen] = {}
        self._has_looked = False

    @property
    def coming(self) -> Sequence[str]:
        """The files seen that have not settled yet."""
        return list(self._coming)

    def files(self) -> Iterator[Found | None]:
        """Each file once, endlessly; None several times a second while there is none."""
        changes = self._changes()
        while True:
            began = time.monotonic()
            ready = self._look()
            took = time.monotonic() - began
            yield from ready
            least = max(self._settle if self._coming or changes else _SWEEP_ALONE, _SHARE * took)
            for _ in self._slices(least):
                yield None
            if changes is None or self._coming:
                continue
            until = time.monotonic() + max(_SWEEP, _SHARE * took)
            while time.monotonic() < until and not next(changes, True):  # waits for a slice
                yield None

    def _slices(self, seconds: float) -> Iterator[None]:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(_SLICE, left))
            yield None

    def _changes(self) -> Iterator[bool] | None:
        """An iterator of whether anything has changed since its last step; None where the system gives no notifications."""
        try:
            import watchfiles  # noqa: PLC0415 - of the extra `photos`
        except ImportError:
            return None
        found = watchfiles.watch(
            *self._folders, watch_filter=None, rust_timeout=round(1000 * _SLICE), yield_on_timeout=True, raise_interrupt=True
        )
        try:
            next(found)  # begins to watch, before the first scan
        except (OSError, RuntimeError):  # for instance more folders than the system watches
            return None
        return _changed(found)

    def _look(self) -> list[Found]:
        """The files that have settled since the last scan."""
        now, coming = time.monotonic(), {}
        ready = []
        self._search.passed = Passed()
        for found in self._search.files(path for path in self._paths if path not in self._folders or os.path.isdir(path)):
            if found.path in self._given:
                continue
            seen = None if found.error is not None or found.path in self._paths else self._seen(found.path, now)
            if seen is None:
                self._given.add(found.path)
                ready.append(found)
            else:
                coming[found.path] = seen
        self._coming, self._has_looked = coming, True
        return ready

    def _seen(self, path: str, now: float) -> _Seen | None:
        """The state of an unsettled file; None for a settled one, or one whose fault reading will report."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        state, before = (status.st_size, status.st_mtime_ns, status.st_ino), self._coming.get(path)
        patience = self._settle if status.st_size else max(self._settle, _SETTLED_EMPTY)
        if not self._has_looked and time.time() - status.st_mtime >= patience:
            return None
        if before is None or before.state != state:
            return _Seen(state, now)
        return None if now - before.since >= patience else before


def _changed(told: Iterator[Any]) -> Iterator[bool]:
    """Yields whether anything has changed since the last step; ends when notifications fail."""
    try:
        for changes in told:
            yield bool(changes)
    except (OSError, RuntimeError):
        return
