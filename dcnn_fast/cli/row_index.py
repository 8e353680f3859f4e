"""An index from pictures to their rows in files, for more rows than fit in memory: a temporary SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from dcnn_fast.scoring import Score

FIRST, SECOND = 0, 1  # numbers of the files; with two, the second has more details
_ROUNDING = 2e-6  # greatest difference between a mean and its six decimals in a CSV

# The database does not outlive the process: no journal, and a cache of 16 MiB.
_SETTINGS = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA temp_store = FILE; PRAGMA cache_size = -16384;"
_TABLES = """
CREATE TABLE row (
    file INTEGER, key BLOB, number INTEGER, failed INTEGER, mean REAL, said TEXT, PRIMARY KEY (file, key)
) WITHOUT ROWID;
CREATE TABLE picture (key BLOB PRIMARY KEY, file INTEGER, failed INTEGER, state INTEGER) WITHOUT ROWID;
"""
_ENTER = """
INSERT INTO row VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (file, key) DO UPDATE
SET number = excluded.number, failed = excluded.failed, mean = excluded.mean, said = excluded.said
WHERE row.failed OR NOT excluded.failed
"""
_GIVE = f"""
INSERT OR REPLACE INTO row
SELECT {FIRST}, more.key, -1 - more.number, more.failed, more.mean, more.said
FROM row more LEFT JOIN row less ON less.file = {FIRST} AND less.key = more.key
WHERE more.file = {SECOND} AND (less.key IS NULL OR (less.failed AND NOT more.failed))
"""
# A picture's row is the second file's if there is one, but a failure never replaces a score.
_SETTLE = f"""
INSERT INTO picture
SELECT less.key,
       CASE WHEN more.key IS NULL OR (more.failed AND NOT less.failed) THEN {FIRST} ELSE {SECOND} END,
       CASE WHEN more.key IS NULL OR (more.failed AND NOT less.failed) THEN less.failed ELSE more.failed END,
       CASE WHEN :two AND (more.key IS NULL OR (less.mean IS NULL) != (more.mean IS NULL)
                           OR abs(less.mean - more.mean) > {_ROUNDING} OR less.said != more.said) THEN 2
            ELSE 0 END
FROM row less LEFT JOIN row more ON more.file = {SECOND} AND more.key = less.key WHERE less.file = {FIRST}
"""


@dataclass(frozen=True)
class Standing:
    """A picture whose row stays valid until it is scored again. is_required: even if the run does not name it."""

    has_failed: bool
    is_required: bool


class RowIndex:
    """The last row of each picture in one or two files, by the picture's key; a failure never replaces a score."""

    _DONE, _AGAIN, _REQUIRED = range(3)

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # private; what exceeds its cache goes to disk
        self._database.executescript(_SETTINGS + _TABLES)

    def enter(self, file: int, rows: Iterable[tuple[bytes, int, Score]]) -> None:
        """Enter a file's rows: each picture's key, the row's number and its score."""

        def entries() -> Iterator[tuple[int, bytes, int, bool, float | None, str]]:
            for key, number, score in rows:
                said = f"{score.error or ''}\0{score.label or ''}".encode(errors="backslashreplace").decode()
                yield file, key, number, score.error is not None, score.mean, said

        self._database.executemany(_ENTER, entries())

    def count(self, file: int) -> int:
        """How many pictures have a row in the file."""
        found: int = self._database.execute("SELECT count(*) FROM row WHERE file = ?", (file,)).fetchone()[0]
        return found

    def numbers(self, file: int) -> Iterator[int]:
        """The numbers of the file's rows that count for a picture, in ascending order."""
        wanted = "SELECT number FROM row WHERE file = ? AND number >= 0 ORDER BY number"
        return (number for (number,) in self._database.execute(wanted, (file,)))

    def give(self) -> None:
        """Give the first file the second's rows of pictures for which it has no row or only a failure."""
        self._database.execute(_GIVE)

    def given(self) -> Iterator[int]:
        """The second file's numbers of the rows given to the first, in ascending order."""
        wanted = f"SELECT -1 - number FROM row WHERE file = {FIRST} AND number < 0 ORDER BY number DESC"
        return (number for (number,) in self._database.execute(wanted))

    def settle(self, *, files: int, failures_again: bool) -> None:
        """Choose each picture's row; pictures on which two files disagree are to be scored again, and failures on request."""
        self._database.execute(_SETTLE, {"two": files == SECOND + 1})
        if failures_again:
            self._database.execute("UPDATE picture SET state = max(state, ?) WHERE failed", (self._AGAIN,))

    def renumber(self, file: int, keys: Iterable[bytes]) -> None:
        """Set the file's rows to those of these pictures, in this order."""
        self._database.executemany(
            "UPDATE row SET number = ? WHERE file = ? AND key = ?", ((number, file, key) for number, key in enumerate(keys))
        )

    def is_done(self, key: bytes) -> bool:
        """Whether the picture has a row and is not to be scored again."""
        return self._state(key) == self._DONE

    def standing(self, key: bytes) -> Standing | None:
        """The state of a picture that is still to be scored again, None for other pictures."""
        found = self._database.execute("SELECT failed, state FROM picture WHERE key = ? AND state > 0", (key,)).fetchone()
        return None if found is None else Standing(bool(found[0]), found[1] == self._REQUIRED)

    def has_standing(self) -> bool:
        """Whether any picture is still to be scored again."""
        return self._database.execute("SELECT 1 FROM picture WHERE state > 0 LIMIT 1").fetchone() is not None

    def drop(self, key: bytes) -> None:
        """Forget the old row of a picture that has been scored again."""
        self._database.execute("DELETE FROM picture WHERE key = ?", (key,))

    def is_pictures(self, file: int, key: bytes, number: int) -> bool:
        """Whether this row of this file is the one chosen for its picture."""
        wanted = "SELECT 1 FROM picture JOIN row USING (file, key) WHERE picture.file = ? AND picture.key = ? AND number = ?"
        return self._database.execute(wanted, (file, key, number)).fetchone() is not None

    def _state(self, key: bytes) -> int | None:
        found = self._database.execute("SELECT state FROM picture WHERE key = ?", (key,)).fetchone()
        return None if found is None else found[0]
