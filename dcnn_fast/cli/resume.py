"""Resuming files of scores: checks that they are from the same run, makes them agree, and keeps one row for each picture.

Files may have more rows than fit in memory: every question about all rows reads them from the beginning.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from dcnn_fast.cli.outputs import RowFile
from dcnn_fast.cli.picture_identity import identity
from dcnn_fast.cli.record import Record, RecordError, read_record, record_path
from dcnn_fast.cli.row_index import FIRST, SECOND, RowIndex
from dcnn_fast.cli.rows import RowsError
from dcnn_fast.cli.targets import TargetError, reason
from dcnn_fast.data.remote import is_address, placed
from dcnn_fast.scoring import Score


@dataclass
class Held:
    """The files' content by picture, with paths that lead to the pictures from the working directory.

    Some pictures are to be scored again: failures, and those on which two files disagree or whose row one of them lacks. Their
    old rows stay valid until then.

    files: in order. folders: for each file, the base of relative paths in its rows. notes: messages for the user. failed: the
    error of each file that could not be put in order, by target name; such a file is unchanged, and nothing may be added to it.
    forgotten: the files hold a row that a later one has superseded.
    """

    files: Sequence[RowFile] = ()
    folders: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: dict[str, OSError] = field(default_factory=dict)
    forgotten: bool = False
    index: RowIndex = field(default_factory=RowIndex)

    def is_done(self, key: bytes) -> bool:
        """Whether the picture with this key is scored already."""
        return bool(self.files) and self.index.is_done(key)

    def done(self) -> Iterator[Score]:
        """The rows of pictures that are scored already, without their samples."""
        return (score for key, score in self._rows_of_pictures() if self.index.standing(key) is None)

    def standing(self) -> Iterator[Score]:
        """The rows of pictures that were to be scored again, and were not."""
        if not self.files or not self.index.has_standing():
            return iter(())
        return (score for key, score in self._rows_of_pictures() if self.index.standing(key) is not None)

    def required(self) -> Iterator[str]:
        """The paths of pictures that are to be scored again even if this run does not name them."""
        if not self.files or not self.index.has_standing():
            return iter(())
        return (
            score.path or "" for key, score in self._rows_of_pictures() if (of := self.index.standing(key)) and of.is_required
        )

    def gives_way(self, result: Score) -> bool:
        """Whether `result` replaces the files' row of the picture: a failure never replaces a score."""
        if not self.files:
            return True
        key = identity(result.path or "")
        old = self.index.standing(key)
        if old is None:
            return True
        if not old.has_failed and result.error is not None:
            return False
        self.index.drop(key)
        self.forgotten = True
        return True

    def _rows_of_pictures(self) -> Iterator[tuple[bytes, Score]]:
        """The key and the row of each picture."""
        for number, (file, folder) in enumerate(zip(self.files, self.folders, strict=True)):
            for place, (_, row) in enumerate(_rows(file)):
                key = identity(placed(folder, row.path or ""))
                if self.index.is_pictures(number, key, place):
                    # The samples stay in the file: those of many rows would fill the memory.
                    yield key, replace(row, path=_from_here(row.path or "", folder), samples=None)


def take_up(files: Sequence[RowFile], now: Record, *, keep_failures: bool) -> Held:
    """Read `files` (one, or a CSV and a JSONL file), bring them into agreement, and return their content.

    now: the record that this run would write, and does where a file has no rows. A picture's last row counts. With two files,
    the CSV gets the rows that it lacks; a picture is scored again if the JSONL, which says more, lacks its row or has a
    different one. A file that differs from its current format (saved by a spreadsheet, cut short, with superseded rows) is
    rewritten whole; if that fails, the others go on without it. Raises TargetError, before anything is written, for files of
    a run with other settings than `now`.
    """
    held = Held(files)
    are_in_order = []
    for number, file in enumerate(files):
        folder = now.folder if next(_rows(file), None) is None else _folder_of_same_run(file, now, held)
        held.folders.append(folder)
        are_in_order.append(_enter(held.index, number, file, folder, now, without_folders=not keep_failures))
    if len(files) == SECOND + 1:
        held.index.give()
    held.index.settle(files=len(files), failures_again=not keep_failures)
    for number, (file, is_in_order) in enumerate(zip(files, are_in_order, strict=True)):
        try:
            _put_in_order(held, number, now, is_in_order=is_in_order)
        except OSError as error:
            held.failed[str(file.target)] = error
    return held


def drop_superseded(file: RowFile, folder: str) -> None:
    """Rewrite the whole file with only the last row of each picture. Raises OSError, TargetError."""
    index = RowIndex()
    if not _enter(index, FIRST, file, folder, None, without_folders=False):
        _write(file, _with_numbers(file, index.numbers(FIRST)))


def _rows(file: RowFile) -> Iterator[tuple[bytes, Score]]:
    """The rows with the bytes that they were read from; none for a missing file. Raises TargetError."""
    target = file.target
    try:
        with file.path.open("rb") as source:
            yield from file.format.rows(source)
    except FileNotFoundError:
        return
    except OSError as error:
        raise TargetError(f"{target.option}: {target.name} cannot be read: {reason(error)}") from None
    except RowsError as error:
        raise TargetError(f"{target.option}: {target.name}: {error}") from None


