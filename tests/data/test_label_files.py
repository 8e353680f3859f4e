"""Label files as programs and people write them: read as a plain statement says, or refused by name, never misread."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dcnn_fast.data import load_set
from dcnn_fast.data.importing import Remarks, convert

MARKS = st.sampled_from(("", "\ufeff"))
ENDS = st.sampled_from(("\n", "\r\n", "\r"))
DELIMITERS = st.sampled_from((",", ";", "\t"))
NAMES = st.sampled_from(("{}.png", "./{}.png", "sub/../{}.png", "schön{}.png"))
PATH_HEADS = st.sampled_from(("path", "Path", "FILE", "image", "filename", "file_name"))
RATING_HEADS = st.sampled_from(("rating", "Rating", "SCORE", "mean", "MOS"))
FAULTS = {  # each with the words of its message
    "": None,
    "another encoding": "must be text in UTF-8",
    "decimal commas between commas": "row 2 must have",
    "a path of Windows": "row 2 must name a photograph by its path, got 'sub",
    "a drive": "row 2 must name a photograph by its path, got 'C:",
    "an address": "row 2 must name a photograph by its path, got 'file://",
    "a photograph twice": "row 14 must name a photograph that no other row names",
    "nothing to train on": "threshold must say which ratings are high",
    "a number with a low line": "row 14 must have a number in column",
    "two signs of decimals": "row 14 must have a number in column",
    "two ratings": "must have one column for the rating",
    "a column twice": "must have one column for the rating",
    "part of a split": "column split must say train, val or test, got 'dev'",
}
MANY = settings(max_examples=300, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "sub").mkdir()
    for i in range(13):
        for name in (f"{i}.png", f"schön{i}.png"):
            Image.fromarray(np.full((6, 7, 3), 19 * i, np.uint8)).save(folder / name)
    return folder


@st.composite
def tables(draw):
    """A table's rows as a person means them, and their notation, with one fault or, as often, none."""
    fault = draw(st.sampled_from([*FAULTS, *[""] * len(FAULTS)]))
    delimiter = "," if fault == "decimal commas between commas" else draw(DELIMITERS)
    comma = fault == "decimal commas between commas" or (delimiter != "," and draw(st.booleans()))
    if fault == "two signs of decimals":
        delimiter = ";"
    form = {"a path of Windows": "sub\\{}.png", "a drive": "C:{}.png", "an address": "file:///{}.png"}.get(fault) or draw(NAMES)
    numbers = np.random.default_rng(draw(st.integers(0, 10_000))).permutation(2000)[:13]
    return {
        "fault": fault, "rows": [(form.format(i), f"{numbers[i] / 100:.2f}") for i in range(13)], "delimiter": delimiter,
        "comma": comma, "quoted": draw(st.booleans()), "mark": draw(MARKS), "end": draw(ENDS),
        "heads": [draw(PATH_HEADS), draw(RATING_HEADS)],
        "split": fault in ("nothing to train on", "part of a split") or draw(st.booleans()),
    }  # fmt: skip


def written(table):
    """The bytes of the table's file."""
    fault, heads = table["fault"], list(table["heads"])
    rows = [[name, rating.replace(".", ",") if table["comma"] else rating] for name, rating in table["rows"]]
    if fault == "a photograph twice":
        rows[-1][0] = "x/../" + rows[3][0]
    if fault == "a number with a low line":
        rows[-1][1] = "1_0"
    if fault == "two signs of decimals":
        rows[-1][1] = "1.5" if table["comma"] else "1,5"
    if fault in ("two ratings", "a column twice"):
        heads = [heads[0], "mean", "mean" if fault == "a column twice" else "MOS"]
        rows = [[*row, row[1]] for row in rows]
    if table["split"]:
        heads.append("split")
        parts = [fault == "nothing to train on" or i % 4 == 0 for i in range(len(rows))]
        rows = [[*row, "test" if test else "train"] for row, test in zip(rows, parts, strict=True)]
    if fault == "part of a split":
        rows[-1][-1] = "dev"
    if table["quoted"]:
        rows = [[f'"{field}"' for field in row] for row in rows]
    text = table["end"].join(table["delimiter"].join(fields) for fields in [heads, *rows]) + table["end"]
    if fault == "another encoding":
        return text.replace("path", "påth").encode("cp1252") if "schön" in text else text.encode("utf-16")
    return (table["mark"] + text).encode()


