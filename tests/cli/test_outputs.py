"""Rows of scores: whatever the path's name and wherever an interruption cut the file, a run can resume from it."""

from __future__ import annotations

import csv
import io
import json
import os

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dcnn_fast.cli.outputs import Ranking
from dcnn_fast.cli.rows import CSV, JSONL, RowsError
from dcnn_fast.scoring import CSV_FIELDS, Score

paths = st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name).map(os.fsdecode)
tenths = st.integers(0, 10**6).map(lambda n: n / 10**6)
scores = st.one_of(
    st.builds(Score, path=paths, mean=tenths, std=tenths, label=st.sampled_from(["low", "high"]), samples_count=st.just(50)),
    st.builds(Score, path=paths, error=st.text("ab, \"'é:", min_size=1), samples_count=st.just(50)),
)
HEADER = ",".join(CSV_FIELDS) + "\n"
formats = pytest.mark.parametrize("format", [CSV, JSONL], ids=["csv", "jsonl"])


def fuzzed(test):
    return settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])(test)


def content_of(format, scores):
    return format.head + b"".join(map(format.line, scores))


@formats
@fuzzed
@given(given=st.lists(scores, max_size=6), cut=st.floats(0, 1))
@example(given=[Score(path='a\n"b', mean=0.5, std=0.1, label="low", samples_count=50)], cut=0.8)
@example(given=[Score(path="a\rb", mean=0.5, std=0.1, label="low", samples_count=50)], cut=1.0)
def test_a_file_cut_anywhere_is_gone_on_with(format, given, cut):
    whole = content_of(format, given)
    held = format.read(whole[: round(cut * len(whole))])
    assert held == given[: len(held)]
    assert len(held) == len(given) or cut < 1
    assert content_of(format, [*held, *given[len(held) :]]) == whole


@fuzzed
@given(given=st.lists(scores, max_size=6))
def test_others_read_the_rows_as_they_are(given):
    text = content_of(CSV, given).decode(errors="surrogateescape")
    assert [row["path"] for row in csv.DictReader(io.StringIO(text, newline=""))] == [score.path for score in given]
    assert [json.loads(line)["path"] for line in content_of(JSONL, given).splitlines()] == [score.path for score in given]


@formats
@fuzzed
@given(
    content=st.one_of(st.binary(max_size=80), st.text('{}[]0.5,"\n\r; pathmensdlbviwo\0', max_size=60).map(str.encode)),
    ours=st.booleans(),
)
def test_any_other_content_is_refused_or_is_scores(format, content, ours):
    try:
        held = format.read(format.head * ours + content)
    except RowsError:
        return
    assert len(held) <= content.count(b"\n")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.png,nan,0.1,high,50,0,", "mean must be from 0 to 1, got nan"),
        ("a.png,0.5,-1,high,50,0,", "std must be from 0 to 1, got -1.0"),
        ("a.png,0.5,0.1,high,50,0,,100.5", "percentile must be from 0 to 100, got 100.5"),
        ("a.png,0.5,0.1,high,50,0,,,101", "collection_percentile must be from 0 to 100, got 101"),
        ("a.png,0.5,0.1,high,50,0,,,,0,9", "width and height must be whole numbers from 1, got 0 and 9"),
        ("a.png,0.5,0.1,high,50,0,,,,,,,,a.png,perhaps", "best_of_group must be yes, no or empty, got perhaps"),
        ("a.png,0.5,0.1,high,50,0" + "," * 12, "a row must have 17 fields"),
        ("a.png,0.5,0.1,high,fifty,0,", "fifty"),
        ("a.png,,,,50,0", "a row must have 17 fields"),
        ("a.png,0.5,0.1,high,50", "a row must have 17 fields"),
    ],
)
def test_a_row_that_is_no_score_is_named(row, reason):
    with pytest.raises(RowsError, match=f"line 2 is not a score of this program: .*{reason}"):
        CSV.read((HEADER + row + "\n").encode())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mean": 1.5}, "mean must be from 0 to 1, got 1.5"),
        ({"probs": {"low": -1}}, "low must be from 0 to 1, got -1"),
        ({"path": None}, "path must be text"),
        ({"error": 5}, "error"),
        ({"views": "3"}, "views and seed must be integers"),
        ({"notes": 3}, "not iterable"),
        ({"notes": [3]}, "notes must be texts"),
        ({"probs": []}, "probs must be an object"),
    ],
)
def test_an_object_that_is_no_score_is_named(change, reason):
    line = json.dumps({**Score(path="a.png", mean=0.5).as_dict(), **change}).encode()
    with pytest.raises(RowsError, match=f"line 1 is not a score of this program: .*{reason}"):
        JSONL.read(line + b"\n")


def test_fields_of_a_later_version_are_no_error():
    line = json.dumps({**Score(path="a.png", mean=0.5).as_dict(), "colour": "red"}).encode()
    assert JSONL.read(line + b"\n") == [Score(path="a.png", mean=0.5)]


def test_a_file_without_a_line_is_not_taken_for_an_interrupted_one():
    with pytest.raises(RowsError, match="the fields must be path,mean.*, got my notes"):
        CSV.read(b"my notes")


def test_the_ranking_keeps_the_best_and_equal_ones_in_the_order_they_came():
    ranking = Ranking(3)
    for name, mean in (("a", 0.2), ("b", 0.9), ("c", 0.5), ("d", 0.9), ("e", 0.1)):
        ranking.add(Score(path=name, mean=mean))
    ranking.add(Score(path="f", error="no"))
    assert [score.path for score in ranking.best(10)] == ["b", "d", "c"]
    assert (ranking.seen, ranking.failed) == (6, 1)


def test_a_long_file_with_an_open_quote_is_refused_at_once():
    with pytest.raises(RowsError, match="the fields must be"):
        CSV.read(('"' + "x\n" * 400_000).encode())  # counting every prefix anew would take hours
