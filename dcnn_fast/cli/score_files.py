"""The files that `dcnn-fast score` writes, reserved from the start, and the records beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from dcnn_fast import engine
from dcnn_fast.cli.outputs import RowFile
from dcnn_fast.cli.record import OFF_UNLESS_NAMED, RECORD, Record, record_path
from dcnn_fast.cli.rows import JSONL, Format
from dcnn_fast.cli.score_options import ScoreOptions
from dcnn_fast.cli.score_table import TABLE
from dcnn_fast.cli.targets import SHEET, Target, TargetError, Wanted, check, reserve
from dcnn_fast.data.folders import Found
from dcnn_fast.printable import printable
from dcnn_fast.scoring import Scorer
from dcnn_fast.scoring.settings import MODELS_OWN, settings_of
from dcnn_fast.version import version


@dataclass(frozen=True)
class ScoreFiles:
    """The output files of a run."""

    rows: tuple[RowFile, ...]
    sheet: Target | None
    table: Target | None = None

    @property
    def targets(self) -> list[Target]:
        return [*(file.target for file in self.rows), *(each for each in (self.sheet, self.table) if each is not None)]


@contextmanager
def reserved(options: ScoreOptions, listing: Sequence[Found]) -> Iterator[ScoreFiles]:
    """The files to write, checked and reserved. Raises TargetError for one that must not be written."""
    wanted: list[Wanted] = []
    formats: list[Format] = []
    otherwise = "--overwrite replaces it, --resume goes on with it"
    for option, path, format in (("--csv", options.written.csv, options.csv_format), ("--jsonl", options.written.jsonl, JSONL)):
        if path is not None:
            wanted.append(Wanted(option, path, format.kind, options.written.resume, otherwise))
            formats.append(format)
    at_end = (("--html", options.written.html, SHEET), ("--parquet", options.written.parquet, TABLE))
    sheets = [Wanted(option, path, kind, options.written.resume) for option, path, kind in at_end if path is not None]
    inputs: list[str | Path] = [*(found.path for found in listing), *([options.scoring.model] if options.scoring.model else [])]
    rows = check(wanted, inputs=inputs, overwrite=options.written.overwrite)
    for target in rows:
        if options.written.resume and target.file is None:
            raise TargetError(f"--resume: {target} is no file that can be gone on with")
    for row, target in product(rows, [*rows, *check(sheets, inputs=inputs, overwrite=options.written.overwrite)]):
        if row.file is not None and target.file == record_path(row.file):
            raise TargetError(f"{target.option}: {target.name} is the record that {row.option} has beside it")
    beside = [Wanted(row.option, record_path(row.file), RECORD, kept=True) for row in rows if row.file is not None]
    with reserve([*wanted, *sheets, *beside], inputs=inputs, overwrite=options.written.overwrite) as targets:
        held = iter(targets)
        taken = [next(held) for _ in wanted]
        sheet, table = (next(held) if path is not None else None for _, path, _ in at_end)
        pairs = zip(taken, formats, strict=True)
        files = tuple(RowFile(row, format, None if row.file is None else next(held)) for row, format in pairs)
        yield ScoreFiles(files, sheet, table)


def record_of(options: ScoreOptions, scorer: Scorer) -> Record:
    """The record of the settings that decide the run's scores."""
    long_side = options.scoring.long_side
    settings = settings_of(scorer) | {"--long-side": MODELS_OWN if long_side is None else str(long_side)}
    named = (options.written.csv_for_spreadsheets, options.scoring.faults, options.written.per_sample, options.scoring.groups)
    settings |= {option: "on" for option, on in zip(OFF_UNLESS_NAMED, named, strict=True) if on}
    forced = os.environ.get("DCNN_FAST_BACKEND")
    device = f"{scorer.device}, backend {forced}" if forced else f"{scorer.device}, {engine.isa() or 'no engine'}"
    model = printable(os.fspath(options.scoring.model)) if options.scoring.model else "the shipped model"
    return Record(settings, model, os.getcwd(), version(), device)
