"""Label files designed to take very long or all memory: each reading ends quickly, with a message of one line."""

from __future__ import annotations

import numpy as np
import pytest

from dcnn_fast.data.splits import split
from dcnn_fast.printable import shortened
from tests import measured

LONG = "x" * 120_000


def rows(count, row):
    return "".join(row(i) for i in range(count))


TABLES = {
    "60,000 labels": (lambda: "path,label\n" + rows(60_000, lambda i: f"{i}.jpg,l{i}\n"), (), "got 1 of one of 60000 labels"),
    "200,000 groups": (
        lambda: "path,rating,group\n" + rows(200_000, lambda i: f"{i}.jpg,{i % 7},g{i}\n"), (),
        "must have photographs, got none",
    ),
    "500,000 columns": (
        lambda: "path,rating," + ",".join(f"c{i}" for i in range(500_000)) + "\na.jpg,3\nb.jpg,4\n", (), "2 labels",
    ),
    "500,000 columns and no path": (lambda: ",".join(f"c{i}" for i in range(500_000)) + "\n1,2\n", (), "and 499990 more"),
    "a long label": (lambda: f"path,label\na.jpg,{LONG}\n" + rows(200_000, lambda i: f"{i}.jpg,y\n"), (), "2 labels"),
    "a long source": (
        lambda: f"path,source,rating\na.jpg,{LONG},3\n" + rows(200_000, lambda i: f"{i}.jpg,photonet,3\n"), ("--kind", "iad"),
        "source must be one of photonet, dpchallenge; got xxx",
    ),
    "a long category": (
        lambda: f"path,rating,category\na.jpg,3,{LONG}\n" + rows(200_000, lambda i: f"{i}.jpg,{i % 5},y\n"),
        ("--category", "z"),
        "category must be one of xxx",
    ),
    "a wide head above many short lines": (
        lambda: (
            "path,label," + ",".join(f"c{i}" for i in range(100_000)) + "\n" + rows(100_000, lambda i: f"{i}.jpg,{i % 2}\n")
        ),
        (),
        "must have photographs, got none of 100000",
    ),
    "ten million empty lines": (lambda: "path,label\n" + "\n" * 10_000_000 + "a.jpg,x\n", (), "at least two values"),
    "ten million empty lines before the head": (
        lambda: "\n" * 10_000_000 + "path,label\n", (), "must have a row for each photograph",
    ),
    "a quote that is never closed": (lambda: 'path,label\na.jpg,"' + "x\n" * 25_000_000, (), "field larger than field limit"),
    "a quote in the head": (lambda: '"path,label\n' + "x\n" * 25_000_000, (), "field larger than field limit"),
    "a head only": ("path,label\n", (), "must have a row for each photograph, got none"),
    "nothing": ("", (), "must have a row for each photograph, got none"),
    "zero bytes": ("path,label\na\0.jpg,x\nb.jpg,y\0\n" * 2, (), "got 1 of one of 3 labels"),
    "a rating that is none": ("path,rating\na.jpg,\u00b2\n", (), "row 2 must have a number in column rating, got '\u00b2'"),
    "a rating of five thousand digits": ("path,rating\na.jpg," + "9" * 5000 + "\n", (), "must have a number in column rating"),
    "ratings whose sum is no number": ("path,rating\na.jpg,1e308\nb.jpg,1e308\n", (), "row 2 must have a number"),
    "votes whose sum is no number": (
        "path," + ",".join(f"r{i}" for i in range(1, 11)) + "\na.jpg" + ",1e308" * 10 + "\n", (),
        "must have a number in column r1",
    ),
    "a field beyond what csv reads": (
        lambda: f"path,label\na.jpg,{'x' * 200_000}\nb.jpg,y\n", (), "field larger than field limit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_everything_ends_soon(tmp_path, name):
    text, options, message = TABLES[name]
    (tmp_path / "t.csv").write_text(measured.made(text))
    command = ("train", "t.csv", "--out", "run") if "--category" in options else ("data", "check", "t.csv")
    measured.require_refused(message, *command, *options, cwd=tmp_path)


def test_many_groups_are_dealt_evenly_and_never_parted():
    rng = np.random.default_rng(0)
    groups = [f"g{number // 2}" if number % 5 else "" for number in range(18_000)]
    labels = (rng.uniform(size=len(groups)) < 0.3).astype(int).tolist()
    held = np.array([split(labels, groups, fold=fold, folds=5, seed=3) for fold in range(5)])
    assert (held.sum(axis=0) == 1).all()
    assert np.ptp(held.sum(axis=1)) < 0.02 * len(groups)
    shares = [np.mean(np.array(labels)[fold]) for fold in held]
    assert np.ptp(shares) < 0.01
    of_group = {}
    for group, fold in zip(groups, held.argmax(axis=0).tolist(), strict=True):
        assert not group or of_group.setdefault(group, fold) == fold
    assert np.array_equal(held[0], split(labels, groups, fold=0, folds=5, seed=3))
    assert not np.array_equal(held[0], split(labels, groups, fold=0, folds=5, seed=4))


def test_groups_of_labels_all_their_own_are_dealt_by_the_seed():
    groups = [f"g{low}-{high}" for low in range(75) for high in range(75) for _ in range(low + high)]
    labels = [int(place < high) for low in range(75) for high in range(75) for place in range(low + high)]
    held = [split(labels, groups, fold=0, folds=5, seed=seed) for seed in (0, 1)]
    assert not np.array_equal(*held)


def test_names_are_shortened():
    assert shortened([]) == "" and shortened(["a", "b"]) == "a, b"
    assert shortened(["a"] * 12) == "a, a, a, a, a, a, a, a, a, a and 2 more"
    assert shortened(["x" * 61, "y" * 60]) == "x" * 57 + "..., " + "y" * 60
