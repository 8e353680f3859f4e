"""The work of `dcnn-fast score`: rates photographs, writes CSV, JSONL and Parquet files and a page."""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

from dcnn_fast.cli.after import AfterError
from dcnn_fast.cli.after_run import AfterRun
from dcnn_fast.cli.console import fail, note, plain_table, stderr, stdout
from dcnn_fast.cli.finishing import write_places
from dcnn_fast.cli.heat_maps import heat_maps
from dcnn_fast.cli.input_files import require_file
from dcnn_fast.cli.intake import InputError, Intake, lines_of_standard_input
from dcnn_fast.cli.max_memory import limit_memory
from dcnn_fast.cli.outputs import Ranking, RowOutput
from dcnn_fast.cli.passed import passed_over
from dcnn_fast.cli.picture_identity import identity
from dcnn_fast.cli.record import Record
from dcnn_fast.cli.resume import Held, drop_superseded, take_up
from dcnn_fast.cli.score_files import ScoreFiles, record_of, reserved
from dcnn_fast.cli.score_options import ScoreOptions
from dcnn_fast.cli.score_table import ScoreTable
from dcnn_fast.cli.sheet import page_of
from dcnn_fast.cli.stopping import Stop
from dcnn_fast.cli.targets import Target, input_among, reason
from dcnn_fast.data.folders import Found, PatternError, Search
from dcnn_fast.data.remote import Stored, is_address
from dcnn_fast.data.watching import Watch
from dcnn_fast.engine import EngineError
from dcnn_fast.ops.backend import BackendError
from dcnn_fast.printable import printable
from dcnn_fast.scoring import WAITING, Score, Scorer, Waiting
from dcnn_fast.scoring.collection import Collection
from dcnn_fast.viz.culling import Heat

_NAMED = 3  # number of files that a note names
_OUTPUT_FAILED = 3


class _Outputs:
    """Lets each output fail without the others: it is named once, and not written from then on."""

    def __init__(self) -> None:
        self.failed: dict[str, OSError] = {}

    @contextmanager
    def trying(self, name: str) -> Iterator[None]:
        """Catch and report an OSError of the block inside."""
        try:
            yield
        except OSError as error:
            if name not in self.failed:
                self.failed[name] = error
                note(f"error: {name}: {reason(error)}")

    def has(self, name: str) -> bool:
        """Whether the output has not failed."""
        return name not in self.failed


class _NobodyReadsError(Exception):
    """Every output is a pipe whose reader has left."""


def run(options: ScoreOptions) -> int:
    """Score what `options` name and return the exit status of `dcnn-fast score`."""
    with Stop() as stop:
        try:
            return _run(options, stop)
        except KeyboardInterrupt:
            note("interrupted before anything was scored")
            return stop.status
        except (ValueError, OSError, BackendError, EngineError) as error:
            fail(str(error))
        except sqlite3.Error as error:  # its file is a temporary one
            fail(f"--resume: the index of rows in {tempfile.gettempdir()}: {error}", status=_OUTPUT_FAILED)
        except MemoryError:
            fail("there is not enough memory to go on; what was written so far is valid", status=1)


def _run(options: ScoreOptions, stop: Stop) -> int:
    chosen, machine = options.scoring, options.machine
    options.require_sense()
    if chosen.model is not None:
        require_file(chosen.model)
    try:
        search = Search(
            recursive=options.photographs.recursive, hidden=options.photographs.hidden, follow=options.photographs.follow,
            exclude=options.photographs.exclude, stores=True,
        )  # fmt: skip
    except PatternError as error:
        fail(f"--exclude: {error}")
    if "-" in options.photographs.paths and len(options.photographs.paths) > 1:
        fail("- is standard input, beside which no other path may be named; a file of that name is ./-")
    from_standard_input = options.photographs.paths in ((), ("-",))
    listing = None if from_standard_input or options.photographs.watch else list(search.files(options.photographs.paths))
    if from_standard_input and sys.stdin is None:
        fail("standard input is closed: name files or folders")
    with reserved(options, listing or ()) as files:
        scorer = Scorer(
            chosen.model, machine.device, chosen.samples, chosen.grid, chosen.seed, chosen.dtype,
            max_pixels=options.max_pixels, background=options.colour, decode=chosen.decode,
            long_side=chosen.long_side, faults=chosen.faults, per_sample=options.written.per_sample, groups=chosen.groups,
        )  # fmt: skip
        scorer.score_many(
            (), batch=machine.batch, workers=machine.workers
        )  # checks the options: a wrong one must not cost an old file
        limit_memory(machine.max_memory, machine.workers)
        if options.after.wanted and len(scorer.model.spec.labels) != 2:
            raise AfterError("stars and the best photographs need a model of two labels, whose scores are P(high)")
        if options.written.heat_maps is not None and len(scorer.model.spec.labels) != 2:
            raise ValueError("--heat-maps needs a model of two labels, whose scores are P(high)")
        record = record_of(options, scorer)
        held = take_up(files.rows, record, keep_failures=options.written.keep_failures) if options.written.resume else Held()
        return _Run(options, scorer, search, files, record, held, stop).run(listing)


