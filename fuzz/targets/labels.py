"""Label files: a CSV with a row for each photograph."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from random import Random

from dcnn_fast.data import load_set
from fuzz.target import FoundError, Target, file_of

_FIELDS = (
    b"a.jpg", b"b.jpg", b"../c.jpg", b"3.5", b"-1", b"1e400", b"nan", b"inf", b"\xc2\xb2", b"9" * 5000, b"low", b"high",
    b"train", b"test", b"val", b"", b" ", b'"', b'"a,b"', b"=1+1", b"\xff\xfe", b"\0", b"path", b"label",
    b"rating", b"split", b"group", b"category",
)  # fmt: skip


@cache
def _photographs() -> None:
    """Write photographs beside the label file, as a set without any is refused."""
    for name in ("a", "b", *range(12)):
        file_of(b"", f"{name}.jpg")


def _read(data: bytes) -> None:
    _photographs()
    found = load_set(file_of(data, "labels.csv"), fold=0, folds=2)
    for example in (*found.train, *found.test):
        if not -1 <= example.label < len(found.labels):
            raise FoundError(f"a label must be one of {len(found.labels)}, got {example.label}")
    both = {example.key for example in found.train} & {example.key for example in found.test}
    if both:
        raise FoundError(f"a photograph must be in one part, {sorted(both)[:3]} are in both")


def _seeds() -> Mapping[str, bytes]:
    names = [f"{i}.jpg" for i in range(12)]
    histogram = ",".join(f"count{i}" for i in range(1, 11))
    return {
        "labels": ("path,label\n" + "".join(f"{n},{'low' if i % 2 else 'high'}\n" for i, n in enumerate(names))).encode(),
        "ratings": ("path,rating\n" + "".join(f"{n},{i}\n" for i, n in enumerate(names))).encode(),
        "groups": (
            "path,rating,group,split,category\n"
            + "".join(f"{n},{i},g{i // 2},{'test' if i > 8 else 'train'},c{i % 3}\n" for i, n in enumerate(names))
        ).encode(),
        "histogram": (f"path,{histogram}\n" + "".join(f"{n}," + ",".join(str(i + k) for k in range(10)) + "\n"
                                                       for i, n in enumerate(names))).encode(),
        "semicolons": "\ufeffpath;rating\r\na.jpg;3,5\r\nb.jpg;4,5\r\n".encode(),
    }  # fmt: skip


def _mutated(data: bytes, longest: int, random: Random) -> bytes:
    """Drop, repeat or swap fields and lines."""
    rows = [line.split(b",") for line in data.split(b"\n")]
    for _ in range(random.randint(1, 4)):
        row = random.choice(rows)
        choice = random.randrange(4)
        if choice == 0:
            rows.insert(random.randrange(len(rows) + 1), list(row))
        elif choice == 1 and len(rows) > 1:
            rows.remove(row)
        elif choice == 2:
            row.insert(random.randrange(len(row) + 1), random.choice(_FIELDS))
        else:
            row[random.randrange(len(row))] = random.choice(_FIELDS)
    return b"\n".join(b",".join(row) for row in rows)[:longest]


TARGET = Target(_read, (ValueError,), _seeds, longest=16384, mutated=_mutated)
