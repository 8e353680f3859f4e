"""The options of `dcnn-fast score`, and what of them goes together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from dcnn_fast.batch.columns import require_pyarrow
from dcnn_fast.cli import formulas
from dcnn_fast.cli.after import After
from dcnn_fast.cli.console import fail
from dcnn_fast.cli.rows import CSV, CSV_FOR_SPREADSHEETS, Format
from dcnn_fast.data.reading import MAX_PIXELS
from dcnn_fast.data.stores import address_of, is_address

_TABLE_ROWS = 20
_SHEET_PHOTOS = 2000


@dataclass(frozen=True)
class ScoreOptions:
    """The command line of `dcnn-fast score`."""

    paths: tuple[str, ...]
    recursive: bool
    hidden: bool
    follow: bool
    exclude: tuple[str, ...]
    watch: bool
    csv: str | None  # as typed: a slash at the end means a folder
    jsonl: str | None
    parquet: str | None
    html: str | None
    overwrite: bool
    model: Path | None
    views: int
    grid: int
    seed: int
    device: str
    dtype: str
    top: int | None
    batch: int | None
    workers: int | None
    resume: bool
    keep_failures: bool
    max_megapixels: int | None
    max_memory: str | None
    csv_for_spreadsheets: bool
    background: str
    long_side: int | None
    decode: str
    faults: bool
    per_sample: bool
    groups: bool
    heat_maps: int | None
    after: After

    @property
    def max_pixels(self) -> int:
        """Of a picture that is read."""
        return MAX_PIXELS if self.max_megapixels is None else self.max_megapixels * 1_000_000

    @property
    def csv_format(self) -> Format:
        """Of the rows of --csv."""
        return CSV_FOR_SPREADSHEETS if self.csv_for_spreadsheets else CSV

    @property
    def table_rows(self) -> int:
        """Of the ranking that is shown."""
        return self.top or _TABLE_ROWS

    @property
    def sheet_photos(self) -> int:
        """On the page."""
        return self.top or _SHEET_PHOTOS

    @property
    def colour(self) -> tuple[int, int, int]:
        """Under transparent pixels, RGB. Raises ValueError."""
        try:
            red, green, blue = bytes.fromhex(self.background.removeprefix("#"))
        except ValueError:
            raise ValueError(f"--background must be six hexadecimal digits RRGGBB, got {self.background!r}") from None
        return red, green, blue

    @property
    def of_this_machine(self) -> str | None:
        """The option that is given of those that need photographs in files of this machine; None where none is."""
        placing = self.after.placing
        wanted = {
            "--html": self.html is not None, "--watch": self.watch, "--xmp": self.after.xmp, "--embed": self.after.embed,
            "" if placing is None else placing[0]: placing is not None,
        }  # fmt: skip
        return next((option for option, given in wanted.items() if given), None)

    def require_sense(self) -> None:
        """That the options go together; otherwise the program ends, saying which do not. Raises AfterError, StarsError."""
        if self.of_this_machine and any(map(is_address, map(address_of, self.paths))):
            fail(
                f"{self.of_this_machine} needs files of this machine: it cannot be given with addresses in stores or a zip file"
            )
        if self.parquet is not None:
            require_pyarrow("--parquet")
        if self.watch and not any(map(os.path.isdir, self.paths)):
            fail("--watch needs a folder: it is of files that come into those that are named")
        self.after.require_sense(sheet=self.html is not None)
        if self.csv_for_spreadsheets and self.csv is None:
            fail(f"{formulas.OPTION} needs --csv: it is of the names in that file")
        if self.resume and self.csv is None and self.jsonl is None:
            fail("--resume needs --csv or --jsonl: it goes on with what those files hold")
        if self.resume and self.overwrite:
            fail("--resume goes on with files and --overwrite starts them anew: only one of them can be meant")
        if self.per_sample and self.jsonl is None:
            fail("--per-sample needs --jsonl: a CSV has no room for the samples")
        shown = any(path is not None for path in (self.csv, self.jsonl, self.parquet, self.html))
        if (self.faults or self.groups) and not shown:
            option = "--faults" if self.faults else "--groups"
            fail(f"{option} needs --csv, --jsonl, --parquet or --html, which show what it finds")
        at_end = self.html is not None or self.parquet is not None
        if self.groups and not at_end and all(path in (None, "-") for path in (self.csv, self.jsonl)):
            fail("--groups needs a file: groups are known at the end, when - has been written")
        if self.groups and self.resume and self.jsonl is None:
            fail("--groups with --resume needs --jsonl: a CSV does not hold what groups are made of")
        if self.heat_maps is not None and self.html is None:
            fail("--heat-maps needs --html: they are shown on that page")
        if self.keep_failures and not self.resume:
            fail("--keep-failures needs --resume: it says that failures are not tried again then")
