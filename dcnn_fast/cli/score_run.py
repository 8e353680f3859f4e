"""The work of `dcnn-fast score`: rate files and folders, write CSV, JSONL and a contact sheet."""

from __future__ import annotations

import io
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from dcnn_fast.cli.console import fail, plain_table, printable, stderr, stdout
from dcnn_fast.cli.outputs import CsvOutput, JsonlOutput, OutputError, Ranking
from dcnn_fast.data.folders import find_images
from dcnn_fast.data.reading import MAX_PIXELS
from dcnn_fast.engine import EngineError
from dcnn_fast.ops.dispatch import BackendError
from dcnn_fast.scoring import Score, Scorer
from dcnn_fast.viz.contact_sheet import write_contact_sheet

_TABLE_ROWS = 20
_SHEET_PHOTOS = 500


@dataclass(frozen=True)
class ScoreOptions:
    """The command line of `dcnn-fast score`."""

    paths: tuple[str, ...]
    recursive: bool
    csv: Path | None
    jsonl: Path | None
    html: Path | None
    model: Path | None
    views: int
    grid: int
    seed: int
    device: str
    dtype: str
    top: int | None
    batch: int
    workers: int | None
    resume: bool
    max_megapixels: int | None
    background: str


def run(options: ScoreOptions) -> int:
    """Score what `options` name and return the exit status of `dcnn-fast score`."""
    if options.resume and options.csv is None:
        fail("--resume needs --csv: it skips what that file holds")
    warnings.filterwarnings("ignore", module="PIL")  # what matters in a file is in its row: its notes or its error
    limit = MAX_PIXELS if options.max_megapixels is None else options.max_megapixels * 1_000_000
    if options.html is not None and not options.html.absolute().parent.is_dir():
        fail(f"--html: no such folder: {options.html.absolute().parent}")
    table_rows, sheet_photos = options.top or _TABLE_ROWS, options.top or _SHEET_PHOTOS
    ranking = Ranking(max(table_rows, sheet_photos if options.html else 0))
    try:
        scorer = Scorer(
            options.model, options.device, options.views, options.grid, options.seed, options.dtype,
            max_pixels=limit, background=_colour(options.background),
        )  # fmt: skip
        scorer.score_many((), batch=options.batch, workers=options.workers)  # a wrong option must not cost an old file
        with ExitStack() as stack:
            outputs, held = _open_outputs(stack, options)
            _require_same_run(held, scorer)
            for row in held:
                ranking.add(row)
            images = _images(options, {row.path for row in held})
            interrupted = _score_all(scorer, images, ranking, outputs, options)
        _report(ranking, table_rows, interrupted)
        if options.html is not None:
            write_contact_sheet(options.html, ranking.best(sheet_photos), ranking.failures, ranking.seen, max_pixels=limit)
            stderr().print(f"contact sheet: {options.html}", markup=False, soft_wrap=True)
    except (ValueError, OSError, BackendError, EngineError) as error:
        fail(str(error))
    return 130 if interrupted else int(ranking.failed > 0 or ranking.seen == 0)


def _open_outputs(stack: ExitStack, options: ScoreOptions) -> tuple[list[CsvOutput | JsonlOutput], list[Score]]:
    """The output files, closed with `stack`, and the scores that the CSV holds already."""
    outputs: list[CsvOutput | JsonlOutput] = []
    held: list[Score] = []
    if options.csv is not None:
        table = stack.enter_context(closing(CsvOutput(options.csv, resume=options.resume)))
        outputs.append(table)
        held = table.held
    if options.jsonl is not None:
        outputs.append(stack.enter_context(closing(JsonlOutput(options.jsonl, resume=options.resume))))
    return outputs, held


def _require_same_run(held: list[Score], scorer: Scorer) -> None:
    for row in held:
        if (row.views, row.seed) != (scorer.views, scorer.seed):
            raise OutputError(
                f"--resume: the CSV was made with {row.views} views and seed {row.seed}, "
                f"this run has {scorer.views} and {scorer.seed}"
            )


def _images(options: ScoreOptions, held: set[str | None]) -> list[str] | Iterator[str]:
    """What to score: a list where its length can be known, an iterator for standard input; paths in `held` left out."""
    if options.paths and options.paths != ("-",):
        return [path for path in map(str, find_images(options.paths, options.recursive)) if path not in held]
    if sys.stdin.isatty():
        stderr().print("reading paths from standard input, one a line; Ctrl-D ends")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # a file's name need not be text
    lines = (line.rstrip("\r\n") for line in sys.stdin)
    found = (str(path) for line in lines if line for path in find_images([line], options.recursive))
    return (path for path in found if path not in held)


def _score_all(
    scorer: Scorer,
    images: list[str] | Iterator[str],
    ranking: Ranking,
    outputs: list[CsvOutput | JsonlOutput],
    options: ScoreOptions,
) -> bool:
    """Score every image into `ranking` and `outputs`; True when Ctrl-C ended it early."""
    total = len(images) if isinstance(images, list) else None
    console = stderr()
    columns = (
        SpinnerColumn(),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    start = time.monotonic()
    done = 0
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=total, rate="")
        try:
            for result in scorer.score_many(images, batch=options.batch, workers=options.workers):
                ranking.add(result)
                for output in outputs:
                    output.write(result)
                if result.error is not None:
                    progress.console.print(f"{printable(result.path or '')}: {result.error}", markup=False)
                done += 1
                rate = f"{done / (time.monotonic() - start):.2f} images/s"
                progress.update(task, advance=1, rate=rate)
        except KeyboardInterrupt:
            return True
    if done:
        seconds = time.monotonic() - start
        console.print(f"{done} images in {seconds:.1f} s, {done / seconds:.2f} images/s, {scorer.views} views each")
    return False


def _report(ranking: Ranking, rows: int, interrupted: bool) -> None:
    """The ranked table on standard output; failures and what else a user should know on standard error."""
    console = stderr()
    best = ranking.best(rows)
    if best:
        table = plain_table("rank", "path", "P(high)", "std over views", "label")
        for rank, result in enumerate(best, 1):
            mean, std = ("" if value is None else f"{value:.4f}" for value in (result.mean, result.std))
            table.add_row(str(rank), escape(printable(result.path or "")), mean, std, result.label or "")
        stdout().print(table)
    if ranking.failed:
        console.print(f"{ranking.failed} of {ranking.seen} images could not be scored")
    if ranking.seen == 0 and not interrupted:
        console.print("no images were found (folders are searched for known suffixes; -r looks into subfolders)")
    if interrupted:
        console.print(f"interrupted after {ranking.seen} images; --resume with --csv goes on from there")


def _colour(text: str) -> tuple[int, int, int]:
    try:
        red, green, blue = bytes.fromhex(text.removeprefix("#"))
    except ValueError:
        raise ValueError(f"--background must be six hexadecimal digits RRGGBB, got {text!r}") from None
    return red, green, blue