def _enter(
    index: RowIndex, number: int, file: RowFile, folder: str, now: Record | None, *, without_folders: bool
) -> bool:  # fmt: skip
    """Enter the file's rows into the index; returns whether the file is exactly as this program would write it now.

    now: the rows must have its samples and seed, otherwise TargetError is raised. without_folders: leave out failures of
    folders that could not be listed: no picture's row would ever supersede them.
    """
    size, count, is_in_order = len(file.format.head), 0, True

    def entries() -> Iterator[tuple[bytes, int, Score]]:
        nonlocal size, count, is_in_order
        for place, (read, row) in enumerate(_rows(file)):
            _require_settings(file, row, now)
            size, count = size + len(read), place + 1
            is_in_order = is_in_order and read == file.format.line(row)
            path = placed(folder, row.path or "")
            if not (without_folders and row.error is not None and "\0" not in path and os.path.isdir(path)):
                yield identity(path), place, row

    index.enter(number, entries())
    try:
        with file.path.open("rb") as source:
            begins_so = source.read(len(file.format.head)) == file.format.head
            has_size = os.fstat(source.fileno()).st_size == size
    except FileNotFoundError:
        return not file.format.head
    return is_in_order and begins_so and has_size and index.count(number) == count


def _require_settings(file: RowFile, row: Score, now: Record | None) -> None:
    if now is not None and (str(row.samples_count), str(row.seed)) != (now.settings["--views"], now.settings["--seed"]):
        raise TargetError(
            f"--resume: {file.target.name} has a row made with {row.samples_count} samples and seed {row.seed}, "
            f"this run has {now.settings['--views']} and {now.settings['--seed']}"
        )


def _folder_of_same_run(file: RowFile, now: Record, held: Held) -> str:
    """The base of the rows' relative paths. Raises TargetError unless the rows are from a run like `now`."""
    target, path = file.target, record_path(file.path)
    try:
        then = read_record(file.path)
    except (OSError, RecordError) as error:
        raise TargetError(
            f"--resume: the record of {target.name}, {path}, cannot be read: {error}; --overwrite starts anew"
        ) from None
    if then is None:
        raise TargetError(
            f"--resume: {target.name} has rows, but {path.name}, the record of what made them, is not beside it; "
            "--overwrite starts anew"
        )
    differing = now.differences(then)
    if differing:
        raise TargetError(f"--resume: {target.name} was made with {', '.join(differing)}; --overwrite starts anew")
    for what, ours, theirs in (("version", now.version, then.version), ("device", now.device, then.device)):
        if ours != theirs:
            held.notes.append(f"{target.name} was begun with {what} {theirs}, this is {ours}: last digits may differ")
    folder = _start_of(file, then.folder, now.folder, os.fspath(file.path.parent))
    if folder != then.folder:
        what = "is gone" if not os.path.isdir(then.folder) else "has none of its pictures"
        where = "here" if folder == now.folder else folder
        held.notes.append(f"the folder that {target.name} was made in {what}: its relative paths are taken from {where}")
    return folder


def _start_of(file: RowFile, then: str, here: str, beside: str) -> str:
    """The present base of relative paths in rows made in the folder `then`; the pictures and the file may have been moved.

    beside: the folder of the file of rows; it was moved with the pictures if it is not `then` and has one of them. `here` must
    have all of them, as an unrelated folder may well have a picture of the same name.
    """

    def paths() -> Iterator[str]:
        named = (row.path for _, row in _rows(file) if row.path and row.error is None)
        return (path for path in named if not os.path.isabs(path) and not is_address(path) and "\0" not in path)

    def are_in(folder: str) -> Iterator[bool]:
        return (os.path.lexists(os.path.join(folder, path)) for path in paths())

    if next(paths(), None) is None or any(are_in(then)):
        return then if os.path.isdir(then) else here
    if all(are_in(here)):
        return here
    if any(are_in(beside)):
        return beside
    return then if os.path.isdir(then) else here


def _from_here(path: str, folder: str) -> str:
    return path if folder == os.getcwd() else placed(folder, path)


def _put_in_order(held: Held, number: int, now: Record, *, is_in_order: bool) -> None:
    file, folder, index = held.files[number], held.folders[number], held.index
    has_rows = next(_rows(file), None) is not None
    then = read_record(file.path) if has_rows else None
    if file.record is not None and (then is None or then.folder != folder):
        file.record.write(replace(now, folder=folder).content())  # before the first row
    numbers = index.given() if number == FIRST and len(held.files) == SECOND + 1 else iter(())
    first = next(numbers, None)
    if is_in_order and first is None:
        return
    given: Iterator[Score] = iter(())
    if first is not None:
        source = held.folders[SECOND]
        found = _with_numbers(held.files[SECOND], chain((first,), numbers))
        given = (row if folder == source else replace(row, path=placed(source, row.path or "")) for row in found)
    _write(file, chain(_with_numbers(file, index.numbers(number)), given))
    index.renumber(number, (identity(placed(folder, row.path or "")) for _, row in _rows(file)))


def _with_numbers(file: RowFile, numbers: Iterator[int]) -> Iterator[Score]:
    """The file's rows with these numbers, in ascending order."""
    wanted = next(numbers, None)
    for number, (_, row) in enumerate(_rows(file)):
        if number == wanted:
            yield row
            wanted = next(numbers, None)


def _write(file: RowFile, rows: Iterator[Score]) -> None:
    with file.target.writing() as beside, beside.open("wb") as made:
        made.write(file.format.head)
        made.writelines(map(file.format.line, rows))
