"""Reads PARA (Yang et al. 2022): photographs with mean ratings 1 to 5, categories and six attributes.

A copy of PARA is a folder with annotation/PARA-GiaaTest.csv, annotation/PARA-GiaaTrain.csv and, below imgs, a folder for each
session. Copies that lack the training part's file (it is large) have annotation/aggregation_1.csv, which names every photograph
with its mean rating and nothing else. PARA may be used for research and learning only, and its terms extend to derived works.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dcnn_fast.data.folders import named_photographs
from dcnn_fast.data.spreadsheets import read_sheet
from dcnn_fast.printable import quoted

ANNOTATION, IMAGES = "annotation", "imgs"
TEST, TRAIN, MEANS = "PARA-GiaaTest.csv", "PARA-GiaaTrain.csv", "aggregation_1.csv"
LOWEST, HIGHEST = 1.0, 5.0
# The attributes' names in an imported file, and the columns of PARA's files with their means, 1 to 5.
ATTRIBUTES = {
    "quality": "qualityScore_mean", "composition": "compositionScore_mean", "color": "colorScore_mean",
    "depth_of_field": "dofScore_mean", "light": "lightScore_mean", "content": "contentScore_mean",
}  # fmt: skip


@dataclass(frozen=True)
class Photograph:
    """One photograph of PARA.

    name: its file's name. rating: the mean, 1 to 5. split: "train" or "test". category: its subject's category, "" if unknown.
    session: the name of its folder, "" if unknown. attributes: means 1 to 5 in the order of `ATTRIBUTES`, none if unknown.
    """

    name: str
    rating: float
    split: str
    category: str = ""
    session: str = ""
    attributes: tuple[float, ...] = ()


def is_para(folder: Path) -> bool:
    """Whether `folder` is a copy of PARA."""
    return (folder / ANNOTATION / TEST).is_file()


def read_para(folder: Path) -> list[Photograph]:
    """All photographs that PARA's files name: the training part first, each part in its file's order.

    Raises ValueError naming the file and its fault: a missing file or column, a rating outside 1 to 5, an invalid or repeated
    name, a test photograph that is also in the training part. Source: Yang et al. 2022, section 3.
    """
    where = folder / ANNOTATION
    if not (where / TEST).is_file():
        raise ValueError(f"{where / TEST}: a copy of PARA must have this file")
    test = list(_annotated(where / TEST, "test"))
    held_out = {photograph.name for photograph in test}
    if (where / TRAIN).is_file():
        train = list(_annotated(where / TRAIN, "train"))
        both = [photograph.name for photograph in train if photograph.name in held_out]
        if both:
            raise ValueError(f"{where / TRAIN}: must name no photograph of {TEST}, got {both[0]}")
    elif (where / MEANS).is_file():
        train = [photograph for photograph in _means(where / MEANS) if photograph.name not in held_out]
    else:
        raise ValueError(f"{where}: must have {TRAIN} or {MEANS} for the training part")
    return [*train, *test]


def file_of(photograph: Photograph, files: Mapping[str, str]) -> str | None:
    """The photograph's path in `photograph_files`, preferably in its session's folder; None where it is missing."""
    return files.get(f"{photograph.session}/{photograph.name}", files.get(photograph.name))


def photograph_files(folder: Path) -> dict[str, str]:
    """The paths of all photographs below imgs (or below `folder` without an imgs) by "folder/name" and by name
    (`named_photographs`).
    """
    found: dict[str, str] = {}
    for at, name in named_photographs(folder / IMAGES if (folder / IMAGES).is_dir() else folder):
        found.setdefault(name, os.path.join(at, name))
        found.setdefault(f"{os.path.basename(at)}/{name}", os.path.join(at, name))
    return found


def _annotated(path: Path, split: str) -> Iterator[Photograph]:
    for number, row in _rows(path, ("imageName", "sessionId", "semantic", "aestheticScore_mean", *ATTRIBUTES.values())):
        yield Photograph(
            row["imageName"], _mean(path, number, row, "aestheticScore_mean"), split, row["semantic"], row["sessionId"],
            tuple(_mean(path, number, row, column) for column in ATTRIBUTES.values()),
        )  # fmt: skip


def _means(path: Path) -> Iterator[Photograph]:
    for number, row in _rows(path, ("image_label", "aesthetic_score")):
        yield Photograph(row["image_label"], _mean(path, number, row, "aesthetic_score"), "train")


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """The number and the fields of each row; the first of `columns` names the photograph's file."""
    sheet = read_sheet(path, columns[:1])
    absent = [column for column in columns if column not in sheet.head]
    if absent:
        raise ValueError(f"{path}: must have the columns {', '.join(columns)}; {', '.join(absent)} is not there")
    seen: set[str] = set()
    for number, fields in enumerate(sheet.rows, 2):
        row = {column: (fields[column] or "").strip() for column in columns}
        name = row[columns[0]]
        if not _is_name(name) or name in seen:
            raise ValueError(f"{path}: row {number} must name a photograph that no other row names, got {quoted(name)}")
        session = row.get("sessionId", "")
        if session and not _is_name(session):
            raise ValueError(f"{path}: row {number} must name a session's folder, got {quoted(session)}")
        seen.add(name)
        yield number, row


def _mean(path: Path, number: int, row: dict[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not LOWEST <= value <= HIGHEST:
        raise ValueError(f"{path}: row {number} must have a mean of 1 to 5 in column {column}, got {quoted(row[column])}")
    return value


def _is_name(text: str) -> bool:
    """Whether a text can be a file's name: no path, and neither `.` nor `..`."""
    return bool(text) and text == os.path.basename(text) and text not in (".", "..")
