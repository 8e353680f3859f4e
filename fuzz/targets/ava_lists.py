"""AVA's lists: AVA.txt, lists of ids, and style lists, separated here by a marker line."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dcnn_fast.data.ava import read_list, read_ratings
from fuzz.target import FoundError, Target, file_of

_PART = b"\n----\n"


def _read(data: bytes) -> None:
    table, parted, ids = data.partition(_PART)
    if parted:
        for number in read_list(file_of(ids, "list.jpgl")):
            if not 0 <= number < 2**63:
                raise FoundError(f"an id must be a number of 63 bits, got {number}")
        return
    ratings = read_ratings(file_of(table, "AVA.txt"))
    mean = ratings.votes @ np.arange(1, 11) / ratings.votes.sum(axis=1)
    if not ((mean >= 1) & (mean <= 10)).all():
        raise FoundError(f"a mean rating must be 1 to 10, got {mean.min()} to {mean.max()}")


def _seeds() -> Mapping[str, bytes]:
    rows = ((i, 100 + i, *(i + k for k in range(10)), 0, 0, 7) for i in range(1, 5))
    table = "".join(" ".join(map(str, row)) + "\n" for row in rows).encode()
    return {"ratings": table, "list": _PART + b"12\n13\n\n953417\n", "large": table.replace(b" 5 ", b" 9223372036854775807 ")}


TARGET = Target(_read, (ValueError,), _seeds, longest=4096)
