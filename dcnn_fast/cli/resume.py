"""Going on with files of scores: they are of the same run, agree with each other, and hold one row for each picture."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dcnn_fast.cli.outputs import RowFile
from dcnn_fast.cli.pictures import identity
from dcnn_fast.cli.record import Record, RecordError, read_record, record_path
from dcnn_fast.cli.rows import RowsError
from dcnn_fast.cli.targets import TargetError, reason
from dcnn_fast.scoring import Score

_ROUNDING = 2e-6  # between a mean as it is and with the six decimals of a CSV


@dataclass
class Held:
    """What the files hold, by picture, with paths that lead to the pictures from here.

    done: not to be scored again. again: what is to be scored again, and stands until it is: failures, and rows that one of two
    files lacks. required: the pictures of those rows, which are scored again even if they are not named now. folders: of each
    file, what relative paths in its rows start from. notes: what a user should know. failed: by the name of its target, why a
    file could not be put in order; it is as it was, and nothing may be added to it.
    """

    done: dict[bytes, Score] = field(default_factory=dict)
    again: dict[bytes, Score] = field(default_factory=dict)
    required: dict[bytes, str] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: dict[str, OSError] = field(default_factory=dict)
    forgotten: bool = False  # a row stands in the files that a later one has superseded

    def gives_way(self, result: Score) -> bool:
        """Whether what the files hold of the picture gives way to `result`: a score never does to a failure."""
        if not self.again:
            return True
        key = identity(result.path or "")
        old = self.again.get(key)
        if old is not None and old.error is None and result.error is not None:
            return False
        if self.again.pop(key, None) is not None:
            self.forgotten = True
        return True


def take_up(files: Sequence[RowFile], now: Record, *, keep_failures: bool) -> Held:
    """Read `files`, one or a CSV and a JSONL file, bring them into agreement, and say what they hold.

    now: the record that this run would write, and does where a file has no rows. A picture's last row is its row. Of two
    files the CSV gets the rows that it lacks; a picture that the JSONL, which says more, has no row of, or another one, is
    scored again. A file that is not as it would be written now (saved by a spreadsheet, cut short, with rows that have been
    superseded) is written anew, whole; where that fails the others go on without it. Raises TargetError, before anything is
    written, for files not of a run like `now`.
    """
    held = Held()
    contents, kept = [], []
    for file in files:
        content, rows = _rows(file)
        folder = _folder_of_same_run(file, rows, now, held) if rows else now.folder
        contents.append(content)
        kept.append(_by_picture(rows, folder, without_folders=not keep_failures))
        held.folders.append(folder)
    if len(files) == 2:
        kept = _agreed(kept[0], kept[1], held)
    for file, folder, content, rows_kept in zip(files, held.folders, contents, kept, strict=True):
        try:
            _put_in_order(file, folder, content, rows_kept, now)
        except OSError as error:
            held.failed[str(file.target)] = error
    for key, short in kept[0].items():
        full = kept[-1].get(key)
        poorer = full is None or (full.error is not None and short.error is None)
        score, folder = (short, held.folders[0]) if full is None or poorer else (full, held.folders[-1])
        repeated = key in held.required or (score.error is not None and not keep_failures)
        # The samples stay in the file: of many rows they would fill the memory.
        kept_score = replace(score, path=_from_here(score.path or "", folder), samples=None)
        (held.again if repeated else held.done)[key] = kept_score
    return held


def drop_superseded(file: RowFile, folder: str) -> None:
    """Write the file anew, whole, with each picture's last row alone. Raises OSError, TargetError."""
    content, rows = _rows(file)
    _write(file, content, _by_picture(rows, folder, without_folders=False))


def _rows(file: RowFile) -> tuple[bytes, list[Score]]:
    target = file.target
    try:
        content = file.path.read_bytes()
        return content, file.format.read(content)
    except FileNotFoundError:
        return b"", []
    except OSError as error:
        raise TargetError(f"{target.option}: {target.name} cannot be read: {reason(error)}") from None
    except RowsError as error:
        raise TargetError(f"{target.option}: {target.name}: {error}") from None


