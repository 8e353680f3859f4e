"""Converts other projects' label files to the CSV file that `load_table` reads (docs/ava.md#other-label-files)."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcnn_fast import strict_json
from dcnn_fast.data.ava import image_id, photographs, read_list, read_ratings
from dcnn_fast.data.class_folders import load_folders
from dcnn_fast.data.fields import HISTOGRAM
from dcnn_fast.data.foreign_tables import read_foreign
from dcnn_fast.data.names import LISTS
from dcnn_fast.data.page_choices import is_of_page, read_choices
from dcnn_fast.data.para import ATTRIBUTES, IMAGES, file_of, is_para, photograph_files, read_para
from dcnn_fast.data.tables import is_file, written_elsewhere
from dcnn_fast.printable import quoted
from dcnn_fast.xmp import require

_MOST_VOTES = 1e100  # largest vote or share: sums of them stay finite
Row = tuple[Any, ...]
Converted = tuple[tuple[str, ...], list[Row]]


@dataclass
class Remarks:
    """The user's instructions for an import besides its source, and the remarks that it returns.

    columns: names of a CSV file's columns by meaning, as the user gave them (`foreign_tables.MEANINGS`). left_out: omitted
    photographs that could have a row, each with the reason.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


HEADS = (
    ("path", "label", "split"), ("path", *HISTOGRAM, "split"), ("path", *HISTOGRAM),
    ("path", "rating", "split", "category", *ATTRIBUTES), ("path", "rating", "rated_in"),
    ("path", "rating", "split", "rated_in"), ("path", "rating", *HISTOGRAM), ("path", "rating", *HISTOGRAM, "split"),
)  # fmt: skip
"""The heads of imported CSV files."""


def format_of(source: Path) -> str:
    """The format of `source`, one of `FORMATS`, by its name and content.

    Raises ValueError where it does not exist, or is neither a folder nor a regular file.
    """
    _require_there("source", source)
    if source.is_dir():
        return "ava" if (source / "AVA.txt").is_file() else "para" if is_para(source) else "folders"
    if source.suffix.lower() == ".json":
        return "idealo"
    return "page" if is_of_page(source) else "nima"


def convert(
    source: Path, images: Path | None = None, form: str | None = None, remarks: Remarks | None = None
) -> tuple[tuple[str, ...], list[Row]]:
    """The head and the rows of a CSV file with the content of `source`.

    form: one of `FORMATS`; None: found by `format_of`. "ava": a folder with AVA.txt. "para": a folder with
    annotation/PARA-GiaaTest.csv (`read_para`). "folders": a folder for each label. "idealo": a JSON file of {"image_id",
    "label": ten numbers}, as image-quality-assessment has it. "nima": a CSV file whose head names the columns of photographs
    and of their ratings, as Neural-IMage-Assessment and many sets have it (`read_foreign`). "xmp", which `format_of` never
    finds: a folder of photographs with ratings in sidecars or in the photographs (`read_xmp_ratings`), without `images`.
    "page": a CSV file saved by the page of `score --html` (`read_choices`). remarks: gives columns' meanings, and receives the
    remarks for the user. images: the folder in which photographs are looked up by id or name, default the source's folder; a
    missing one keeps its name. Paths are given as found. Raises ValueError naming the fault, also for a source without
    photographs.
    """
    if form is not None and form not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}; got {form!r}")
    _require_there("source", source)
    if images is not None:
        _require_there("images", images)
    form, remarks = form or format_of(source), Remarks() if remarks is None else remarks
    if remarks.columns and form != "nima":
        raise ValueError(f"columns have no place in the format {form}, got {', '.join(remarks.columns)}")
    wanted = "file" if form in ("idealo", "nima", "page") else "folder"
    if source.is_dir() != (wanted == "folder"):
        raise ValueError(f"source must be a {wanted} for the format {form}, got {source}")
    head, rows = FORMATS[form](source, images, remarks)
    if not rows:
        raise ValueError(f"{source}: must list photographs, got none")
    absent = [found for found, *_ in rows if not is_file(found)]
    if absent:
        hint = written_elsewhere(absent[0])
        remarks.notes.append(f"{len(absent)} of {len(rows)} photographs are not there, {quoted(absent[0])} first{hint}")
    return head, rows


def _require_there(name: str, path: Path) -> None:
    if not path.exists():
        raise ValueError(f"{name} must be there, got {path}")
    if not path.is_dir() and not path.is_file():
        raise ValueError(f"{path}: not a regular file")  # reading a pipe without a writer would never end


