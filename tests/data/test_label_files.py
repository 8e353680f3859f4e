"""Label files as programs and people write them: read as a plain statement says or refused by name, never as something else."""

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

NUMBERS = st.decimals(min_value=0, max_value=100, places=2).map(lambda value: f"{value:.2f}")
MARKS = st.sampled_from(("", "\ufeff"))
ENDS = st.sampled_from(("\n", "\r\n", "\r"))
DELIMITERS = st.sampled_from((",", ";", "\t"))
ENCODINGS = st.sampled_from(("utf-8", "utf-8", "cp1252", "utf-16"))
NAMES = st.sampled_from(
    ("{}.png", "{}.png", "./{}.png", "sub/../{}.png", "sub\\{}.png", "C:\\{}.png", "file:///{}.png", "schön{}.png")
)
PATH_HEADS = st.sampled_from(("path", "Path", "FILE", "image", "filename", "file_name"))
RATING_HEADS = st.sampled_from(("rating", "Rating", "SCORE", "mean", "MOS"))
FEW = settings(max_examples=120, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "sub").mkdir()
    for i in range(12):
        for name in (f"{i}.png", f"schön{i}.png"):
            Image.fromarray(np.full((6, 7, 3), 20 * i, np.uint8)).save(folder / name)
    return folder


@st.composite
def tables(draw):
    """A table and how it is written. rows: the names and the numbers that a person means."""
    form = draw(NAMES)
    rows = [(form.format(i), draw(NUMBERS)) for i in range(12)]
    if draw(st.integers(0, 3)) == 0:  # one photograph is there twice
        rows.append((draw(st.sampled_from(("3.png", "./3.png", "sub/../3.png"))), draw(NUMBERS)))
    delimiter = draw(DELIMITERS)
    comma, quoted = draw(st.booleans()), draw(st.booleans())
    return {
        "rows": rows, "delimiter": delimiter, "comma": comma, "quoted": quoted, "mark": draw(MARKS), "end": draw(ENDS),
        "encoding": draw(ENCODINGS), "heads": (draw(PATH_HEADS), draw(RATING_HEADS)),
        "split": draw(st.sampled_from(("none", "both", "both", "test"))),
    }  # fmt: skip


def written(table):
    """The bytes of the file."""
    rows = [[name, rating.replace(".", ",") if table["comma"] else rating] for name, rating in table["rows"]]
    heads = list(table["heads"])
    if table["split"] != "none":
        heads.append("split")
        rows = [[*row, "test" if table["split"] == "test" or i % 4 == 0 else "train"] for i, row in enumerate(rows)]
    if table["quoted"]:
        rows = [[f'"{field}"' for field in row] for row in rows]
    text = table["end"].join(table["delimiter"].join(fields) for fields in [heads, *rows]) + table["end"]
    return (table["mark"] + text).encode(table["encoding"], "replace")


def faults(table):
    """Each reason for which the file may not be read, as the message has it."""
    names = [name for name, _ in table["rows"]]
    if table["encoding"] == "utf-16" or (table["encoding"] == "cp1252" and any("ö" in name for name in names)):
        return ["must be text in UTF-8"]
    found = []
    if table["comma"] and table["delimiter"] == ",":
        found.append("must have a number" if table["quoted"] else "fields as the head has")
    if "\\" in names[0] or ":" in names[0]:
        found.append(f"row 2 must name a photograph by its path, got {names[0]!r}")
    if len({os.path.normpath(name) for name in names}) < len(names):
        found.append("must name a photograph that no other row names")
    if table["split"] == "test":
        found.append("threshold must say which ratings are high")
    return found


@FEW
@given(table=tables())
def test_a_table_is_read_as_it_is_meant_or_refused(photographs, table):
    if table["encoding"] == "cp1252":
        table["mark"] = ""
    path = photographs / "labels.csv"
    path.write_bytes(written(table))
    reasons = faults(table)
    try:
        data = load_set(path, **({} if table["split"] != "none" else {"folds": 2}))
    except ValueError as error:
        if reasons:
            assert any(reason in str(error) for reason in reasons) and str(path) in str(error)
        else:  # of one label there may be too few to be dealt
            assert "must have at least 2 examples" in str(error)
        return
    assert not reasons
    meant = {name: float(rating) for name, rating in table["rows"]}
    assert {example.key: example.rating for example in (*data.train, *data.test)} == meant
    middle = float(np.median([meant[example.key] for example in data.train]))
    assert data.threshold == middle and math.isfinite(middle)
    assert all(example.label == (meant[example.key] > middle) for example in (*data.train, *data.test))
    assert not {os.path.normpath(e.key) for e in data.train} & {os.path.normpath(e.key) for e in data.test}


@st.composite
def heads(draw):
    """Columns of a foreign file in some order, each with what it is."""
    columns = [("path", draw(st.sampled_from(("image_id", "Image Name", "filename", "img"))))]
    for prefix in draw(st.lists(st.sampled_from(("vote_", "r", "score", "")), max_size=2, unique=True)):
        first, count = draw(st.sampled_from((0, 1, 2))), draw(st.sampled_from((10, 10, 5, 11)))
        columns += [((prefix, number - first), f"{prefix}{number}") for number in range(first, first + count)]
    for name in draw(st.lists(st.sampled_from(("mean", "MOS", "score")), max_size=2, unique=True)):
        columns.append(("rating", name))
    columns += [("other", name) for name in draw(st.lists(st.sampled_from(("std", "tag1", "tag2")), unique=True))]
    return draw(st.permutations(columns))


@FEW
@given(columns=heads(), end=ENDS, delimiter=DELIMITERS)
def test_a_foreign_head_is_understood_or_refused(columns, end, delimiter):
    """Each cell says which column it is, so that one in a wrong place is seen."""
    histograms = {what[0] for what, _ in columns if isinstance(what, tuple)}
    of = {prefix: [what[1] for what, _ in columns if isinstance(what, tuple) and what[0] == prefix] for prefix in histograms}
    votes = [prefix for prefix in histograms if len(of[prefix]) == 10]
    ratings = [name for what, name in columns if what == "rating"]
    clear = len(votes) <= 1 and len(ratings) <= 1 and len(votes) + len(ratings) > 0
    clear = clear and not (not votes and not ratings)
    mean = 385 / 55  # of votes 1 to 10 for 1 to 10
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
