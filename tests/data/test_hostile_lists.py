"""AVA's files, lists of ids and other projects' labels with invalid or excessive numbers: refused by name."""

from __future__ import annotations

import json

import pytest

from dcnn_fast.data import load_set
from dcnn_fast.data.ava import read_list, read_ratings
from tests import measured

GOOD = "1 10 " + "1 " * 10 + "0 0 1\n"
LIST = "aesthetics_image_lists/generic_test.jpgl"


def line(image="10", votes="1 " * 10, tags="0 0 1"):
    return f"1 {image} {votes} {tags}\n"


RATINGS = {
    "votes that overflow together": (
        line(votes="4611686018427387904 " * 10),
        "image 10 must have at most 2147483647 votes each",
    ),
    "one that does": (line(votes="9223372036854775807 " + "0 " * 9), "image 10 must have at most 2147483647 votes each"),
    "negative votes": (line(votes="-1 " + "1 " * 9), "image 10 must have votes, none negative"),
    "no votes": (line(votes="0 " * 10), "image 10 must have votes"),
    "a number of four hundred digits": (line(votes="1" + "0" * 400 + " 1" * 9), "line 2 must be 15 integers"),
    "parts of votes": (line(votes="1.5 " * 10), "line 2 must be 15 integers"),
    "whole votes with a point": (line(votes="1.0 " * 10), "line 2 must be 15 integers"),
    "no number": (line(votes="nan " * 10), "line 2 must be 15 integers"),
    "a digit that is none": (line(image="\u00b2"), "line 2 must be 15 integers"),
    "digits of another script": (line(image="\u0663"), "line 2 must be 15 integers"),
    "an id of five thousand digits": (line(image="9" * 5000), "line 2 must be 15 integers, and is too long"),
    "an id of forty digits": (line(image="9" * 40), "line 2 must be 15 integers"),
    "an id twice": (GOOD, "an id must occur once, got 10 2 times"),
    "a line of fifty megabytes": (lambda: "1 " * 25_000_000, "line 2 must be 15 integers, and is too long for them"),
    "zero bytes": ("\0" * 1000 + "\n", "line 2 must be 15 integers"),
    "too few": ("1 2 3\n", "line 2 must be 15 integers"),
}


def ava(folder, ratings=GOOD, listed="10\n"):
    (folder / LIST).parent.mkdir()
    (folder / "AVA.txt").write_text(ratings)
    (folder / LIST).write_text(listed)


@pytest.mark.parametrize("name", RATINGS)
def test_ratings_that_are_none_are_refused_by_name(tmp_path, name):
    more, message = RATINGS[name]
    ava(tmp_path, GOOD + measured.made(more))
    measured.require_refused(message, "data", "check", tmp_path)


def test_the_most_votes_have_their_mean(tmp_path):
    (tmp_path / "AVA.txt").write_text(line(votes="2147483647 " * 10))
    assert read_ratings(tmp_path / "AVA.txt").means.tolist() == [5.5]


@pytest.mark.parametrize(("text", "times"), [
    ("\u00b2", 1), ("\u0663", 1), ("9", 5000), ("9", 19), ("-1", 1), ("1.0", 1), ("x", 10_000_000), ("\0", 1),
])  # fmt: skip
def test_an_id_that_is_none_is_refused_by_name(tmp_path, text, times):
    ava(tmp_path, listed=f"10\n{text * times}\n")
    measured.require_refused("generic_test.jpgl: line 2 must be an image id, got", "data", "check", tmp_path)


def test_ids_and_photographs_of_many_digits(tmp_path):
    (tmp_path / "list").write_text("0010\n" + "9" * 18 + "\n\n")
    assert read_list(tmp_path / "list") == [10, 10**18 - 1]
    ava(tmp_path)
    for name in ("\u00b2.jpg", "9" * 200 + ".jpg", "10.jpg"):
        (tmp_path / name).write_bytes(b"")
    assert [example.key for example in load_set(tmp_path).test] == ["10"]


