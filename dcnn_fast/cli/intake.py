"""The pictures a run is to score: each once, without those that it need not score again."""

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
    """Takes what was found and gives the paths to score; what is known to be unreadable is kept for its place in the order.

    held: what files that the run goes on with hold. refused: why a path must not be read, or None.
    """

    def __init__(self, held: Held, refused: Callable[[str], str | None]) -> None:
        self._held, self._refused = held, refused
        # In files that were begun elsewhere, a path that is relative to here would mean another picture.
        self._absolute = any(folder != os.getcwd() for folder in held.folders)
        self._seen: set[bytes] = set()
        self._given = 0
        self._stores = Stores()
        self._failures: deque[tuple[int, Found]] = deque()
        self.repeated = 0

    def paths(self, found: Iterable[Found | Waiting]) -> Iterator[str | Stored | Waiting]:
        """The paths to score, and at the end those of rows that must be made again without having been named."""
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
        """What is unreadable and stands before the path after the first `scored`, each once."""
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
    """Standard input's lines that are not empty, without a byte order mark before the first; names need not be text.

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
