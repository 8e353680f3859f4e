"""The options that name a data set, and opening it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dcnn_fast.cli import ranges
from dcnn_fast.cli.console import fail, stderr
from dcnn_fast.cli.input_files import require_file
from dcnn_fast.printable import printable

if TYPE_CHECKING:
    from dcnn_fast.data import DataSet
    from dcnn_fast.data.splits import Unsplit

DataPath = Annotated[
    Path, typer.Argument(metavar="DATA", help="A folder with AVA.txt, a folder for each label, or a CSV file.")
]
Kind = Annotated[
    str | None, typer.Option(help="Kind of set: ava, ava-style, iad, folders or csv; default: recognised by its files.")
]
Images = Annotated[Path | None, typer.Option(help="Folder of the photographs; default: beside the lists.")]
Delta = Annotated[float, typer.Option(help="For AVA, leave out training photographs with a mean from 5 - delta to 5 + delta.")]
Category = Annotated[str | None, typer.Option(help="Use only the photographs of this category.")]
By = Annotated[str, typer.Option(help="Meaning of the labels: quality, or category of a photograph.")]
Threshold = Annotated[
    float | None, typer.Option(help="Ratings of a CSV file above this are high; default: the median of the training part.")
]
Positive = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The better of two labels, to which scores, AUC and correlations refer; default: recognised by its name.",
    ),
]
Fields = Annotated[
    tuple[str, ...],
    typer.Option("--field", metavar="MEANING=NAME", help="The name of a CSV file's field, e.g. rating=beauty_mean."),
]
MultiTask = Annotated[bool, typer.Option(help="For AVA, also learn the styles, where both are known (paper eq. 3).")]
Variant = Annotated[str, typer.Option(help="How IAD is split: threshold, or extremes (the best and worst fifths).")]
ExcludeOverlap = Annotated[
    bool,
    typer.Option(
        "--exclude-test-overlap", help="For AVA's styles, leave out training photographs that are in the test set of ratings."
    ),
]
Fold = Annotated[
    int | None, typer.Option(help="The part that is held out, counted from 0, of a set without a split of its own; default: 0.")
]
Folds = Annotated[int | None, typer.Option(help="The number of parts of a set without a split of its own; default: 5.")]
SplitSeed = Annotated[
    int | None,
    typer.Option(
        callback=ranges.SPLIT_SEED,
        help="Seed that deals the parts of a set without a split of its own; up to 2**32 - 1, default: 0.",
    ),
]
Val = Annotated[
    float | None,
    typer.Option(
        metavar="SHARE",
        help="Draw this share of the training photographs, e.g. 0.1, for validation: by --split-seed, in whole groups.",
    ),
]
PlaneCacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--plane-cache", file_okay=False, metavar="FOLDER",
        help="Keep photographs' planes in this folder (new, empty or such a cache), so that several runs decode each once.",
    ),
]  # fmt: skip
PlaneCacheSize = Annotated[int, typer.Option(min=1, help="Megabytes that the folder --plane-cache may hold.")]


LABELS = (  # all options except those of the files
    "delta", "category", "threshold", "positive", "variant", "exclude_overlap", "by", "multi_task", "fold", "folds",
    "split_seed", "val",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SetOptions:
    """The command line's options for the data set at a path; a command may leave some out (`Panel.without`)."""

    kind: Kind = None
    images: Images = None
    field: Fields = ()
    delta: Delta = 0.0
    category: Category = None
    threshold: Threshold = None
    positive: Positive = None
    variant: Variant = "threshold"
    exclude_overlap: ExcludeOverlap = False
    by: By = "quality"
    multi_task: MultiTask = False
    fold: Fold = None
    folds: Folds = None
    split_seed: SplitSeed = None
    val: Val = None

    @property
    def columns(self) -> dict[str, str] | None:
        """Names of a CSV file's fields by meaning, None where none is given; exits with status 2 for one of another form."""
        return named(self.field) or None

    def opened(self, path: Path, *, quiet: bool = False, unsplit: Unsplit = "fold") -> DataSet:
        """The data set at `path`, by `open_set`; unsplit: see `Parts`."""
        return open_set(
            path, self.kind, columns=self.columns, quiet=quiet, images=self.images, delta=self.delta, category=self.category,
            threshold=self.threshold, positive=self.positive, variant=self.variant, exclude_test_overlap=self.exclude_overlap,
            attributes=self.multi_task, fold=self.fold, folds=self.folds, seed=self.split_seed, val=self.val, by=self.by,
            unsplit=unsplit,
        )  # fmt: skip


def open_set(path: Path, kind: str | None, *, quiet: bool = False, **options: Any) -> DataSet:
    """Open the data set, and print its notes and the number of missing photographs on stderr; exits with status 2 on errors."""
    from dcnn_fast.data import open_dataset, source_at  # noqa: PLC0415 - keeps `--help` fast

    try:
        if not path.is_dir() and os.path.lexists(path):
            require_file(path)
        data = open_dataset(source_at(path, kind, **options))
    except (ValueError, OSError) as error:
        fail(str(error))
    if not quiet:
        tell(data)
    return data


def tell(data: DataSet) -> None:
    """Print a set's notes and the number of its missing photographs on standard error."""
    from dcnn_fast.data.tables import written_elsewhere  # noqa: PLC0415 - keeps `--help` fast

    for note in data.notes:
        stderr().print(f"note: {printable(note)}")
    if data.missing:
        first = f"{printable(data.missing[0])} first{written_elsewhere(data.missing[0])}"
        stderr().print(f"note: {len(data.missing)} listed photographs are not there, {first}")


def named(field: Sequence[str] | None) -> dict[str, str]:
    """The names of a CSV file's fields by meaning; exits with status 2 for one of another form."""
    pairs = [text.partition("=") for text in field or ()]
    if not all(what and name for what, _, name in pairs):
        fail(f"--field must be MEANING=NAME, got {', '.join(field or ())}")
    return {what: name for what, _, name in pairs}