@MANY
@given(table=tables())
def test_a_table_is_read_as_it_is_meant_or_refused(photographs, table):
    path = photographs / "labels.csv"
    path.write_bytes(written(table))
    options = {} if table["split"] else {"folds": 2}
    if table["fault"]:
        with pytest.raises(ValueError, match=r"labels\.csv: ") as raised:
            load_set(path, **options)
        assert FAULTS[table["fault"]] in str(raised.value)
        return
    data = load_set(path, **options)
    meant = {name: float(rating) for name, rating in table["rows"]}
    assert {example.key: example.rating for example in (*data.train, *data.test)} == meant
    if table["split"]:
        assert [example.key for example in data.test] == [name for i, name in enumerate(meant) if i % 4 == 0]
    middle = float(np.median([meant[example.key] for example in data.train]))
    assert data.threshold == middle and math.isfinite(middle)
    assert all(example.label == (meant[example.key] > middle) for example in (*data.train, *data.test))
    assert not {os.path.normpath(e.key) for e in data.train} & {os.path.normpath(e.key) for e in data.test}


@st.composite
def heads(draw):
    """Fields of a foreign file in some order, each with its meaning."""
    columns = [("path", draw(st.sampled_from(("image_id", "Image Name", "filename", "img"))))]
    for prefix in draw(st.lists(st.sampled_from(("vote_", "r", "score", "")), max_size=2, unique=True)):
        first, count = draw(st.sampled_from((0, 1, 2))), draw(st.sampled_from((10, 10, 5, 11)))
        columns += [((prefix, number - first), f"{prefix}{number}") for number in range(first, first + count)]
    for name in draw(st.lists(st.sampled_from(("mean", "MOS", "score")), max_size=2, unique=True)):
        columns.append(("rating", name))
    columns += [("other", name) for name in draw(st.lists(st.sampled_from(("std", "tag1", "tag2")), unique=True))]
    return draw(st.permutations(columns))


@MANY
@given(columns=heads(), end=ENDS, delimiter=DELIMITERS)
def test_a_foreign_head_is_understood_or_refused(columns, end, delimiter):
    """Each cell states its field's meaning, so that a misplaced one is noticed."""
    histograms = {what[0] for what, _ in columns if isinstance(what, tuple)}
    of = {prefix: [what[1] for what, _ in columns if isinstance(what, tuple) and what[0] == prefix] for prefix in histograms}
    votes = [prefix for prefix in histograms if len(of[prefix]) == 10]
    ratings = [name for what, name in columns if what == "rating"]
    clear = len(votes) <= 1 and len(ratings) <= 1 and len(votes) + len(ratings) > 0
    mean = 385 / 55  # the mean of votes 1 to 10 for ratings 1 to 10
    cells = [
        f"{mean:.6f}" if what == "rating" else "photo" if what == "path" else "77" if what == "other" else str(what[1] + 1)
        for what, _ in columns
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "labels.csv")
        path.write_text(delimiter.join(name for _, name in columns) + end + delimiter.join(cells) + end, newline="")
        remarks = Remarks()
        wide = any(len(numbers) == 11 for numbers in of.values())
        try:
            head, rows = convert(path, remarks=remarks)
        except ValueError as error:
            assert not clear and str(path) in str(error), error
            return
    assert clear or (wide and ratings), columns
    found = dict(zip(head, rows[0], strict=True))
    assert found["path"] == "photo" and 77 not in found.values()
    if votes:
        assert [found[f"r{i}"] for i in range(1, 11)] == list(range(1, 11))
    if ratings:
        assert found["rating"] == pytest.approx(mean, abs=1e-6)
    assert ("rating" in found) == bool(ratings) and ("r1" in found) == bool(votes)
    assert all(name in remarks.notes[0] for what, name in columns if what in ("path", "rating"))