def _folders(source: Path, _images: Path | None, _remarks: Remarks) -> Converted:
    data = load_folders(source)
    return HEADS[0], [(e.source, data.labels[e.label], part) for part, examples in data.parts.items() for e in examples]


def _ava(source: Path, images: Path | None, _remarks: Remarks) -> Converted:
    ratings, files = read_ratings(source / "AVA.txt"), photographs(images or source)
    test = set(read_list(source / LISTS / "generic_test.jpgl"))
    return HEADS[1], [
        (_file(files, i), *votes, "test" if i in test else "train")
        for i, votes in zip(ratings.ids.tolist(), ratings.votes.tolist(), strict=True)
    ]


def _para(source: Path, images: Path | None, _remarks: Remarks) -> Converted:
    files = photograph_files(images or source)
    return HEADS[3], [
        (
            file_of(each, files) or os.path.join(IMAGES, each.session, each.name), each.rating, each.split, each.category,
            *(each.attributes or [""] * len(ATTRIBUTES)),
        )
        for each in read_para(source)
    ]  # fmt: skip


def _idealo(source: Path, images: Path | None, _remarks: Remarks) -> Converted:
    files = photographs(images or source.parent)
    return HEADS[2], [(_file(files, i), *votes) for i, votes in _json(source)]


def _neural_image_assessment(source: Path, images: Path | None, remarks: Remarks) -> Converted:
    found = read_foreign(source, images or source.parent, remarks.columns)
    remarks.notes += found.notes
    return found.head, found.rows


def _xmp(source: Path, images: Path | None, remarks: Remarks) -> Converted:
    require("the format xmp")
    from dcnn_fast.data.xmp_ratings import read_xmp_ratings  # noqa: PLC0415 - needs an extra

    if images is not None:
        raise ValueError(f"images has no place in the format xmp, whose photographs are in its folder; got {images}")
    rows, remarks.left_out, ours = read_xmp_ratings(source)
    if ours:
        remarks.notes.append(f"{ours} photographs have no rating but this program's own, which is left out")
    return HEADS[4], [(path, f"{rating:g}", file) for path, rating, file in rows]


def _page(source: Path, images: Path | None, remarks: Remarks) -> Converted:
    rows, remarks.left_out, unrated = read_choices(source, images)
    if unrated:
        remarks.notes.append(f"{unrated} photographs have neither stars nor a rejection, and no row")
    return HEADS[4], rows


FORMATS: Mapping[str, Callable[[Path, Path | None, Remarks], Converted]] = {
    "ava": _ava, "para": _para, "folders": _folders, "idealo": _idealo, "nima": _neural_image_assessment, "xmp": _xmp,
    "page": _page,
}  # fmt: skip
"""The reader of each format."""


def csv_text(folder: Path, head: Sequence[str], rows: Sequence[Row]) -> str:
    """The text of a CSV file to be kept in `folder`: paths below the folder are relative, others absolute."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows((_from(folder.absolute(), found), *rest) for found, *rest in rows)
    return buffer.getvalue()


def _from(folder: Path, found: str) -> str:
    """A photograph's path as the CSV file in `folder` names it; the path of a missing photograph is unchanged."""
    if not is_file(Path(found)):
        return found
    whole = Path(found).absolute()
    return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)


def _file(files: dict[int, str], number: int) -> str:
    return files.get(number, f"{number}.jpg")


def _json(path: Path) -> Iterator[tuple[int, list[float]]]:
    try:
        entries = strict_json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: must be JSON: {error}") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path}: must be a list of images, got {type(entries).__name__}")
    seen: set[int] = set()
    for number, entry in enumerate(entries):
        label = entry.get("label") if isinstance(entry, dict) else None
        image = image_id(str(entry.get("image_id", ""))) if isinstance(entry, dict) else None
        if image is None or not isinstance(label, list) or not _votes(label):
            raise ValueError(f"{path}: entry {number} must have an image_id and a label of ten numbers, got {quoted(entry)}")
        if image in seen:
            raise ValueError(f"{path}: entry {number} must have an image_id that no other entry has, got {image}")
        seen.add(image)
        yield image, label


def _votes(values: list[Any]) -> bool:
    if len(values) != 10 or not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return False
    return all(0 <= value <= _MOST_VOTES for value in values) and sum(values) > 0