class _Run:
    """One run, from the first picture to the last line that is printed."""

    def __init__(
        self, options: ScoreOptions, scorer: Scorer, search: Search, files: ScoreFiles, record: Record, held: Held, stop: Stop
    ) -> None:
        self._options, self._scorer, self._search, self._files = options, scorer, search, files
        self._held, self._stop = held, stop
        self._ranking = Ranking(max(options.table_rows, options.sheet_photos if files.sheet else 0))
        self._collection = Collection()
        self._outputs = _Outputs()
        self._rows = [RowOutput(file, record, append=options.written.resume) for file in files.rows]
        self._table = None if files.table is None else ScoreTable(files.table, record)
        self._intake = Intake(held, self._refused)
        self._input_failed = False
        self._kept = 0  # scores that a failure would have replaced
        self._is_complete = True  # every picture has been tried
        self._after_went_well = True
        self._after = AfterRun(options.after, stop, self._print)
        self._caution = scorer.caution  # hashes the weights: once

    def run(self, listing: Sequence[Found] | None) -> int:
        """Score, print and write; returns the exit status."""
        for said in self._held.notes:
            note(said)
        for name, error in self._held.failed.items():
            with self._outputs.trying(name):
                raise error
        for score in self._held.done():
            self._count(score)
        interrupted = self._score_all(listing)
        for score in self._held.standing():  # rows not scored again stay valid
            self._count(score)
        try:
            self._finish(interrupted)
        except KeyboardInterrupt:
            note("interrupted while the results were written")
        if self._stop.signum is not None:
            return self._stop.status
        if self._outputs.failed:
            return _OUTPUT_FAILED
        if not self._after_went_well:
            return _OUTPUT_FAILED
        return int(self._ranking.failed > 0 or self._ranking.seen == 0 or self._input_failed or self._kept > 0)

    def _count(self, score: Score) -> None:
        self._ranking.add(score)
        self._collection.add(partial(identity, score.path or ""), score)
        self._after.add(score)
        if self._table is not None:
            self._table.add(score)

    def _print(self, line: str) -> None:
        """Print a line to the console of the ranking."""
        with self._outputs.trying("standard output"):
            self._results().print(line, soft_wrap=True)

    def _results(self) -> Console:
        """The console of results: standard output, unless a file goes there."""
        taken = any(target.is_standard_output for target in self._files.targets)
        return stderr() if taken else stdout()

    def _refused(self, path: str) -> str | None:
        if is_address(path):
            option = self._options.of_this_machine
            return f"{option} needs files of this machine, and no addresses in stores" if option else None
        taken = input_among(self._files.targets, path) if self._files.targets else None
        return f"it is what {taken.option} writes" if taken else None

    def _score_all(self, listing: Sequence[Found] | None) -> bool:
        """Score every image into the ranking and the outputs; True when a signal ended it early."""
        images: list[str | Stored | Waiting] | Iterator[str | Stored | Waiting]
        if listing is None:
            come = self._watched() if self._options.photographs.watch else self._from_standard_input()
            images, total = self._intake.paths(come), None
        else:
            images = list(self._intake.paths(listing))
            total = len(images)
        console = stderr()
        start, done = time.monotonic(), 0
        interrupted = False
        with _progress(console, total) as advance, ExitStack() as stack:
            for output in self._rows:
                stack.callback(self._close, output)
            try:
                for output in self._rows:
                    if output.target.file is None:  # before any work, as opening a pipe waits for its reader
                        with self._outputs.trying(str(output.target)):
                            output.begin()
                machine = self._options.machine
                results = self._scorer.score_many(images, batch=machine.batch, workers=machine.workers)
                if isinstance(results, Generator):
                    stack.enter_context(closing(results))  # its threads end before the files are closed
                for result in results:
                    self._take_failures(done)
                    self._take(result)
                    done += 1
                    advance("" if self._options.photographs.watch else f"{done / (time.monotonic() - start):.2f} images/s")
                self._take_failures(done)
                self._begin()
            except KeyboardInterrupt:
                interrupted = True
            except _NobodyReadsError:
                self._is_complete = False
        if done and not interrupted and not self._options.photographs.watch:
            seconds = time.monotonic() - start
            note(f"{done} images in {seconds:.1f} s, {done / seconds:.2f} images/s, {self._scorer.samples} samples each")
        return interrupted

    def _watched(self) -> Iterator[Found | Waiting]:
        """The new files, until a signal: it ends the run normally while no file waits, and interrupts it otherwise."""
        watch = Watch(self._search, self._options.photographs.paths)
        note("watching for new photographs; Ctrl-C ends that, and the run")
        with self._stop.kept():
            for found in watch.files():
                if self._stop.signum is not None:
                    break
                yield WAITING if found is None else found
            else:
                raise AssertionError("a watch has no end")
        if found is not None:
            self._stop.check()
        self._stop.forget()
        if watch.coming:
            self._is_complete = False
            count, some = len(watch.coming), ", ".join(map(printable, watch.coming[:_NAMED]))
            note(f"{count} {'file was' if count == 1 else 'files were'} still being written, without a score: {some}")

    def _from_standard_input(self) -> Iterator[Found]:
        if sys.stdin.isatty():
            note("reading paths from standard input, one a line; Ctrl-D ends")
        try:
            for line in lines_of_standard_input():
                yield from self._search.files([line])
        except InputError as error:
            self._input_failed = True
            self._is_complete = False
            note(f"error: standard input: {error}")

    def _take_failures(self, scored: int) -> None:
        for found in self._intake.failures(scored):
            self._take(Score(path=found.path, error=found.error, samples_count=self._scorer.samples, seed=self._scorer.seed))

    def _take(self, result: Score) -> None:
        if "\0" in (result.path or ""):  # not possible in a file's name, nor in a table's text
            result = replace(result, path=(result.path or "").replace("\0", "\\x00"))
        with self._stop.shielded():  # signals are raised between pictures, not within a row
            if not self._held.gives_way(result):
                self._kept += 1
                note(f"{result.path}: {result.error}; the score that the files have of it is kept")
                return
            self._count(result)
            for output in self._rows:
                name = str(output.target)
                if self._outputs.has(name):
                    with self._outputs.trying(name):
                        output.write(result)
            if result.error is not None:
                note(f"{result.path}: {result.error}")
        failed = [self._outputs.failed.get(str(output.target)) for output in self._rows]
        if failed and not self._files.sheet and not self._table and all(isinstance(error, BrokenPipeError) for error in failed):
            raise _NobodyReadsError

    def _close(self, output: RowOutput) -> None:
        with self._outputs.trying(str(output.target)):  # some file systems report only now that they are full
            output.close()

    def _begin(self) -> None:
        """Open the outputs that have no rows yet, so that each file exists."""
        for output in self._rows:
            if self._outputs.has(str(output.target)):
                with self._outputs.trying(str(output.target)):
                    output.begin()

    def _finish(self, interrupted: bool) -> None:
        if self._held.forgotten:
            for file, folder in zip(self._files.rows, self._held.folders, strict=True):
                if self._outputs.has(str(file.target)):
                    with self._outputs.trying(str(file.target)):
                        drop_superseded(file, folder)
        self._collection.close()
        if not interrupted:
            self._write_places()
        if self._table is not None:
            with self._outputs.trying(str(self._table.target)):
                self._table.write(self._collection)
        with self._outputs.trying("standard output"):
            self._show_table()
        self._tell(interrupted)
        if self._files.sheet is not None:
            self._write_sheet(self._files.sheet, self._heat_maps(interrupted))
            if not interrupted:
                self._stop.check()  # a signal that ended the heat maps also ends the steps after the page
        self._after_went_well = self._after.finish(complete=self._is_complete and not interrupted)
        if self._caution:
            note(self._caution)

    def _write_places(self) -> None:
        """Write the fields of the rows that depend on the whole run."""
        folders = self._held.folders or [os.getcwd()] * len(self._files.rows)
        for file, folder in zip(self._files.rows, folders, strict=True):
            if file.target.file is not None and self._outputs.has(str(file.target)):
                with self._outputs.trying(str(file.target)):
                    write_places(file, folder, self._collection)

    def _show_table(self) -> None:
        best = self._ranking.best(self._options.table_rows)
        if not best:
            return
        shown = self._shown_numbers()
        table = plain_table("rank", "path", *(title for title, _ in shown), "label")
        for rank, result in enumerate(best, 1):
            numbers = (number(result) for _, number in shown)
            table.add_row(str(rank), printable(result.path or ""), *numbers, printable(result.label or ""))
        self._results().print(table)

    def _shown_numbers(self) -> list[tuple[str, Callable[[Score], str]]]:
        """Titles and texts of the table's numbers: those with a meaning for this model."""
        shown: list[tuple[str, Callable[[Score], str]]] = [("P(high)", lambda score: _fixed(score.mean, 4))]
        model = self._scorer.model
        if model.percentiles is not None:
            shown.append(("percentile", lambda score: _fixed(score.percentile, 1)))
        if model.spec.windows_differ:
            shown.append(("std over samples", lambda score: _fixed(score.std, 4)))
        return shown

    def _tell(self, interrupted: bool) -> None:
        """Print the notes that accompany the ranking, on standard error."""
        seen = self._ranking.seen
        if self._ranking.failed:
            note(f"{self._ranking.failed} of {seen} images could not be scored")
        if self._kept:
            them = "the picture" if self._kept == 1 else f"the {self._kept} pictures"
            note(f"the files do not agree on {them} whose score is kept; the next --resume tries again")
        if self._intake.repeated:
            note(f"{self._intake.repeated} of the paths led to an image that was named before: each is scored once")
        for line in passed_over(self._search.passed):
            note(line)
        if seen == 0 and not interrupted:
            note("no images were found (folders are searched for known suffixes; -r looks into subfolders)")
        if interrupted:
            held = any(output.target.file is not None for output in self._rows)
            more = "--resume goes on from there" if held else "--resume with --csv goes on from there"
            note(f"interrupted after {seen} images; {more}")

    def _heat_maps(self, interrupted: bool) -> dict[str, Heat]:
        """The heat maps of the best photographs on the page, by path."""
        wanted = self._options.written.heat_maps
        if wanted is None:
            return {}
        if interrupted:
            note("interrupted: no heat maps were made")
            return {}
        return heat_maps(self._scorer, self._ranking.best(min(wanted, self._options.sheet_photos)), self._stop)

    def _write_sheet(self, sheet: Target, heats: Mapping[str, Heat]) -> None:
        folder = Path.cwd() if sheet.file is None else sheet.file.parent
        with self._outputs.trying(str(sheet)):
            page = page_of(
                self._ranking, self._collection, self._options.after, photographs=self._options.sheet_photos, folder=folder,
                max_pixels=self._options.max_pixels, caution=self._caution, heats=heats,
            )  # fmt: skip
            sheet.write(page)
            note(f"page: {sheet.name}")


def _fixed(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:.{decimals}f}"


@contextmanager
def _progress(console: Console, total: int | None) -> Iterator[Callable[[str], None]]:
    """A progress bar if standard error is a terminal; yields a function to call after each image with the rate."""
    columns = (
        SpinnerColumn("dots" if (console.encoding or "").startswith("utf") else "line"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task: TaskID = progress.add_task("", total=total, rate="")
        yield lambda rate: progress.update(task, advance=1, rate=rate)
