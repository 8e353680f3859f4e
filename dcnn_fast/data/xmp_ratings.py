"""Reads the ratings that people gave photographs in other programs, from sidecars and from the photographs' own XMP."""

from __future__ import annotations

from pathlib import Path

from dcnn_fast.data.folders import Search
from dcnn_fast.data.photo_ratings import PhotoRatings, Said
from dcnn_fast.printable import shortened
from dcnn_fast.xmp import XmpError

REJECTED = 0
"""The rating of a photograph that was rejected: one below one star. No rating at all (0 in XMP) gives no row."""


def read_xmp_ratings(folder: Path) -> tuple[list[tuple[str, float, str]], list[str], int]:
    """Read people's ratings of the photographs in a folder and its subfolders.

    Args:
        folder: The folder.

    Returns:
        First, of each photograph that a person has rated, in order of paths: its path, the rating (1 to 5 stars, or `REJECTED`)
            and the name of the file that has it (a sidecar before the photograph). Then, each with the reason, the photographs
            that are left out: two files state different ratings, or the sidecar cannot be read or may be another
            photograph's. Last, the number of photographs that have no rating but this program's own.
    """
    ratings = PhotoRatings()
    rows, left_out, ours = [], [], 0
    for found in Search(recursive=True).files([str(folder)]):
        if found.error is not None:
            left_out.append(f"{found.path}: {found.error}")
            continue
        photograph = Path(found.path)
        try:
            said = ratings.of(photograph)
            given = [each for each in said if each.rating.by_a_person and each.rating.stars]
            _require_one(photograph, given, ratings)
        except (XmpError, OSError) as error:
            left_out.append(str(error))
            continue
        if given:
            rows.append((found.path, _rating(given[0]), given[0].file.name))
        ours += not given and any(each.rating.written is not None for each in said)
    return sorted(rows), left_out, ours


def _require_one(photograph: Path, given: list[Said], ratings: PhotoRatings) -> None:
    """Require that the files agree, and that none may be another photograph's. Raises XmpError."""
    if len({each.rating.stars for each in given}) > 1:
        each = ", ".join(f"{said.file.name} says {said.rating.stars:g}" for said in given)
        raise XmpError(f"{photograph}: its ratings differ: {each}")
    others = ratings.photographs_sharing(photograph)
    if others and any(said.file.stem == photograph.stem for said in given):
        raise XmpError(f"{photograph}: its rating, in {photograph.stem}.xmp, may be that of {shortened(others)}")


def _rating(said: Said) -> float:
    return REJECTED if said.rating.stars == -1 else said.rating.stars or REJECTED
