"""The better one of two labels, and labels that match a model's under other names."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from dcnn_fast.data import DataSet, Example
from dcnn_fast.data.label_names import in_order, known_positive, require_distinct, with_labels

PAIRS = [
    ("low", "high"), ("Low", "High"), ("LOW", "HIGH"), ("bad", "good"), ("Poor", "Good"), ("no", "yes"), ("False", "True"),
    ("ugly", "beautiful"), ("NEGATIVE", "Positive"), ("low quality", "high_quality"), ("rejected", "picked"), ("rest", "good"),
    ("bad", "remaining"),
]  # fmt: skip


@pytest.mark.parametrize(("worse", "better"), PAIRS)
def test_the_better_one_is_last_whatever_its_case_and_the_order_of_names(worse, better):
    for names in permutations((worse, better)):
        order = in_order(names)
        assert order.labels == (worse, better) and order.positive == known_positive(names) == better
        said = f"labels {worse}, {better}: scores, AUC and correlations are those of {better} (by their names)"
        assert order.notes == (() if better == "high" else (said,))


@pytest.mark.parametrize("names", [("0", "1"), ("1", "2"), ("cat", "dog"), ("good", "best"), ("bad", "worst")])
def test_what_names_do_not_say_is_told(names):
    order = in_order(names)
    assert order.positive is None and order.labels == tuple(sorted(names))
    assert "--positive NAME says which is the better one" in order.notes[0]
    for better in names:
        told = in_order(names, better)
        assert told.labels[-1] == told.positive == better and "(as told)" in told.notes[0]


def test_a_positive_label_that_is_none_is_refused():
    for names, positive in ((("a", "b"), "c"), (("a", "b", "c"), "a"), (("High", "Low"), "high")):
        with pytest.raises(ValueError, match=f"positive must be one of two labels, got '{positive}' of"):
            in_order(names, positive)
    assert in_order(("high", "low", "middle")).labels == ("high", "low", "middle") and in_order("cba").notes == ()


def test_labels_that_are_one_written_twice_are_refused():
    require_distinct(("0", "1", "10", "low", "lowest", "1a"))
    for names in (("High", "high", "low"), ("1", "1.0", "2"), ("01", "1"), ("+1", "1")):
        with pytest.raises(ValueError, match="labels must differ in more than their writing, got "):
            require_distinct(names)


def examples(*labels, truth=()):
    return tuple(Example(f"{i}.jpg", f"{i}", label, truth=truth) for i, label in enumerate(labels))


def test_a_sets_labels_become_a_models_and_the_better_one_the_better_one():
    data = DataSet(("0", "1"), examples(0, 1, -1), examples(1, truth=(1,)), positive="1")
    found = with_labels(data, ("low", "high"))
    assert found.labels == ("low", "high") and found.positive == "high"
    assert [e.label for e in found.train] == [0, 1, -1] and [(e.label, e.truth) for e in found.test] == [(1, (1,))]
    assert found.notes == ("0 and 1 of the data are low and high of the model",)
    turned = with_labels(data, ("High", "Low"))  # the alphabetic order, which earlier files have
    assert [e.label for e in turned.train] == [1, 0, -1] and [(e.label, e.truth) for e in turned.test] == [(0, (0,))]
    assert turned.notes[1] == "the model has High first: its scores and correlations are those of Low"
    assert with_labels(data, ("0", "1")) is data
    unknown = replace(data, positive=None, notes=("something", *in_order(("0", "1")).notes))
    names = with_labels(unknown, ("1", "0"))
    assert [e.label for e in names.train] == [1, 0, -1] and [(e.label, e.truth) for e in names.test] == [(0, (0,))]
    assert names.notes == (
        "something",
        "the model has 0 last: its scores and correlations are those of 0",
    )


@pytest.mark.parametrize(
    ("data", "labels", "hint"),
    [
        (DataSet(("0", "1"), (), ()), ("low", "high"), True),
        (DataSet(("low", "high"), (), (), positive="high"), ("cat", "dog"), True),
        (DataSet(("low", "high"), (), (), positive="high"), ("cat", "dog", "eel"), False),
        (DataSet(("cat", "dog", "eel"), (), ()), ("low", "high"), False),
    ],
)
def test_labels_of_unknown_order_are_never_taken_for_a_models(data, labels, hint):
    with pytest.raises(ValueError, match="labels must be the data's, ") as raised:
        with_labels(data, labels)
    assert ("--positive NAME" in str(raised.value)) == hint


@pytest.mark.parametrize(
    "labels",
    [
        ("low", "very low"), ("poor", "very poor"), ("bad", "terrible"), ("good", "excellent"), ("good", "great"),
        ("high", "very high"), ("low", "unrated"), ("low", "lower"),
    ],
)  # fmt: skip
def test_names_that_leave_it_open_decide_nothing(labels):
    assert known_positive(labels) is None and known_positive(labels[::-1]) is None


def test_numbers_are_in_their_order():
    assert in_order({"10", "5", "7.5"}).labels == ("5", "7.5", "10")
