"""Files of scores: whatever a path is called and wherever an interruption cut them, they can be gone on with."""

from __future__ import annotations

import csv
import os

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dcnn_fast.cli.outputs import CsvOutput, OutputError, Ranking
from dcnn_fast.scoring import CSV_FIELDS, Score

paths = st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name).map(os.fsdecode)
tenths = st.integers(0, 10**6).map(lambda n: n / 10**6)
scores = st.one_of(
    st.builds(Score, path=paths, mean=tenths, std=tenths, label=st.sampled_from(["low", "high"]), views=st.just(50)),
    st.builds(Score, path=paths, error=st.text("ab, \"'é:", min_size=1), views=st.just(50)),
)
HEADER = ",".join(CSV_FIELDS) + "\n"


def fuzzed(test):
    return settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])(test)


def write(path, given, **options):
    output = CsvOutput(path, **options)
    for score in given:
        output.write(score)
    output.close()
    return output.held


@fuzzed
@given(given=st.lists(scores, max_size=6), cut=st.floats(0, 1))
@example(given=[Score(path='a\n"b', mean=0.5, std=0.1, label="low", views=50)], cut=0.8)
@example(given=[Score(path="a\rb", mean=0.5, std=0.1, label="low", views=50)], cut=1.0)
def test_a_file_cut_anywhere_is_gone_on_with(tmp_path, given, cut):
    path = tmp_path / "s.csv"
    write(path, given)
    whole = path.read_bytes()
    path.write_bytes(whole[: round(cut * len(whole))])
    held = write(path, [], resume=True)
    assert held == given[: len(held)]
    assert len(held) == len(given) or cut < 1
    write(path, given[len(held) :], resume=True)
    assert path.read_bytes() == whole
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [score.path for score in given]


@fuzzed
@given(
    content=st.one_of(st.binary(max_size=80), st.text('0.5,"\n\r pathmensdlbviwo\0', max_size=60).map(str.encode)),
    ours=st.booleans(),
)
def test_any_other_file_is_refused_and_left_alone_or_is_a_file_of_scores(tmp_path, content, ours):
    path = tmp_path / "s.csv"
    path.write_bytes(HEADER.encode() * ours + content)
    before = path.read_bytes()
    try:
        held = write(path, [], resume=True)
    except OutputError as error:
        assert str(path) in str(error)
        assert path.read_bytes() == before
    else:
        assert path.read_bytes().startswith(HEADER.encode())
        assert len(held) <= content.count(b"\n")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a.png,nan,0.1,high,50,0,", "mean must be from 0 to 1, got nan"),
        ("a.png,0.5,-1,high,50,0,", "std must be from 0 to 1, got -1.0"),
        ("a.png,0.5,0.1,high,50,0,,", "a row must have 7 fields"),
        ("a.png,0.5,0.1,high,fifty,0,", "fifty"),
    ],
)
def test_a_row_that_is_no_score_is_named(tmp_path, row, reason):
    path = tmp_path / "s.csv"
    path.write_text(HEADER + row + "\n")
    with pytest.raises(OutputError, match=f"line 2 is not a score of this program: .*{reason}"):
        CsvOutput(path, resume=True)


def test_a_file_without_a_line_is_not_taken_for_an_interrupted_one(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text("my notes")
    with pytest.raises(OutputError, match="the columns must be path,mean.*, got my notes"):
        CsvOutput(path, resume=True)
    assert path.read_text() == "my notes"


def test_the_ranking_keeps_the_best_and_equal_ones_in_the_order_they_came():
    ranking = Ranking(3)
    for name, mean in (("a", 0.2), ("b", 0.9), ("c", 0.5), ("d", 0.9), ("e", 0.1)):
        ranking.add(Score(path=name, mean=mean))
    ranking.add(Score(path="f", error="no"))
    assert [score.path for score in ranking.best(10)] == ["b", "d", "c"]
    assert (ranking.seen, ranking.failed) == (6, 1)


def test_a_long_file_with_an_open_quote_is_refused_at_once(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text('"' + "x\n" * 400_000)  # counting every prefix anew would take hours
    with pytest.raises(OutputError, match="the columns must be"):
        CsvOutput(path, resume=True)
