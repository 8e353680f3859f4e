"""The pictures for a run to score: each once, without those that are already scored."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from dcnn_fast.cli import descriptors
from dcnn_fast.cli.picture_identity import identity
from dcnn_fast.cli.resume import Held
from dcnn_fast.data.folders import Found
from dcnn_fast.data.remote import Stored, StoreError, Stores, is_address
from dcnn_fast.scoring import Waiting

_NOT_NAMED = "an address that a row has is followed where it is named, too"


class InputError(OSError):
    """Standard input cannot be read; the message says why."""


class Intake:
    """Turns found files into the paths to score; unreadable ones are kept aside for their place in the order.

    held: the content of the files that the run resumes. refused: why a path must not be read, or None.
    """

    def __init__(self, held: Held, refused: Callable[[str], str | None]) -> None:
        self._held, self._refused = held, refused
        # In files begun in another folder, a path relative to this one would mean another picture.
        self._absolute = any(folder != os.getcwd() for folder in held.folders)
        self._seen: set[bytes] = set()
        self._given = 0
        self._stores = Stores()
        self._failures: deque[tuple[int, Found]] = deque()
        self.repeated = 0

    def paths(self, found: Iterable[Found | Waiting]) -> Iterator[str | Stored | Waiting]:
        """The paths to score, and at the end those of unnamed pictures whose rows must be made again."""
        for each in found:
            if isinstance(each, Waiting):
                yield each
            else:
                yield from self._take(each)
        for path in self._held.required():
            repeated = self.repeated
            yield from self._take(Found(path, _NOT_NAMED if is_address(path) else None))
            self.repeated = repeated

    def failures(self, scored: int) -> Iterator[Found]:
        """The unreadable files that come before the path after the first `scored` paths, each once."""
        while self._failures and self._failures[0][0] <= scored:
            yield self._failures.popleft()[1]

    def _take(self, found: Found) -> Iterator[str | Stored]:
        key = identity(found.path)
        if key in self._seen:
            self.repeated += 1
            return
        self._seen.add(key)
        if self._held.is_done(key):
            return
        in_store = is_address(found.path)
        path = os.path.abspath(found.path) if self._absolute and not in_store else found.path
        image: str | Stored = path
        error = found.error or self._refused(found.path)
        if in_store and error is None:
            try:
                image = found.stored or self._stores.stored(path)
            except StoreError as failure:
                error = str(failure)
        if error is not None:
            self._failures.append((self._given, Found(path, error)))
        else:
            self._given += 1
            yield image


def lines_of_standard_input() -> Iterator[str]:
    """Standard input's non-empty lines, without a byte order mark before the first; names need not be valid text.

    Raises InputError.
    """
    if sys.stdin is None or descriptors.is_closed(0):
        raise InputError("it is closed")
    try:
        for number, line in enumerate(sys.stdin.buffer):
            name = line.rstrip(b"\r\n")
            if number == 0 and not os.path.lexists(name):
                name = name.removeprefix(b"\xef\xbb\xbf")
            if name:
                yield os.fsdecode(name)
    except OSError as error:
        raise InputError(error.strerror or str(error)) from None
