"""PARA's files as photographs and as a table; every file here is synthetic."""

from __future__ import annotations

import csv

import pytest

from dcnn_fast.data import load_set, synthetic
from dcnn_fast.data.importing import convert, csv_text
from dcnn_fast.data.para import ATTRIBUTES, file_of, photograph_files, read_para

TEST, TRAIN, MEANS = "PARA-GiaaTest.csv", "PARA-GiaaTrain.csv", "aggregation_1.csv"


@pytest.fixture
def copy(tmp_path):
    return synthetic.make("para", tmp_path / "para", images=64, sides=(8, 9))


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def write(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_the_official_test_set_is_held_out_and_says_more(copy):
    test = {row[0]: row for row in rows_of(copy / "annotation" / TEST)[1:]}
    means = {row[1]: float(row[2]) for row in rows_of(copy / "annotation" / MEANS)[1:]}
    found = {photograph.name: photograph for photograph in read_para(copy)}
    assert set(found) == set(means) and len(test) == 16
    for name, photograph in found.items():
        assert photograph.rating == means[name]
        if name in test:
            _, session, category, _, *scores = test[name]
            assert (photograph.split, photograph.session, photograph.category) == ("test", session, category)
            assert photograph.attributes == tuple(map(float, scores))
        else:
            assert photograph.split == "train" and not photograph.category and not photograph.attributes


def test_a_whole_copy_says_as_much_of_its_training_part(copy):
    """If the official file is present, the file of means is not read."""
    annotation = copy / "annotation"
    head, *rows = rows_of(annotation / TEST)
    write(annotation / TEST, [head, *rows[:10]])
    write(annotation / TRAIN, [head, *rows[10:]])
    (annotation / MEANS).write_text("of no use")
    found = read_para(copy)
    assert [photograph.split for photograph in found] == ["train"] * 6 + ["test"] * 10
    assert [photograph.name for photograph in found[:6]] == [row[0] for row in rows[10:]]
    assert all(photograph.category and len(photograph.attributes) == len(ATTRIBUTES) for photograph in found)


def test_the_table_names_files_that_are_there_and_those_that_are_not(copy, tmp_path):
    gone = sorted((copy / "imgs").rglob("*.jpg"))[0]
    gone.unlink()
    text = csv_text(tmp_path, *convert(copy))
    (tmp_path / "para.csv").write_text(text)
    data = load_set(tmp_path / "para.csv")
    assert len(data.train) + len(data.test) == 63 and len(data.missing) == 1 and data.missing[0].endswith(gone.name)
    assert {example.category for example in data.train} == {""} and len({example.category for example in data.test}) == 4
    (tmp_path / "elsewhere").mkdir()
    (copy / "imgs").rename(tmp_path / "elsewhere" / "pictures")
    _, rows = convert(copy, tmp_path / "elsewhere")
    assert sum((tmp_path / row[0]).is_file() for row in rows) == 63


@pytest.mark.parametrize(
    ("name", "row", "column", "value", "message"),
    [
        (TEST, 1, 3, "5.5", "row 2 must have a mean of 1 to 5 in column aestheticScore_mean, got '5.5'"),
        (TEST, 1, 3, "nan", "row 2 must have a mean of 1 to 5"),
        (TEST, 2, 9, "", "row 3 must have a mean of 1 to 5 in column contentScore_mean, got ''"),
        (TEST, 0, 2, "scene", "semantic is not there"),
        (TEST, 3, 0, "iaa_pub0_.jpg", "row 4 must name a photograph that no other row names, got 'iaa_pub0_.jpg'"),
        (TEST, 3, 0, "../a.jpg", "row 4 must name a photograph that no other row names, got '../a.jpg'"),
        (TEST, 3, 0, "..", "row 4 must name a photograph"),
        (TEST, 3, 1, "/etc", "row 4 must name a session's folder, got '/etc'"),
        (TEST, 3, 1, "..", "row 4 must name a session's folder"),
        (TEST, 1, 3, "9" * 9000, "got '9999"),
        (MEANS, 1, 2, "0.99", "row 2 must have a mean of 1 to 5 in column aesthetic_score, got '0.99'"),
        (MEANS, 2, 1, "", "row 3 must name a photograph"),
        (MEANS, 0, 1, "name", "image_label is not there"),
    ],
)
def test_a_bad_row_is_named(copy, name, row, column, value, message):
    path = copy / "annotation" / name
    rows = rows_of(path)
    rows[row][column] = value
    write(path, rows)
    with pytest.raises(ValueError, match=message) as raised:
        read_para(copy)
    assert name in str(raised.value) and len(str(raised.value)) < 500


def test_a_photograph_is_that_of_its_session(copy):
    """A copy in another folder, first in the order of names, counts as another photograph."""
    photograph = next(each for each in read_para(copy) if each.session)
    (copy / "imgs" / "backup").mkdir()
    (copy / "imgs" / "backup" / photograph.name).write_bytes(b"another")
    path = file_of(photograph, photograph_files(copy))
    assert path is not None and path.endswith(f"{photograph.session}/{photograph.name}")


def test_files_that_are_not_there_and_parts_that_overlap_are_named(copy):
    annotation = copy / "annotation"
    (annotation / TRAIN).write_bytes((annotation / TEST).read_bytes())
    with pytest.raises(ValueError, match=f"{TRAIN}: must name no photograph of {TEST}, got iaa_pub0_.jpg"):
        read_para(copy)
    (annotation / TRAIN).unlink()
    (annotation / MEANS).unlink()
    with pytest.raises(ValueError, match=f"must have {TRAIN} or {MEANS}"):
        read_para(copy)
    (annotation / TEST).unlink()
    with pytest.raises(ValueError, match=f"{TEST}: a copy of PARA must have this file"):
        read_para(copy)
