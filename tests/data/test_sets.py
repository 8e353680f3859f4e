"""Data sets in every format: the examples read, their split, and the messages about faulty files."""

from __future__ import annotations

import csv
import math
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from dcnn_fast.data import load_set, synthetic
from dcnn_fast.data.ava import read_list, read_ratings, read_styles
from dcnn_fast.data.names import LISTS, STYLE_LISTS
from dcnn_fast.data.sets import kind_of
from dcnn_fast.data.splits import split
from dcnn_fast.networks import STYLES


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A set of each kind."""
    root = tmp_path_factory.mktemp("sets")
    sides = {"sides": (20, 30)}
    return {kind: synthetic.make(kind, root / kind, images=96, seed=3, missing=2, **sides) for kind in synthetic.KINDS}


def picture(path, value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((10, 12, 3), value, np.uint8)).save(path)


def table(path, head, *rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return path


def keys(examples):
    return {example.key for example in examples}


@pytest.mark.parametrize(
    ("kind", "recognised"),
    [("ava", "ava"), ("iad", "iad"), ("folders", "folders"), ("csv", "csv"), ("histograms", "csv")],
)
def test_every_kind_is_recognised_and_read(made, kind, recognised):
    assert kind_of(made[kind]) == recognised
    data = load_set(made[kind])
    assert data.labels == ("low", "high") and set(Counter(e.label for e in data.train)) == {0, 1}
    assert not keys(data.train) & keys(data.test)
    assert len(data.train) + len(data.test) == 94
    assert len(data.missing) == (2 if kind != "folders" else 0)  # a folder lists existing files only


def test_avas_split_and_labels_are_the_official_ones(made):
    root = made["ava"]
    data = load_set(root)
    assert (data.positive, data.threshold) == ("high", 5.0)
    test = {str(i) for i in read_list(root / LISTS / "generic_test.jpgl")}
    ratings = read_ratings(root / "AVA.txt")
    means = {str(i): votes @ np.arange(1, 11) / votes.sum() for i, votes in zip(ratings.ids, ratings.votes, strict=True)}
    assert keys(data.test) == test - set(data.missing)
    assert keys(data.train) == set(means) - test - set(data.missing)
    for example in (*data.train, *data.test):
        assert example.rating == pytest.approx(means[example.key])
        assert example.label == (means[example.key] > 5)


def test_delta_thins_the_training_set_alone(made):
    whole, thinned = load_set(made["ava"]), load_set(made["ava"], delta=1)
    assert thinned.test == whole.test
    assert thinned.train == tuple(e for e in whole.train if abs(e.rating - 5) >= 1)
    assert len(thinned.train) < len(whole.train)
    assert any("delta 1 leaves" in note for note in thinned.notes)


def test_means_on_the_edges(tmp_path):
    """Exactly 5 is low; exactly 5 - delta and 5 + delta are kept."""
    lines = ["1 11 0 0 0 0 2 0 0 0 0 0 0 0 1", "2 12 0 0 0 2 0 0 0 0 0 0 0 0 1", "3 13 0 0 0 0 0 2 0 0 0 0 0 0 1"]
    lines += ["4 14 0 0 0 1 1 0 0 0 0 0 0 0 1"]
    (tmp_path / "AVA.txt").write_text("\n".join(lines))
    (tmp_path / LISTS).mkdir()
    (tmp_path / LISTS / "generic_test.jpgl").write_text("14\n")
    for i in (11, 12, 13, 14):
        picture(tmp_path / "images" / f"{i}.jpg")
    data = load_set(tmp_path)
    assert {e.key: e.label for e in data.train} == {"11": 0, "12": 0, "13": 1}
    assert any("1 photographs have a mean of exactly 5" in note for note in data.notes)
    assert keys(load_set(tmp_path, delta=1).train) == {"12", "13"}


def test_a_category_has_its_own_lists_and_every_example_says_what_it_shows(made):
    data = load_set(made["ava"], category="animal")
    assert keys(data.test) | keys(data.train) <= {
        str(i) for part in ("train", "test") for i in read_list(made["ava"] / LISTS / f"animal_{part}.jpgl")
    }
    assert {e.category for e in (*data.train, *data.test)} == {"animal"}
    assert Counter(e.category for e in load_set(made["ava"]).test)["animal"] == len(data.test)


def test_either_line_ending_reads_the_same(tmp_path):
    for name, crlf in (("lf", False), ("crlf", True)):
        synthetic.make("ava", tmp_path / name, images=64, seed=1, crlf=crlf, sides=(10, 12))
    assert b"\r\n" in (tmp_path / "crlf" / "AVA.txt").read_bytes()
    for kind in ("ava", "ava-style"):
        lf, crlf = (load_set(tmp_path / name, kind) for name in ("lf", "crlf"))
        assert [(e.key, e.label, e.truth) for e in lf.train + lf.test] == [
            (e.key, e.label, e.truth) for e in crlf.train + crlf.test
        ]


def test_styles_are_one_in_training_and_any_number_in_the_test(made):
    root = made["ava"]
    data, lists = load_set(root, "ava-style"), read_styles(root)
    assert data.labels == STYLES
    assert {e.key: e.label for e in data.train}.items() <= {str(i): label for i, label in lists.train.items()}.items()
    for example in data.test:
        assert example.truth == lists.test[int(example.key)]
        assert example.label == (example.truth[0] if example.truth else -1)
    assert any(len(e.truth) > 1 for e in data.test) and any(not e.truth for e in data.test)
    assert all(e.truth for e in load_set(root, "ava-style", drop_unlabelled=True).test)


def test_the_styles_overlap_with_the_aesthetics_test_is_told_and_can_be_left_out(made):
    root = made["ava"]
    generic = {str(i) for i in read_list(root / LISTS / "generic_test.jpgl")}
    data, without = load_set(root, "ava-style"), load_set(root, "ava-style", exclude_test_overlap=True)
    overlap = generic & {str(i) for i in read_styles(root).train}
    assert overlap and any(note.startswith(f"{len(overlap)} training") for note in data.notes)
    assert keys(without.train) == keys(data.train) - generic
    assert without.test == data.test


def test_styles_as_a_second_label(made):
    data = load_set(made["ava"], attributes=True)
    styles = read_styles(made["ava"]).train
    assert data.attributes == STYLES
    assert {e.attribute for e in data.train} > {-1}
    assert all(e.attribute == styles.get(int(e.key), -1) for e in data.train)


def test_iad_has_a_threshold_for_each_source(made):
    with made["iad"].open() as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    limits = {"photonet": 4.88, "dpchallenge": 5}
    data = load_set(made["iad"])
    for example in (*data.train, *data.test):
        row = rows[example.key]
        assert example.label == (float(row["rating"]) > limits[row["source"]]) and example.category == row["source"]
    extremes = load_set(made["iad"], variant="extremes")
    assert extremes.test == data.test
    for source in limits:
        whole = sorted(e.rating for e in data.train if e.key.startswith(source))
        kept = {label: [e.rating for e in extremes.train if e.key.startswith(source) and e.label == label] for label in (0, 1)}
        assert max(kept[0]) < min(kept[1])
        assert max(kept[0]) == pytest.approx(np.quantile(whole, 0.2), abs=0.5)
        assert len(kept[0]) + len(kept[1]) == pytest.approx(0.4 * len(whole), abs=3)


def test_a_threshold_is_the_median_of_the_training_part_unless_given(made, tmp_path):
    data = load_set(synthetic.make("csv", tmp_path / "s", images=64, sides=(8, 9)), fold=1)
    middle = np.median([e.rating for e in data.train])
    assert all(e.label == (e.rating > middle) for e in (*data.train, *data.test))
    assert any("the median of the training part" in note for note in data.notes)
    given = load_set(made["csv"], threshold=2.0)
    assert all(e.label == (e.rating > 2) for e in (*given.train, *given.test))


def test_a_category_has_the_whole_sets_split_and_labels(made):
    """A photograph that a network trained on the whole set has seen is not tested on."""
    whole, part = load_set(made["csv"], fold=1), load_set(made["csv"], fold=1, category="animal")
    for mine, everyones in ((part.train, whole.train), (part.test, whole.test)):
        assert mine == tuple(e for e in everyones if e.category == "animal") and mine


def test_no_group_is_in_both_parts_and_the_folds_make_up_the_set(made):
    tests = []
    for fold in range(5):
        data = load_set(made["csv"], fold=fold, seed=7)
        assert not {e.group for e in data.train} & {e.group for e in data.test}
        tests += [e.key for e in data.test]
    assert len(tests) == len(set(tests)) == 94
    assert load_set(made["csv"], seed=7) == load_set(made["csv"], seed=7) != load_set(made["csv"], seed=8)


def test_a_table_with_votes_a_split_and_a_second_label(made):
    data = load_set(made["histograms"], attributes=True)
    assert load_set(made["histograms"]).attributes == ()
    with made["histograms"].open() as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    for part, examples in (("train", data.train), ("test", data.test)):
        for example in examples:
            row = rows[example.key]
            votes = np.array([float(row[f"r{i}"]) for i in range(1, 11)])
            assert row["split"] == part
            assert example.rating == pytest.approx(votes @ np.arange(1, 11) / votes.sum())
            assert data.attributes[example.attribute] == row["attribute"]


def test_columns_of_other_names_and_photographs_elsewhere(tmp_path):
    for i in range(20):
        picture(tmp_path / "pictures" / f"{i}.png")
    rows = [(f"{i}.png", i, f"t{i // 2}") for i in range(20)]
    path = table(tmp_path / "a.csv", ("name", "beauty", "theme"), *rows)
    data = load_set(path, images=tmp_path / "pictures", columns={"path": "name", "rating": "beauty"}, folds=4)
    assert len(data.train) + len(data.test) == 20
    assert {e.group for e in data.test}.isdisjoint({e.group for e in data.train})


def test_labels_by_name(tmp_path):
    for i in range(12):
        picture(tmp_path / f"{i}.png")
    path = table(tmp_path / "a.csv", ("path", "label"), *[(f"{i}.png", ["cat", "dog", "eel"][i % 3]) for i in range(12)])
    data = load_set(path, folds=2)
    assert data.labels == ("cat", "dog", "eel")
    assert all(e.label == int(e.key.split(".")[0]) % 3 for e in data.train)


def test_folders_without_train_and_test_are_split(tmp_path):
    for label in ("bad", "good"):
        for i in range(10):
            picture(tmp_path / label / "sub" / f"{i}.jpg")
    data = load_set(tmp_path)
    assert data.labels == ("bad", "good")
    assert Counter(e.label for e in data.test) == {0: 2, 1: 2} and Counter(e.label for e in data.train) == {0: 8, 1: 8}


def test_a_fold_is_stratified_and_its_examples_without_a_group_are_apart():
    labels = [0] * 30 + [1] * 20
    held = split(labels, [""] * 50, fold=2, folds=5, seed=0)
    assert Counter(np.array(labels)[held].tolist()) == {0: 6, 1: 4}
    groups = [str(i // 5) if i % 2 else "" for i in range(50)]
    held = split(labels, groups, fold=0, folds=5, seed=0)
    assert 0 < held.sum() < 50
    for name in set(groups) - {""}:
        assert len({bool(h) for h, g in zip(held, groups, strict=True) if g == name}) == 1


BAD_AVA = [
    ("1 11 0 0", r"AVA\.txt: line 1 must be 15 integers, got '1 11 0 0'"),
    ("1 11 0 0 0 0 2 0 0 0 0 0 0 0 1\nx 12 0 0 0 0 2 0 0 0 0 0 0 0 1", "line 2 must be 15 integers"),
    ("1 11 0 0 0 0 0 0 0 0 0 0 0 0 1", "image 11 must have votes"),
    ("1 11 0 0 0 0 2 0 0 0 0 0 0 0 1\n2 11 0 0 0 0 2 0 0 0 0 0 0 0 1", "an id must occur once, got 11 2 times"),
    ("", "must have a line of 15 integers"),
]


@pytest.mark.filterwarnings("ignore:.*no data:UserWarning")
@pytest.mark.parametrize(("text", "message"), BAD_AVA)
def test_a_bad_line_of_ava_is_named(tmp_path, text, message):
    (tmp_path / "AVA.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_ratings(tmp_path / "AVA.txt")


def test_bad_lists_are_named(tmp_path):
    root = synthetic.make("ava", tmp_path / "a", images=64, sides=(10, 12))
    (root / LISTS / "generic_test.jpgl").write_text("12\nabc\n")
    with pytest.raises(ValueError, match=r"generic_test\.jpgl: line 2 must be an image id, got 'abc'"):
        load_set(root)
    (root / LISTS / "generic_test.jpgl").unlink()
    with pytest.raises(ValueError, match=r"generic_test\.jpgl: a set of kind ava must have this file"):
        load_set(root)
    (root / STYLE_LISTS / "train.lab").write_text("1\n")
    with pytest.raises(ValueError, match=r"train\.lab: must have a line for each of 32 ids, got 1"):
        load_set(root, "ava-style")


BAD_TABLES = [
    (("path", "rating"), [("a.png", "x")], {}, "row 2 must have a number in column rating, got 'x'"),
    (("name", "rating"), [("a.png", "1")], {}, "must have a column path or file or image, got name, rating"),
    (("path", "rating"), [("a.png", "1")], {"columns": {"rating": "beauty"}}, "has no column beauty"),
    (("path", "rating"), [("a.png", "1")], {"columns": {"beauty": "rating"}}, "columns must name meanings of path"),
    (("path",), [("a.png",)], {}, "must have a column label or rating, or r1 to r10"),
    (("path", "rating"), [], {}, "must have a row for each photograph"),
    (("path", "rating", "split"), [("a.png", "1", "dev")], {}, "column split must say train, val or test, got 'dev'"),
    (
        ("path", "rating", "split"),
        [("a.png", "1", "test"), ("a.png", "2", "train")],
        {},
        "row 3 must name a photograph that no",
    ),
    (("path", "rating"), [("a.png", "1")], {"category": "cats"}, "must have a column for the category"),
    (("path", "label"), [("a.png", "x"), ("b.png", "x")], {}, "column label must have at least two values"),
    (("path", "rating"), [("a.png", "1"), ("b.png", "2")], {}, "every label must have at least 5 examples"),
    (("path", "rating"), [("a.png", "1")], {"fold": 5}, "fold must lie in 0 to folds - 1"),
]


@pytest.mark.parametrize(("head", "rows", "options", "message"), BAD_TABLES)
def test_a_bad_table_is_named(tmp_path, head, rows, options, message):
    picture(tmp_path / "a.png")
    with pytest.raises(ValueError, match=message):
        load_set(table(tmp_path / "t.csv", head, *rows), "csv", **options)


def test_wrong_paths_kinds_and_options_are_named(made, tmp_path):
    with pytest.raises(ValueError, match="path must exist"):
        load_set(tmp_path / "nothing")
    with pytest.raises(ValueError, match="kind must be one of ava, ava-style, iad, folders, csv; got 'cifar'"):
        load_set(made["ava"], "cifar")
    with pytest.raises(ValueError, match=r"delta must not be given for a set of kind csv, got 1\.0"):
        load_set(made["csv"], delta=1.0)
    with pytest.raises(ValueError, match="category must be one of animal"):
        load_set(made["ava"], category="cars")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ValueError, match=r"path must be a folder or a CSV file, got .*a\.txt"):
        load_set(tmp_path / "a.txt")
    with pytest.raises(ValueError, match="must have photographs, got none of 96 listed"):
        load_set(made["csv"], images=tmp_path)
    (tmp_path / "only" / "label").mkdir(parents=True)
    with pytest.raises(ValueError, match="must have a folder with photographs for each of at least two labels"):
        load_set(tmp_path / "only")


def test_synthetic_sets_repeat_themselves_and_say_what_they_cannot_do(tmp_path):
    one, same, other = (
        synthetic.make("folders", tmp_path / str(n), images=64, seed=seed, sides=(8, 9)) for n, seed in enumerate((1, 1, 2))
    )
    contents = [[path.read_bytes() for path in sorted(root.rglob("*.jpg"))] for root in (one, same, other)]
    assert contents[0] == contents[1] != contents[2]
    for arguments, message in [
        ({"kind": "coco"}, "kind must be one of ava, iad"),
        ({"images": 8}, "images must be at least 64"),
        ({"corrupt": 100}, "corrupt and missing must be"),
        ({"sides": (0, 3)}, "sides must be"),
        ({"out": one}, "out must be a new or an empty folder"),
    ]:
        with pytest.raises(ValueError, match=message):
            synthetic.make(**{"kind": "csv", "out": tmp_path / "x", **arguments})


def test_real_ratings_are_read(data_dir):
    oasis = data_dir / "oasis"
    data = load_set(oasis / "ratings.csv", images=oasis / "images", columns={"rating": "beauty_mean"})
    assert len(data.train) + len(data.test) == 641 and not data.missing
    assert {e.group for e in data.train}.isdisjoint({e.group for e in data.test})
    assert {e.category for e in data.train} == {"Animal", "Object", "Person", "Scenery"}


def test_a_column_for_the_second_label_must_be_there(made):
    with pytest.raises(ValueError, match="must have a column for the attribute, got path"):
        load_set(made["csv"], attributes=True)


def test_labels_by_category_are_what_photographs_show(made):
    plain, shown = load_set(made["csv"]), load_set(made["csv"], by="category")
    assert shown.labels == plain.categories and len(shown.train) == len(plain.train)
    for mine, theirs in zip(shown.test, plain.test, strict=True):
        assert shown.labels[mine.label] == theirs.category and math.isnan(mine.rating)
    with pytest.raises(ValueError, match="of two categories or more they show, got 0"):
        load_set(made["folders"], by="category")
    with pytest.raises(ValueError, match="by must be one of quality, category"):
        load_set(made["csv"], by="beauty")


@pytest.mark.parametrize(("threshold", "why"), [(math.nan, "threshold must be finite"), (math.inf, "threshold must be finite")])
def test_a_threshold_that_is_no_number_is_refused(made, threshold, why):
    with pytest.raises(ValueError, match=why):
        load_set(made["csv"], threshold=threshold)


def test_a_training_part_of_one_label_is_told(made):
    assert "every photograph to train on is low" in load_set(made["csv"], threshold=99.0).notes
    assert not any("every photograph" in note for note in load_set(made["csv"]).notes)


def test_a_path_of_another_kind_than_asked_for_is_named(made):
    for path, kind, wanted in (
        (made["csv"], "ava", "folder"),
        (made["csv"], "folders", "folder"),
        (made["ava"], "csv", "file"),
    ):
        with pytest.raises(ValueError, match=f"path must be a {wanted} for a set of kind {kind}"):
            load_set(path, kind)
    for seed in (-1, 2**32):
        with pytest.raises(ValueError, match=f"^seed must be an integer from 0 to 4294967295, got {seed}$"):
            load_set(made["csv"], seed=seed)
    assert load_set(made["csv"], seed=2**32 - 1).train


def test_a_table_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"path,rating\nsch\xf6n.jpg,3\n")
    with pytest.raises(ValueError, match=r"t.csv: must be text in UTF-8: invalid start byte at byte"):
        load_set(tmp_path / "t.csv")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(("delimiter", "point"), [(",", "."), (";", "."), (";", ","), ("\t", ".")])
def test_what_spreadsheets_save_is_read(tmp_path, newline, mark, delimiter, point):
    rows = [(f"{i}.png", f"{1 + i / 10:.2f}".replace(".", point), f"t{i}") for i in range(10)]
    for name, *_ in rows:
        picture(tmp_path / name)
    lines = [delimiter.join(fields) for fields in [("path", "rating", "group"), *rows]]
    (tmp_path / "t.csv").write_text(mark + newline.join(lines) + newline, encoding="utf-8", newline="")
    data = load_set(tmp_path / "t.csv")
    found = {example.key: (example.rating, example.group) for example in (*data.train, *data.test)}
    assert found == {f"{i}.png": (pytest.approx(1 + i / 10), f"t{i}") for i in range(10)}
    if delimiter == ";":
        (tmp_path / "e.csv").write_text("sep=;\r\n" + "\r\n".join(lines), encoding="utf-8", newline="")
        assert load_set(tmp_path / "e.csv") == data


def test_iads_semicolons_are_recognised(tmp_path):
    lines = ["path;source;rating", *(f"{i}.png;photonet;{3 + i % 4}" for i in range(20))]
    for i in range(20):
        picture(tmp_path / f"{i}.png")
    (tmp_path / "iad.csv").write_text("\n".join(lines))
    assert kind_of(tmp_path / "iad.csv") == "iad" and len(load_set(tmp_path / "iad.csv").train) == 16


def test_one_bad_entry_costs_no_other(tmp_path):
    """Impossible paths, circular links, folders: they count as missing, and the rest is read."""
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "folder.png").mkdir()
    bad = ("a\0b.png", "x" * 300 + ".png", "/".join(["y" * 200] * 30), "loop.png", "folder.png", "0.png/inside.png")
    good = [f"{i}.png" for i in range(10)]
    for name in good:
        picture(tmp_path / name)
    table(tmp_path / "t.csv", ("path", "rating"), *((name, i) for i, name in enumerate((*good, *bad))))
    data = load_set(tmp_path / "t.csv")
    assert set(data.missing) == set(bad) and keys(data.train) | keys(data.test) == set(good)


@pytest.mark.parametrize(
    "content",
    [
        b"path,rating\n" + b"x" * 200_000 + b",1\n",
        b"\xff\xfep\0a\0t\0h\0",
        b"",
        b"\n\n",
        b"path\n",
        b"\0\0\0",
        b'path,rating\n"a',
    ],
)
def test_a_file_that_is_no_table_is_named(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.csv: "):
        load_set(tmp_path / "t.csv")


def test_thumbnails_are_neither_labels_nor_photographs(tmp_path):
    for label in ("low", "high"):
        for i in range(10):
            picture(tmp_path / label / f"{i}.png")
            picture(tmp_path / label / ".thumbnails" / f"{i}.png", 3)
            picture(tmp_path / "@eaDir" / f"{i}.png", 3)
    data = load_set(tmp_path)
    assert data.labels == ("low", "high") and len(data.train) + len(data.test) == 20


def test_avas_photographs_are_not_taken_from_thumbnails(made, tmp_path):
    root = tmp_path / "ava"
    shutil.copytree(made["ava"], root)
    for path in list((root / "images").rglob("*.jpg")):
        picture(root / ".thumbnails" / path.name, 3)
        picture(root / "@eaDir" / path.name, 3)
    data = load_set(root)
    assert all("/images/" in example.source for example in (*data.train, *data.test)) and data.train
    for path in (root / "AVA.txt", root / LISTS / "generic_test.jpgl"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_set(root) == data
