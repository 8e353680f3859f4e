"""The options of `dcnn-fast score`, and which may be combined."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcnn_fast.cli import formulas, ranges
from dcnn_fast.cli.after import After
from dcnn_fast.cli.console import fail
from dcnn_fast.cli.formulas import ForSpreadsheets
from dcnn_fast.cli.max_memory import MaxMemory
from dcnn_fast.cli.options import Panel

if TYPE_CHECKING:
    from dcnn_fast.cli.rows import Format

_TABLE_ROWS = 20
_SHEET_PHOTOS = 2000


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """The places to look for photographs."""

    paths: Annotated[
        tuple[str, ...],
        typer.Argument(
            metavar="PATH...",
            help="Files, folders, zip files, and fsspec addresses (s3://bucket/photos; needs the extra stores). - or nothing: "
            "read them from standard input, one per line.",
        ),
    ] = ()
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also search subfolders.")] = False
    hidden: Annotated[
        bool,
        typer.Option("--hidden", help="In folders, also take hidden files and folders, and the system's (trash, thumbnails)."),
    ] = False
    follow: Annotated[bool, typer.Option("--follow", help="With -r, also search linked folders, each folder once.")] = False
    exclude: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="GLOB",
            help="Skip files and folders found in folders: '*_small.jpg' and 'raw' match names, 'old/*.jpg' the end of a path, "
            "'/old' a path below the given folder, 'old/' only folders. May be given several times.",
        ),
    ] = ()
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="After the last photograph, keep watching the given folders (with -r their subfolders) and score new files "
            "once they have not changed for two seconds. Ctrl-C or SIGTERM ends the watch; the table, page and stars "
            "follow.",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class Written:
    """Output files and their content."""

    csv: Annotated[str | None, typer.Option(metavar="PATH", help="Write a CSV row for each image; - is standard output.")] = (
        None
    )
    jsonl: Annotated[
        str | None, typer.Option(metavar="PATH", help="Write a JSON line for each image; - is standard output.")
    ] = None
    parquet: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Write a Parquet file with a row for each image at the end of the run; - is standard output. Needs the "
            "extra batch.",
        ),
    ] = None
    html: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Write an HTML page for choosing photographs, best first; - is standard output."),
    ] = None
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace the files of an earlier run at --csv, --jsonl, --parquet and --html."),
    ] = False
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the files of --csv and --jsonl: skip images that they hold, and retry those that failed.",
        ),
    ] = False
    keep_failures: Annotated[
        bool, typer.Option("--keep-failures", help="With --resume, do not retry the images that failed.")
    ] = False
    csv_for_spreadsheets: ForSpreadsheets = False
    per_sample: Annotated[
        bool, typer.Option("--per-sample", help="Write every sample's probabilities and windows into --jsonl.")
    ] = False
    heat_maps: Annotated[
        int | None,
        typer.Option(
            "--heat-maps",
            min=1,
            metavar="N",
            help="On the page of --html, let the key h show which parts of each of the N best photographs raise its score and "
            "which lower it, as dcnn-fast why does. Made at the end; with the shipped model each takes some fifty scores.",
        ),
    ] = None
    top: Annotated[
        int | None, typer.Option(min=1, help="Show the K best photographs; default: 20, and 2000 on the page of --html.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """Settings that decide the scores, and checks in addition to them."""

    model: Annotated[Path | None, typer.Option(help="A model file; default: the shipped one.")] = None
    samples: Annotated[int, typer.Option(help="Samples averaged for each image: random windows, one of each column.")] = 50
    grid: Annotated[int, typer.Option(help="Windows lie at multiples of this: 1 (the paper), 2, 4 or 8.")] = 1
    seed: Annotated[int, typer.Option(callback=ranges.SEED, help="Seed of the windows; equal seeds give equal scores.")] = 0
    long_side: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PIXELS",
            help="Reduce larger photographs to this long side; default: the long side in the model's training.",
        ),
    ] = None
    decode: Annotated[
        str,
        typer.Option(
            help="How to decode: exact, or scaled, which decodes JPEG files at 1/2, 1/4 or 1/8 of their size where "
            "--long-side, or the model's, needs no more. Much faster for large photographs; scores differ slightly."
        ),
    ] = "exact"
    dtype: Annotated[str, typer.Option(help="Format of the products' operands: float32, or bfloat16, which is faster.")] = (
        "float32"
    )
    background: Annotated[str, typer.Option(help="Background colour for transparent pixels, RRGGBB.")] = "ffffff"
    faults: Annotated[
        bool,
        typer.Option(
            "--faults",
            help="Look for technical faults and name them in the field faults of --csv and --jsonl and on the page of --html: "
            "blurred, overexposed, underexposed, flat, noisy, tiny, empty. They never change the score.",
        ),
    ] = False
    groups: Annotated[
        bool,
        typer.Option(
            "--groups",
            help="Group photographs of the same subject (copies, edited copies, bursts) and choose the one in each group to "
            "keep, for the fields group and best_of_group of --csv, --jsonl and --parquet and the page of --html. Where scores "
            "differ by less than their own spread, the sharpest photograph is kept.",
        ),
    ] = False


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The device, and the resources that the run may use."""

    device: Annotated[
        str,
        typer.Option(help="Where to compute: cpu, cuda, cuda:N, or auto: a GPU on which scores were checked, else cpu."),
    ] = "auto"
    batch: Annotated[
        int | None, typer.Option(help="Images computed together; does not change scores. Default: 4, or 8 on a GPU.")
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            callback=ranges.THREADS, help="Images in work at a time, a thread each, 256 at most; does not change scores."
        ),
    ] = None
    max_megapixels: Annotated[
        int | None, typer.Option(min=1, help="Refuse images of more megapixels, e.g. decompression bombs; default: 178.")
    ] = None
    max_memory: MaxMemory = None


