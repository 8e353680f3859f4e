"""A budget of memory for the pictures in work in all threads: reserved before a picture is decoded, released after its use.

A picture waits its turn until its memory fits beside the others'. A picture larger than the whole budget goes alone, unless the
budget was set under a name (`set_limit`): then it is refused. A file that must be read into memory first waits before that,
within a share of the budget for files: a thread that holds a file waits for pixels, and a thread that holds pixels waits for
nothing, so one thread always proceeds.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

LEAST = 2**31  # bytes of the default budget, or a sixteenth of the memory where that is more
_SHARE = 16
_OF_FILES = 4  # files together may hold a quarter of the budget
_UNKNOWN = 2**30  # bytes assumed for a file of unknown size
_CONTAINERS_LIMIT = Path("/sys/fs/cgroup/memory.max")


class NoRoomError(ValueError):
    """A picture takes more memory than the limit that was set."""


class GivenUpError(Exception):
    """A waiting picture is no longer wanted."""


class _Pictures:
    """The memory held and the queues of waiting threads, first come, first served."""

    def __init__(self, limit: int, limit_name: str | None) -> None:
        self.changed = threading.Condition()
        self.limit, self.limit_name = limit, limit_name
        self.used = self.waiting = 0  # bytes held; number of pictures and files waiting
        self.queue: deque[object] = deque()
        self.files = 0  # bytes held by files
        self.queue_of_files: deque[object] = deque()


class Held:
    """The memory that one picture holds."""

    def __init__(self, pictures: _Pictures, given_up: Callable[[], bool], before_wait: Callable[[], object]) -> None:
        self._pictures, self._given_up, self._before_wait = pictures, given_up, before_wait
        self._bytes = 0
        self._file = 0  # bytes of its file

    @contextmanager
    def file(self, size: int | None) -> Iterator[None]:
        """Reserve memory for a file of `size` bytes, once it is free; None, an unknown size, reserves at most the files' share.

        Raises NoRoomError and GivenUpError as `take` does.
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
        """Reserve `wanted` bytes, once they are free; a picture that already holds some changes to `wanted` without waiting.

        Raises NoRoomError for more than a limit that was set, GivenUpError if the picture is no longer wanted.
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
        """Change the reservation to `bytes_kept`, usually fewer."""
        with self._pictures.changed:
            self._set(bytes_kept)
            self._pictures.changed.notify_all()

    def handed_over(self) -> Held:
        """Move the reservation to a new `Held`, which outlasts this thread's `picture` and is released by `keep(0)`."""
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
    """Set the bytes that pictures may take together from now on; None: the default. Pictures in work count in the old budget.

    name: the setting's name, for messages; with a name, a picture that takes more is refused. Raises ValueError.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1 byte, got {limit}")
    global _pictures  # noqa: PLW0603 - the process's
    _pictures = _Pictures(_default() if limit is None else limit, name)


def no_memory(purpose: str) -> str:
    """The message where memory did not suffice for a purpose, such as "to read it"; it names the limit if one was set."""
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
    """The reservation of this thread's picture, released at the end; nested in another picture, that picture's reservation.

    given_up: whether the picture is no longer wanted; asked while it waits, after each `look_again`. before_wait: called
    before it waits, to release spare memory.
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
    """Whether a picture or file waits for memory: a holder of spare memory should then release it."""
    return _pictures.waiting > 0


def look_again() -> None:
    """Make waiting pictures check whether they are still wanted."""
    with _pictures.changed:
        _pictures.changed.notify_all()


def memory() -> int:
    """The bytes of memory available to this process: the machine's, or its container's limit where that is less."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(_CONTAINERS_LIMIT.read_text()))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return machine


def _default() -> int:
    return max(LEAST, memory() // _SHARE)


def _in_child() -> None:
    """Start afresh: other threads of the parent do not exist in the child, and one of them may hold the lock."""
    global _pictures  # noqa: PLW0603 - the process's
    _pictures = _Pictures(_pictures.limit, _pictures.limit_name)


_pictures = _Pictures(_default(), None)
os.register_at_fork(after_in_child=_in_child)