def idealo(**changes):
    return json.dumps([{"image_id": "1", "label": [1] * 10, **changes}])


HEAD = "id," + ",".join(f"r{i}" for i in range(1, 11)) + "\n"
LABELS = {
    "a digit that is none": ("l.json", idealo(image_id="\u00b2"), "entry 0 must have an image_id"),
    "an id of five thousand digits": ("l.json", idealo(image_id="9" * 5000), "entry 0 must have an image_id"),
    "a number of five thousand digits": ("l.json", idealo().replace("[1,", f"[{'9' * 5000},"), "at most 100 digits, got 5000"),
    "a vote of ninety digits twice": ("l.json", idealo(label=[10**90, -(10**90)] * 5), "a label of ten numbers"),
    "a vote of a hundred and two digits": ("l.json", idealo().replace("[1,", "[1e101,"), "a label of ten numbers"),
    "a vote that is none": ("l.json", idealo(label=[float("nan")] * 10), "a label of ten numbers"),
    "a vote beyond all": ("l.json", idealo().replace("[1,", "[1e400,"), "a label of ten numbers"),
    "a label that is an object": ("l.json", idealo(label={str(i): 1 for i in range(10)}), "a label of ten numbers"),
    "a name twice": ("l.json", idealo()[:-2] + ', "image_id": "2"}]', "got 'image_id' twice"),
    "nested deeply": ("l.json", lambda: "[" * 1_000_000, "must be JSON: JSON must not be nested so deeply"),
    "a million objects": ("l.json", lambda: "[" + "{}," * 1_000_000 + "{}]", "entry 0 must have an image_id"),
    "a CSV file's digit that is none": ("l.csv", HEAD + "1," + "1," * 9 + "\u00b2\n", "row 2 must have a number in column r10"),
    "a CSV file's votes beyond all": ("l.csv", HEAD + "1," + "1e308," * 9 + "1\n", "row 2 must have a number in column r1"),
    "a CSV file's field": ("l.csv", lambda: HEAD + "x" * 200_000 + "\n", "field larger than field limit"),
    "a CSV file's million fields": (
        "l.csv", lambda: HEAD + "x," * 1_000_000 + "\n", "row 2 must have 11 fields as the head has",
    ),
    "a CSV file's million columns": (
        "l.csv", lambda: ",".join(f"x{i}" for i in range(1_000_000)) + "\n" + "1," * 10 + "1\n", "votes must be ten columns",
    ),
    "a CSV file's million columns of votes": (
        "l.csv", lambda: "id," + ",".join(f"v{i % 1000}" for i in range(1_000_000)) + "\n" + "1," * 10 + "1\n",
        "must be ten columns",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_other_projects_that_are_wrong_are_refused_by_name(tmp_path, name):
    file, text, message = LABELS[name]
    (tmp_path / file).write_text(measured.made(text))
    measured.require_refused(message, "data", "import", file, "out.csv", cwd=tmp_path)
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(("content", "message"), [
    ("path,label\na.jpg,x\n".encode("utf-16"), "must be text in UTF-8"), (b"\xff\xfe\x00\x00" * 1000, "must be text in UTF-8"),
])  # fmt: skip
def test_other_encodings_are_named(tmp_path, content, message):
    (tmp_path / "t.csv").write_bytes(content)
    measured.require_refused(message, "data", "check", "t.csv", cwd=tmp_path)


@pytest.mark.parametrize("option", ["--fc", "--stages", "--mean", "--plane"])
@pytest.mark.parametrize("text", ["\u00b2", "9" * 5000, "inf", "nan", "1e400"])
def test_options_that_are_no_numbers_are_refused(tmp_path, option, text):
    (tmp_path / "c").write_bytes(b"x")
    found = measured.run(
        "convert", tmp_path / ("c.pth" if option == "--stages" else "c"), "m.safetensors", option, text, cwd=tmp_path
    )
    assert found.status == 2 and "Traceback" not in found.said, found.said