@dataclass(frozen=True, kw_only=True)
class ScoreOptions:
    """The command line of `dcnn-fast score`."""

    photographs: Annotated[Photographs, Panel("Photographs")] = field(default_factory=Photographs)
    written: Annotated[Written, Panel("Files that are written")] = field(default_factory=Written)
    scoring: Annotated[Scoring, Panel("Scoring")] = field(default_factory=Scoring)
    machine: Annotated[Machine, Panel("The machine")] = field(default_factory=Machine)
    after: Annotated[After, Panel("Once all photographs are scored")] = field(default_factory=After)

    @property
    def max_pixels(self) -> int:
        """The most pixels of a picture that is read."""
        from dcnn_fast.data.reading import MAX_PIXELS  # noqa: PLC0415 - imports torch

        return MAX_PIXELS if self.machine.max_megapixels is None else self.machine.max_megapixels * 1_000_000

    @property
    def csv_format(self) -> Format:
        """The format of the rows of --csv."""
        from dcnn_fast.cli.rows import CSV, CSV_FOR_SPREADSHEETS  # noqa: PLC0415 - imports torch

        return CSV_FOR_SPREADSHEETS if self.written.csv_for_spreadsheets else CSV

    @property
    def table_rows(self) -> int:
        """The number of photographs in the ranking that is shown."""
        return self.written.top or _TABLE_ROWS

    @property
    def sheet_photos(self) -> int:
        """The number of photographs on the page."""
        return self.written.top or _SHEET_PHOTOS

    @property
    def colour(self) -> tuple[int, int, int]:
        """The background of transparent pixels, RGB. Raises ValueError."""
        try:
            red, green, blue = bytes.fromhex(self.scoring.background.removeprefix("#"))
        except ValueError:
            raise ValueError(f"--background must be six hexadecimal digits RRGGBB, got {self.scoring.background!r}") from None
        return red, green, blue

    @property
    def of_this_machine(self) -> str | None:
        """The first given option that needs photographs in local files, None if there is none."""
        placing = self.after.placing
        wanted = {
            "--html": self.written.html is not None, "--watch": self.photographs.watch,
            "--xmp": self.after.xmp, "--embed": self.after.embed,
            "" if placing is None else placing[0]: placing is not None,
        }  # fmt: skip
        return next((option for option, given in wanted.items() if given), None)

    def require_sense(self) -> None:
        """Exit, naming the options, unless they can be combined. Raises AfterError, StarsError."""
        from dcnn_fast.batch.columns import require_pyarrow  # noqa: PLC0415 - imports torch
        from dcnn_fast.data.remote import address_of, is_address  # noqa: PLC0415 - imports torch

        written, scoring = self.written, self.scoring
        if self.of_this_machine and any(map(is_address, map(address_of, self.photographs.paths))):
            fail(
                f"{self.of_this_machine} needs files of this machine: it cannot be given with addresses in stores or a zip file"
            )
        if written.parquet is not None:
            require_pyarrow("--parquet")
        if self.photographs.watch and not any(map(os.path.isdir, self.photographs.paths)):
            fail("--watch needs a folder: it is of files that come into those that are named")
        self.after.require_sense(sheet=written.html is not None)
        if written.csv_for_spreadsheets and written.csv is None:
            fail(f"{formulas.OPTION} needs --csv: it is of the names in that file")
        if written.resume and written.csv is None and written.jsonl is None:
            fail("--resume needs --csv or --jsonl: it goes on with what those files hold")
        if written.resume and written.overwrite:
            fail("--resume goes on with files and --overwrite starts them anew: only one of them can be meant")
        if written.per_sample and written.jsonl is None:
            fail("--per-sample needs --jsonl: a CSV has no room for the samples")
        shown = any(path is not None for path in (written.csv, written.jsonl, written.parquet, written.html))
        if (scoring.faults or scoring.groups) and not shown:
            option = "--faults" if scoring.faults else "--groups"
            fail(f"{option} needs --csv, --jsonl, --parquet or --html, which show what it finds")
        at_end = written.html is not None or written.parquet is not None
        if scoring.groups and not at_end and all(path in (None, "-") for path in (written.csv, written.jsonl)):
            fail("--groups needs a file: groups are known at the end, when - has been written")
        if scoring.groups and written.resume and written.jsonl is None:
            fail("--groups with --resume needs --jsonl: a CSV does not hold what groups are made of")
        if written.heat_maps is not None and written.html is None:
            fail("--heat-maps needs --html: they are shown on that page")
        if written.keep_failures and not written.resume:
            fail("--keep-failures needs --resume: it says that failures are not tried again then")
