"""The memory of the pictures in work, of all threads together: asked for before a picture is decoded, given back after its use.

A picture waits for its turn until what it takes fits in beside the others. One that is larger than all there is goes alone,
unless the limit was set (`set_limit`): then it is refused. A file that has to be read into memory first is waited for before
that, and may have a share of the memory: who has read one waits for pixels, and who has pixels waits for nothing, so that
somebody always goes on.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

LEAST = 2**31  # bytes at a time, or a sixteenth of the memory where that is more
_SHARE = 16
_OF_FILES = 4  # the share of the memory that files may have together
_UNKNOWN = 2**30  # bytes that a file of unknown size is taken to have
_CONTAINERS_LIMIT = Path("/sys/fs/cgroup/memory.max")


class NoRoomError(ValueError):
    """A picture that takes more memory than the limit that was set leaves for pictures."""


class GivenUpError(Exception):
    """Nobody wants the picture any more that was waited for."""


class _Pictures:
    """How much is held, and who waits, first come first served."""

    def __init__(self, limit: int, limit_name: str | None) -> None:
        self.changed = threading.Condition()
        self.limit, self.limit_name = limit, limit_name
        self.used = self.waiting = 0  # bytes; pictures that did not fit in when they came
        self.queue: deque[object] = deque()
        self.files = 0  # bytes
        self.queue_of_files: deque[object] = deque()


class Held:
    """What one picture holds of the memory."""

    def __init__(self, pictures: _Pictures, given_up: Callable[[], bool], before_wait: Callable[[], object]) -> None:
        self._pictures, self._given_up, self._before_wait = pictures, given_up, before_wait
        self._bytes = 0
        self._file = 0  # bytes

    @contextmanager
    def file(self, size: int | None) -> Iterator[None]:
        """Hold a file of that many bytes, once they are free; None: its size is not known, and its share is held.

        Raises NoRoomError and GivenUpError as `take`.
        """
        pictures = self._pictures
        wanted = min(_UNKNOWN, pictures.limit // _OF_FILES) if size is None else size
        self._require_room(wanted)

        def fits() -> bool:
            together = pictures.files + wanted
            is_of_share = not pictures.files or together <= pictures.limit // _OF_FILES
            is_alone = not pictures.files and not pictures.used
            return is_of_share and (is_alone or pictures.used + together <= pictures.limit)

        self._in_turn(pictures.queue_of_files, fits, partial(self._set_file, wanted))
        try:
            yield
        finally:
            with pictures.changed:
                self._set_file(0)
                pictures.changed.notify_all()

    def take(self, wanted: int) -> None:
        """Hold `wanted` bytes, once they are free; a picture that holds some already does not wait for more.

        Raises NoRoomError for more than a limit that was set, GivenUpError where the wait has lost its purpose.
        """
        pictures = self._pictures
        self._require_room(wanted + (max(self._file, pictures.limit // _OF_FILES) if self._file else 0))
        if not self._bytes:
            self._in_turn(pictures.queue, lambda: self._fits(wanted), partial(self._set, wanted))
            return
        with pictures.changed:
            self._set(wanted)

    def _require_room(self, wanted: int) -> None:
        pictures = self._pictures
        if pictures.limit_name is not None and wanted > pictures.limit:
            raise NoRoomError(
                f"reading it takes {wanted / 1e6:.0f} MB, more than the {pictures.limit / 1e6:.0f} MB that "
                f"{pictures.limit_name} leaves for pictures"
            )

    def _in_turn(self, queue: deque[object], fits: Callable[[], bool], take: Callable[[], None]) -> None:
        pictures, turn = self._pictures, object()

        def ready() -> bool:
            return self._given_up() or (queue[0] is turn and fits())

        with pictures.changed:
            queue.append(turn)
            waits = not ready()
            pictures.waiting += waits
        try:
            if waits:
                self._before_wait()
            with pictures.changed:
                pictures.changed.wait_for(ready)
                if self._given_up():
                    raise GivenUpError
                take()
        finally:
            with pictures.changed:
                queue.remove(turn)
                pictures.waiting -= waits
                pictures.changed.notify_all()

    def keep(self, bytes_kept: int) -> None:
        """Hold this many from now on, usually fewer."""
        with self._pictures.changed:
            self._set(bytes_kept)
            self._pictures.changed.notify_all()

    def handed_over(self) -> Held:
        """What holds the same in this one's place, whatever its thread does, until it is to `keep(0)`."""
        other = Held(self._pictures, self._given_up, self._before_wait)
        with self._pictures.changed:
            other._bytes, self._bytes = self._bytes, 0
        return other

    def _fits(self, wanted: int) -> bool:
        pictures = self._pictures
        return not pictures.used or pictures.used + pictures.files + wanted <= pictures.limit

    def _set(self, now: int) -> None:
        self._pictures.used += now - self._bytes
        self._bytes = now

    def _set_file(self, now: int) -> None:
        self._pictures.files += now - self._file
        self._file = now


class _Thread(threading.local):
    held: Held | None = None


_thread = _Thread()


def set_limit(limit: int | None, name: str | None = None) -> None:
    """The bytes that pictures may take together from now on; None for the default. Pictures in work count towards the former.

    name: what set it, for messages; with one, a picture that takes more is refused. Raises ValueError.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 byte, got {limit}")
    global _pictures  # noqa: PLW0603 - the process's
    _pictures = _Pictures(_default() if limit is None else limit, name)


def no_memory(purpose: str) -> str:
    """What is said where memory did not suffice "to read it", say, with the name of the limit where one was set."""
    name = _pictures.limit_name
    return f"there is not enough memory {purpose}" + (f" within {name}" if name else "")


def limit() -> int:
    """The bytes that pictures may take together."""
    return _pictures.limit


def is_limited() -> bool:
    """Whether a limit was set by name."""
    return _pictures.limit_name is not None


@contextmanager
def picture(
    given_up: Callable[[], bool] = lambda: False, before_wait: Callable[[], object] = lambda: None
) -> Iterator[Held]:  # fmt: skip
    """What this thread's picture holds, given back at the end; within another picture of the thread, that one's.

    given_up: whether nobody wants the picture any more; asked while it waits, after each `look_again`. before_wait: called
    before it waits, to give back what can be.
    """
    if _thread.held is not None:
        yield _thread.held
        return
    held = _thread.held = Held(_pictures, given_up, before_wait)
    try:
        yield held
    finally:
        _thread.held = None
        held.keep(0)


def waited_for() -> bool:
    """Whether a picture waits for memory: who holds some for a better moment is to give it back."""
    return _pictures.waiting > 0


def look_again() -> None:
    """Have the pictures that wait ask whether they are still wanted."""
    with _pictures.changed:
        _pictures.changed.notify_all()


def memory() -> int:
    """The bytes of memory that this process may have: the machine's, or its container's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(_CONTAINERS_LIMIT.read_text()))
    except (OSError, ValueError):  # "max" where there is none
        return machine


def _default() -> int:
    return max(LEAST, memory() // _SHARE)


def _in_child() -> None:
    """The parent's other threads and what they hold are not here; nor is its lock to be trusted."""
    global _pictures  # noqa: PLW0603 - the process's
    _pictures = _Pictures(_pictures.limit, _pictures.limit_name)


_pictures = _Pictures(_default(), None)
os.register_at_fork(after_in_child=_in_child)
