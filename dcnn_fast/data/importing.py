"""Other projects' label files as the CSV file that `load_table` reads (facts.md 3.5)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcnn_fast.data.ava import photographs, read_list, read_ratings
from dcnn_fast.data.class_folders import load_folders
from dcnn_fast.data.names import LISTS
from dcnn_fast.data.tables import HISTOGRAM, is_file

Row = tuple[Any, ...]


def convert(source: Path, images: Path | None = None) -> tuple[tuple[str, ...], list[Row]]:
    """The head and the rows of a CSV file with what `source` says.

    source: a folder with AVA.txt; a JSON file of {"image_id", "label": ten numbers}, as image-quality-assessment has it; a CSV
    file with an image id and ten rating columns, as Neural-IMage-Assessment has it; or a folder for each label. images: where
    photographs named by their id are looked for, default the source's folder; one that is not there keeps `<id>.jpg`.
    Paths are as they were found. Raises ValueError naming what is wrong, a source without any photograph, too.
    """
    for name, path in (("source", source), ("images", images)):
        if path is not None and not path.exists():
            raise ValueError(f"{name} must be there, got {path}")
    if not source.is_dir() and not source.is_file():
        raise ValueError(f"{source}: not a regular file")  # a pipe that nobody writes to would be waited for
    head, rows = _converted(source, images)
    if not rows:
        raise ValueError(f"{source}: must list photographs, got none")
    return head, rows


def _converted(source: Path, images: Path | None) -> tuple[tuple[str, ...], list[Row]]:
    if source.is_dir() and not (source / "AVA.txt").is_file():
        data = load_folders(source)
        rows = [
            (example.source, data.labels[example.label], part)
            for part, examples in (("train", data.train), ("test", data.test))
            for example in examples
        ]
        return ("path", "label", "split"), rows
    folder = images or (source if source.is_dir() else source.parent)
    files = photographs(folder)
    if source.is_dir():
        ratings = read_ratings(source / "AVA.txt")
        test = set(read_list(source / LISTS / "generic_test.jpgl"))
        rows = [
            (_file(files, i), *votes, "test" if i in test else "train")
            for i, votes in zip(ratings.ids.tolist(), ratings.votes.tolist(), strict=True)
        ]
        return ("path", *HISTOGRAM, "split"), rows
    found = _json(source) if source.suffix.lower() == ".json" else _nima(source)
    return ("path", *HISTOGRAM), [(_file(files, i), *votes) for i, votes in found]


def csv_text(folder: Path, head: Sequence[str], rows: Sequence[Row]) -> str:
    """A CSV file, for `folder`, from which its paths are found: a photograph's is relative below it and else absolute."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows((_from(folder.absolute(), found), *rest) for found, *rest in rows)
    return buffer.getvalue()


def _from(folder: Path, found: str) -> str:
    """A photograph's path as the CSV file in `folder` has it; one that is not there stays as it is."""
    if not is_file(Path(found)):
        return found
    whole = Path(found).absolute()
    return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)


def _file(files: dict[int, str], number: int) -> str:
    return files.get(number, f"{number}.jpg")


def _json(path: Path) -> Iterator[tuple[int, list[float]]]:
    try:
        entries = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: must be JSON: {error}") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path}: must be a list of images, got {type(entries).__name__}")
    for number, entry in enumerate(entries):
        label = entry.get("label") if isinstance(entry, dict) else None
        if not isinstance(label, list) or not _votes(label) or not str(entry.get("image_id", "")).isdigit():
            raise ValueError(f"{path}: entry {number} must have an image_id and a label of ten numbers, got {str(entry)[:80]}")
        yield int(entry["image_id"]), label


def _nima(path: Path) -> Iterator[tuple[int, list[float]]]:
    """A head, then on each line the ten last fields are ratings and the one before them the image."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        for number, row in enumerate(_lines(path, csv.reader(file)), 1):
            if number == 1:
                continue
            try:
                image, votes = int(Path(row[-11]).stem), [float(value) for value in row[-10:]]
            except (IndexError, ValueError):
                votes = []
            if not _votes(votes):
                raise ValueError(f"{path}: line {number} must end in an image id and ten numbers, got {','.join(row)[:80]!r}")
            yield image, votes


def _lines(path: Path, reader: Iterable[list[str]]) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise ValueError(f"{path}: must be a CSV file: {error}") from None


def _votes(values: list[Any]) -> bool:
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return len(values) == len(numbers) == 10 and bool(np.isfinite(numbers).all()) and min(numbers) >= 0 < sum(numbers)