def _folder_of_same_run(file: RowFile, rows: Sequence[Score], now: Record, held: Held) -> str:
    """The folder that relative paths of the rows start from; TargetError unless they are of a run like `now`."""
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
    for row in rows:
        if (str(row.views), str(row.seed)) != (now.settings["--views"], now.settings["--seed"]):
            raise TargetError(
                f"--resume: {target.name} has a row made with {row.views} views and seed {row.seed}, "
                f"this run has {now.settings['--views']} and {now.settings['--seed']}"
            )
    for what, ours, theirs in (("version", now.version, then.version), ("device", now.device, then.device)):
        if ours != theirs:
            held.notes.append(f"{target.name} was begun with {what} {theirs}, this is {ours}: last digits may differ")
    folder = _start_of(rows, then.folder, now.folder, os.fspath(file.path.parent))
    if folder != then.folder:
        what = "is gone" if not os.path.isdir(then.folder) else "has none of its pictures"
        where = "here" if folder == now.folder else folder
        held.notes.append(f"the folder that {target.name} was made in {what}: its relative paths are taken from {where}")
    return folder


def _start_of(rows: Sequence[Score], then: str, here: str, beside: str) -> str:
    """What relative paths of rows that were made in the folder `then` start from now, pictures and file may have been moved.

    beside: the folder of the file of rows, which has come along when it is another than `then` and has one of the pictures;
    `here` must have all of them, as other folders may well have a picture of the same name.
    """
    paths = [row.path for row in rows if row.path and row.error is None and not os.path.isabs(row.path)]

    def are_in(folder: str) -> Iterator[bool]:
        return (os.path.lexists(os.path.join(folder, path)) for path in paths if "\0" not in path)

    if not paths or any(are_in(then)):
        return then if os.path.isdir(then) else here
    if all(are_in(here)):
        return here
    if any(are_in(beside)):
        return beside
    return then if os.path.isdir(then) else here


def _by_picture(rows: Sequence[Score], folder: str, *, without_folders: bool) -> dict[bytes, Score]:
    """The last row of each picture, in the order of the file, a failure only where there is no score; without failures of what
    are folders, if so asked.

    A folder that could not be listed has a row, which no row of a picture would ever supersede.
    """
    found: dict[bytes, Score] = {}
    for row in rows:
        path = os.path.join(folder, row.path or "")
        if without_folders and row.error is not None and "\0" not in path and os.path.isdir(path):
            continue
        key = identity(path)
        before = found.get(key)
        if before is not None and before.error is None and row.error is not None:
            continue
        found.pop(key, None)
        found[key] = row
    return found


def _agreed(in_csv: Mapping[bytes, Score], in_jsonl: Mapping[bytes, Score], held: Held) -> list[dict[bytes, Score]]:
    """The rows of a CSV and a JSONL file, in agreement but for those that `held.required` will have scored again."""
    csv_folder, jsonl_folder = held.folders
    rows = dict(in_csv)
    for key, full in in_jsonl.items():
        short = in_csv.get(key)
        if short is None or (short.error is not None and full.error is None):
            path = full.path or ""
            rows[key] = full if csv_folder == jsonl_folder else replace(full, path=os.path.join(jsonl_folder, path))
    for key, short in rows.items():
        other = in_jsonl.get(key)
        if other is None or not _same(short, other):
            held.required[key] = _from_here(short.path or "", csv_folder)
    return [rows, dict(in_jsonl)]


def _same(short: Score, full: Score) -> bool:
    if (short.mean is None) != (full.mean is None):
        return False
    near = short.mean is None or full.mean is None or abs(short.mean - full.mean) <= _ROUNDING
    return near and (short.error, short.label or None) == (full.error, full.label or None)  # a CSV has no empty label


def _from_here(path: str, folder: str) -> str:
    return path if folder == os.getcwd() else os.path.join(folder, path)


def _put_in_order(file: RowFile, folder: str, content: bytes, rows: Mapping[bytes, Score], now: Record) -> None:
    then = read_record(file.path) if content else None
    if file.record is not None and (then is None or then.folder != folder or not file.format.read(content)):
        file.record.write(replace(now, folder=folder).content())  # before the first row
    _write(file, content, rows)


def _write(file: RowFile, content: bytes, rows: Mapping[bytes, Score]) -> None:
    mended = file.format.head + b"".join(map(file.format.line, rows.values()))
    if mended != content:
        file.target.write(mended)
