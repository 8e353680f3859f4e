"""`dcnn-fast data`: check a data set, import other label files, show examples, make a small synthetic set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dcnn_fast.cli import ranges, sets
from dcnn_fast.cli.console import fail, note, plain_table, stderr, stdout
from dcnn_fast.cli.former import Command
from dcnn_fast.cli.options import Panel, takes, values_of
from dcnn_fast.printable import printable

if TYPE_CHECKING:
    from dcnn_fast.cli.targets import Kind
    from dcnn_fast.data import DataSet
    from dcnn_fast.data.importing import Remarks

_NAMED = 10  # photographs left out of an import, named at most

app = typer.Typer(no_args_is_help=True, help="Check, import, show or make data sets.")


_CHECKED = ("delta", "category", "variant", "exclude_overlap", "multi_task", "fold", "folds")  # without effect on `check`


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """The command line of `dcnn-fast data check`."""

    path: sets.DataPath
    decode: Annotated[
        bool, typer.Option("--decode", help="Read every photograph, and find equal pixels in different parts.")
    ] = False
    partial: Annotated[bool, typer.Option("--partial", help="For AVA, accept counts other than the official ones.")] = False
    source: Annotated[sets.SetOptions, Panel("The data set", without=_CHECKED)] = field(default_factory=sets.SetOptions)


@app.command(cls=Command)
@takes(CheckOptions)
def check(options: CheckOptions) -> None:
    """Count the photographs of each part of a data set and name the missing ones.

    Exit status: 0 when the set is complete; 1 when photographs are missing, cannot be read or are in two parts at once, or
    when AVA's lists differ from the official ones; 2 when the set cannot be read or learnt from (its training part must have
    photographs of two labels).
    """
    from dcnn_fast.data.check import ava_counts, require_learnable  # noqa: PLC0415
    from dcnn_fast.data.sets import kind_of  # noqa: PLC0415

    path, source, partial = options.path, options.source, options.partial
    data = source.opened(path, quiet=True)
    kind = source.kind or kind_of(path, source.columns)
    is_of_ava = kind in ("ava", "ava-style")
    if partial and not is_of_ava:
        fail(f"--partial must not be given for a set of kind {kind}")
    _print_set(data)
    bad = len(data.missing) + (_print_decoded(data) if options.decode else 0)
    if is_of_ava:
        table = plain_table("AVA", "", "official", "here")
        differing = 0
        try:
            for count in ava_counts(path):
                differing += not count.ok
                table.add_row(count.what, "" if count.ok else "differs", f"{count.expected:,}", f"{count.found:,}")
        except (ValueError, OSError) as error:
            fail(str(error))
        stdout().print(table)
        bad += 0 if partial else differing
    try:
        require_learnable(data)
    except ValueError as error:
        fail(f"{path}: {error}")
    raise typer.Exit(1 if bad else 0)


_IMPORT_WORDS = (
    "SOURCE is a folder with AVA.txt, PARA's folder, a folder with one for each label, a JSON file (image-quality-assessment), "
    "a CSV file (of ratings or ten columns of votes, told by its head, or what the page of score --html has saved) or, with "
    "the FORMAT xmp, a folder of photographs that were rated in digiKam, darktable, Lightroom or the like. FORMAT, otherwise "
    "needed only where SOURCE does not show it, is ava, para, folders, idealo, nima, xmp or page. OUT is the CSV file to "
    "write, - is standard output; default: the format's name with .csv, in the current folder."
)


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """The command line of `dcnn-fast data import`."""

    words: Annotated[tuple[str, ...], typer.Argument(metavar="[FORMAT] SOURCE [OUT]", help=_IMPORT_WORDS)]
    images: sets.Images = None
    field: Annotated[
        tuple[str, ...],
        typer.Option(
            "--field",
            metavar="MEANING=NAME",
            help="The name of a CSV file's field where its header is ambiguous: path=NAME, rating=NAME, split=NAME, or "
            "votes=PREFIX, the common beginning of ten names.",
        ),
    ] = ()
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the CSV file of an earlier import.")] = False


@app.command("import", cls=Command)
@takes(ImportOptions)
def import_(options: ImportOptions) -> None:
    """Convert another project's label file, or ratings in XMP, to a CSV file that the other commands read.

    The columns of a CSV file are recognised by its header: image_id, filename and the like name the photographs; mean, MOS,
    score and the like are ratings; ten columns of one name and consecutive numbers (vote_1 to vote_10) are votes. The match
    is printed, and an ambiguous header is refused.

    For xmp and page, a rating is 1 to 5 stars, or 0 for a rejected photograph; a photograph without a rating gets no row.
    Ratings that `score` wrote are left out. A photograph with conflicting ratings in two files is left out and named.

    Exit status: 0; 1 when a photograph was left out and named; 2 for a wrong call; 3 when the file could not be written.
    """
    from dcnn_fast.cli.targets import Wanted, reason, reserve  # noqa: PLC0415
    from dcnn_fast.data import importing  # noqa: PLC0415

    form, source, out = _import_words(options.words)
    remarks = importing.Remarks(columns=sets.named(options.field))
    try:
        form = form or importing.format_of(source)
        out = out or f"{form}.csv"
        with reserve([Wanted("OUT", out, _imported())], inputs=[source], overwrite=options.overwrite) as (target,):
            head, rows = importing.convert(source, options.images, form, remarks)
            folder = Path.cwd() if target.file is None else target.file.parent
            content = importing.csv_text(folder, head, rows).encode("utf-8", "surrogateescape")
            try:
                target.write(content)
            except OSError as error:
                fail(f"{out}: {reason(error)}", 3)
    except (ValueError, OSError) as error:
        _tell(remarks)
        fail(str(error))
    _tell(remarks)
    (stderr() if target.is_standard_output else stdout()).print(f"{len(rows)} rows in {printable(out)}")
    raise typer.Exit(1 if remarks.left_out else 0)


def _tell(remarks: Remarks) -> None:
    """Name the photographs left out (ten at most) and print the other remarks, on standard error."""
    for line in remarks.left_out[:_NAMED]:
        note(f"left out: {line}")
    if len(remarks.left_out) > _NAMED:
        note(f"left out: {len(remarks.left_out) - _NAMED:,} more")
    for line in remarks.notes:
        note(line)


def _import_words(words: Sequence[str]) -> tuple[str | None, Path, str | None]:
    """FORMAT, SOURCE and OUT. Two words are FORMAT and SOURCE if the first cannot be a source or the second is one.

    Exits with 2 for another number of words, or for a first word that is neither.
    """
    from dcnn_fast.data.importing import FORMATS  # noqa: PLC0415

    if len(words) > 3:
        fail(f"must have at most three words, FORMAT SOURCE OUT, got {len(words)}")
    if len(words) == 3:
        return words[0], Path(words[1]), words[2]
    first, second = words[0], words[1] if len(words) == 2 else None
    if second is not None and first in FORMATS and (not Path(first).exists() or _is_source(Path(second))):
        return first, Path(second), None
    if second is not None and not Path(first).exists() and Path(second).exists():
        fail(f"must be [FORMAT] SOURCE [OUT]; {first} is not there, and FORMAT must be one of {', '.join(FORMATS)}")
    return None, Path(first), second


def _is_source(path: Path) -> bool:
    """Whether `path` exists and is not the file of an earlier import."""
    if not path.is_file():
        return path.is_dir()
    with path.open("rb") as file:
        return not _imported().known(file.read(1 << 16))


def _imported() -> Kind:
    from dcnn_fast.cli.targets import lines_of  # noqa: PLC0415
    from dcnn_fast.data.importing import HEADS  # noqa: PLC0415

    return lines_of("an imported CSV file", *map(",".join, HEADS))


@dataclass(frozen=True, kw_only=True)
class ExamplesOptions:
    """The command line of `dcnn-fast data examples`."""

    path: sets.DataPath
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The picture to write, .jpg or .png.")]
    category: Annotated[str, typer.Option(help="Category of the photographs, e.g. stilllife.")]
    count: Annotated[int, typer.Option(min=1, max=200, help="Photographs to show in each row.")] = 16
    seed: Annotated[
        int, typer.Option(callback=ranges.SEED, help="Seed of the choice; the same one chooses the same photographs.")
    ] = 0
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a picture that this program made earlier.")] = False
    source: Annotated[sets.SetOptions, Panel("The data set", without=sets.LABELS)] = field(default_factory=sets.SetOptions)


@app.command(cls=Command)
@takes(ExamplesOptions)
def examples(options: ExamplesOptions) -> None:
    """Show photographs of a category, and those of them that have an artistic style: the paper's Fig. 10.

    The styles come from AVA's style lists (their training part, where each photograph has one style), or from a CSV file's
    column attribute. Exit status: 0; 2 for a wrong call; 3 when the picture could not be written.
    """
    from dcnn_fast.cli.targets import Wanted, reserve  # noqa: PLC0415
    from dcnn_fast.cli.writing import PICTURE, picture_failed  # noqa: PLC0415
    from dcnn_fast.viz.category_examples import category_examples  # noqa: PLC0415
    from dcnn_fast.viz.grid import grid  # noqa: PLC0415
    from dcnn_fast.viz.picture_files import save_picture  # noqa: PLC0415

    path, out = options.path, options.out
    if out.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        fail(f"OUT must be a picture, .jpg or .png, got {out}")
    data = replace(options.source, multi_task=True).opened(path)
    try:
        rows = category_examples(data, options.category, options.count, options.seed)
        photographs = [example.source for example in data.examples]
        with reserve([Wanted("OUT", out, PICTURE)], inputs=[path, *photographs], overwrite=options.overwrite) as (target,):
            failed = picture_failed(target, lambda partial: save_picture(grid(rows), partial))
    except (ValueError, OSError) as error:
        fail(str(error))
    raise typer.Exit(3 if failed else 0)


@dataclass(frozen=True, kw_only=True)
class MakeOptions:
    """The command line of `dcnn-fast data make`."""

    kind: Annotated[str, typer.Argument(help="Kind of set to make: ava, iad, folders, csv, histograms, idealo, nima or para.")]
    out: Annotated[Path, typer.Argument(help="Folder to write to, new or empty.")]
    images: Annotated[int, typer.Option(help="How many photographs to make.")] = 128
    seed: Annotated[int, typer.Option(callback=ranges.SEED, help="Seed of the set; the same one makes the same set.")] = 0
    corrupt: Annotated[int, typer.Option(help="How many files to cut short.")] = 0
    missing: Annotated[int, typer.Option(help="How many files to list without writing them.")] = 0
    crlf: Annotated[bool, typer.Option("--crlf", help="End lines with CR LF, as AVA's own files do.")] = False


@app.command(cls=Command)
@takes(MakeOptions)
def make(options: MakeOptions) -> None:
    """Make a small synthetic data set whose labels depend on its pictures, so that a small network can learn them.

    Exit status: 0; 2 for a wrong call; 3 when a file could not be written (those before it are).
    """
    from dcnn_fast.cli.targets import reason  # noqa: PLC0415
    from dcnn_fast.data import synthetic  # noqa: PLC0415

    try:
        made = synthetic.make(**values_of(options))
    except ValueError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or options.out}: {reason(error)}", 3)
    stdout().print(str(made))


def _print_set(data: DataSet) -> None:
    from dcnn_fast.data.check import balance  # noqa: PLC0415

    parts = data.parts
    table = plain_table("label", "", *parts)
    counts = [balance(data, part) for part in parts.values()]
    for label in data.labels:
        table.add_row(label, "", *(str(count[label]) for count in counts))
    table.add_row("all", "", *(str(len(part)) for part in parts.values()))
    out = stdout()
    out.print(table)
    if data.categories:
        table = plain_table("category", "", *parts)
        for category in data.categories:
            table.add_row(category, "", *(str(sum(e.category == category for e in part)) for part in parts.values()))
        out.print(table)
    for said in data.notes:
        out.print(said)
    for key in data.missing[:10]:
        out.print(f"missing: {printable(key)}")
    if data.missing:
        out.print(f"{len(data.missing)} photographs are missing")


def _print_decoded(data: DataSet) -> int:
    """Read every photograph; returns the number of faults found."""
    from rich.progress import Progress  # noqa: PLC0415

    from dcnn_fast.data.check import decoded  # noqa: PLC0415

    count = len(data.examples)
    with Progress(console=stderr(), transient=True) as bar:
        task = bar.add_task("reading", total=count)
        found = decoded(data, lambda: bar.advance(task))
    out = stdout()
    for key, reason in found.unreadable.items():
        out.print(f"unreadable: {printable(key)}: {printable(reason)}")
    out.print(f"{len(found.unreadable)} of {count} photographs cannot be read")
    for twins in found.twins:
        out.print(printable(twins.text(data.labels)))
    return len(found.unreadable) + len(found.twins)
