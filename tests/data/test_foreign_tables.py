"""Other projects' CSV files of ratings: the meaning of each field, and heads that are ambiguous."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dcnn_fast.data.foreign_tables import matched, read_foreign

ROW = "687050,1,5,6,51,117,78,29,10,6,1,12,30,873"
VOTES = [1, 5, 6, 51, 117, 78, 29, 10, 6, 1]


def numbered(prefix, numbers=range(1, 11)):
    return tuple(f"{prefix}{i}" for i in numbers)


def read(folder, text, name="labels.csv", **columns):
    (folder / name).write_text(text, encoding="utf-8", newline="")
    return read_foreign(folder / name, folder, columns)


def photograph(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(path)


def test_votes_are_told_by_the_head_and_not_by_their_place(tmp_path):
    head = ",".join(("image_id", *numbered("score", range(2, 12)), "tag1", "tag2", "tag3"))
    found = read(tmp_path, f"{head}\n{ROW}\n")
    assert found.head == ("path", *numbered("r")) and found.rows == [("687050.jpg", *VOTES)]
    assert found.notes[0] == (
        "image_id names the photographs; score2 to score11 are the votes for 1 to 10; not used: tag1, tag2, tag3"
    )


@pytest.mark.parametrize("first", [0, 1, 2])
@pytest.mark.parametrize("prefix", ["vote_", "r", "", "Rating ", "count-", "stars.", "n0_"])
def test_votes_have_any_common_prefix_and_any_order(tmp_path, prefix, first):
    names = numbered(prefix, range(first, first + 10))
    order = np.random.default_rng(first).permutation(10)
    head = ",".join([*(names[i] for i in order[:4]), "Image-Name", *(names[i] for i in order[4:]), "std"])
    row = ",".join([*(str(VOTES[i]) for i in order[:4]), "a.jpg", *(str(VOTES[i]) for i in order[4:]), "0.5"])
    assert read(tmp_path, f"{head}\n{row}\n").rows == [("a.jpg", *VOTES)]


@pytest.mark.parametrize(
    ("head", "row", "rating"),
    [
        (
            ("image_name", "c1", "c2", "c3", "c4", "c5", "c_total", "MOS", "SD", "MOS_zscore"),
            "a.jpg,0,0,25,73,7,105,3.8,.5,79",
            3.8,
        ),
        (("Image name", "MOS", "Brightness", "Sharpness"), "a.jpg,47.33,50,40", 47.33),
        (("image", "score"), "a.jpg,5.25", 5.25),
        (("", "filename", "mean", "std"), "0,a.jpg,4.5,1", 4.5),
        (("id", "mean_score"), "a.jpg,4.5", 4.5),
        (("img_name", "mos", "std", "ref_name"), "a.jpg,4.5,1,b", 4.5),
    ],
)
def test_heads_of_public_sets_have_one_rating(tmp_path, head, row, rating):
    found = read(tmp_path, ",".join(head) + f"\n{row}\n")
    assert found.head == ("path", "rating", "rated_in") and found.rows == [("a.jpg", rating, "labels.csv")]


AMBIGUOUS = [
    (("image_id", *numbered("v"), *numbered("p")), {}, "must have one histogram of votes, got v1 to v10, p1 to p10"),
    (("image_id", "mean", "MOS"), {}, "must have one column for the rating, got mean, MOS; --field rating=NAME"),
    (("image_id", "filename", "mean"), {}, "must have one column for the path, got image_id, filename"),
    (("id", "name", "mean"), {}, "must have one column for the path, got id, name"),
    (("image_id", *numbered("v", range(1, 12))), {}, "votes must be ten columns with consecutive numbers"),
    (("image_id", *numbered("v", range(5, 15))), {"votes": "v"}, "votes must be ten columns with consecutive numbers"),
    (("image_id", *numbered("v"), "V3"), {}, "votes must be ten columns, got v3, V3 for one rating"),
    (("image_id", *numbered("v"), "v3"), {}, "must be there once, got v3 2 times"),
    (("image_id", "score", "score"), {}, "must have one column for the rating, got score, score"),
    (("image_id", "score"), {"votes": "v"}, "votes must be ten columns with consecutive numbers from 0, 1 or 2 on, got none"),
    (("image_id", "tag1", "tag2"), {}, "must have a column of ratings, as mean, or ten of votes"),
    (("a", "b", "mean"), {}, "must have a head with a column that names the photographs"),
    (("687050", "1", "5", "6"), {}, "must have a head with a column that names the photographs"),
    (("image", "mean"), {"rating": "mos"}, "has no column mos; it has image, mean"),
    (("image", "mean"), {"theme": "mean"}, "columns must name meanings of path, rating, votes, split; got theme"),
    (("image", "mean"), {"rating": "image"}, "a column must be one thing, got image, image"),
]


@pytest.mark.parametrize(("head", "columns", "message"), AMBIGUOUS)
def test_a_head_that_leaves_a_choice_is_refused(tmp_path, head, columns, message):
    with pytest.raises(ValueError, match="labels.csv: |columns must") as raised:
        read(tmp_path, ",".join(head) + "\n" + ",".join(["1"] * len(head)) + "\n", **columns)
    assert message in str(raised.value)


def test_a_choice_may_be_told(tmp_path):
    both = matched(tmp_path, ("image_id", *numbered("v"), *numbered("p"), "mean", "MOS"), {"votes": "P", "path": "image_id"})
    assert both.votes == numbered("p") and both.rating is None and "mean" in both.unused
    one = matched(tmp_path, ("image_id", *numbered("v"), "mean", "MOS"), {"rating": "MOS"})
    assert one.rating == "MOS" and one.votes == () and "v1" in one.unused


def test_a_rating_beside_votes_of_another_mean_is_noted_and_where_most_are_refused(tmp_path):
    head = ",".join(("image", "mean", *numbered("v")))
    right = [f"{i}.jpg,{i % 10 + 1}," + ",".join("5" if k == i % 10 else "0" for k in range(10)) for i in range(6)]
    found = read(tmp_path, "\n".join([head, *right, "x.jpg,9,3" + ",0" * 9]))
    assert found.head == ("path", "rating", *numbered("r")) and len(found.rows) == 7
    assert found.notes[1].endswith("are contradicted by the votes beside them: 'x.jpg' has 9 and votes of the mean 1")
    assert len(read(tmp_path, "\n".join([head, *right])).notes) == 1
    wrong = [f"x{i}.jpg,9,3" + ",0" * 9 for i in range(7)]
    with pytest.raises(
        ValueError, match=r"mean contradicts the votes v1 to v10 in 7 of 13 rows, 'x0\.jpg' has 9 .* says which"
    ):
        read(tmp_path, "\n".join([head, *right, *wrong]))
    told = read(tmp_path, "\n".join([head, *right, *wrong]), votes="v")
    assert told.head == ("path", *numbered("r"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,mean\na.jpg,3\na.jpg,4\n", "row 3 must name a photograph that no other row names, got 'a.jpg'"),
        ("image,mean\n,3\n", "row 2 must name a photograph"),
        ("image,mean\na.jpg,3,5\n", "row 2 must have 2 fields as the head has, got 3"),
        ("image,mean\na.jpg\n", "row 2 must have a number in column mean"),
        ("image,mean\na.jpg,1_0\n", "row 2 must have a number in column mean, got '1_0'"),
        ("image;mean\na.jpg;3,5\nb.jpg;3.5\n", "row 3 must have a number in column mean with the decimal sign of those above"),
        ("image,mean,split\na.jpg,3,dev\n", "column split must say train, val or test, got 'dev'"),
        ("image,mean\nimg\\a.jpg,3\n", r"row 2 must name a photograph by its path, got 'img\\a.jpg', as Windows writes paths"),
        ("image,mean\na.jpg,3\nfile:///b.jpg,3\n", "row 3 must name a photograph by its path, got 'file:///b.jpg', an address"),
        ("image," + ",".join(numbered("v")) + "\na.jpg" + ",0" * 10 + "\n", "row 2 must have votes, none negative"),
        ("image," + ",".join(numbered("v")) + "\na.jpg,-1" + ",1" * 9 + "\n", "row 2 must have votes, none negative"),
        ("image,mean\n", "must list photographs, got none"),
        ("", "must list photographs, got none"),
    ],
)
def test_a_row_that_is_none_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match="labels.csv: ") as raised:
        read(tmp_path, text)
    assert message.replace("\\\\", "\\") in str(raised.value).replace("\\\\", "\\")


def test_photographs_are_found_by_path_name_and_id(tmp_path):
    for name in ("sub/12.jpg", "deep/er/b.png", "c.webp"):
        photograph(tmp_path / name)
    text = "image,mean\n12,1\nb.png,2\nc.webp,3\nb2.png,4\n013,5\n"
    assert [path for path, *_ in read(tmp_path, text).rows] == [
        str(tmp_path / "sub" / "12.jpg"), str(tmp_path / "deep" / "er" / "b.png"), str(tmp_path / "c.webp"), "b2.png", "13.jpg",
    ]  # fmt: skip
    assert read(tmp_path, "image,mean\n12.0,1\n").rows[0][0].endswith("12.jpg")  # pandas writes ids so beside empty fields
    photograph(tmp_path / "other" / "b.png")
    with pytest.raises(
        ValueError, match=r"'b\.png' must be one photograph, got (deep/er|other)/b\.png, (deep/er|other)/b\.png"
    ):
        read(tmp_path, "image,mean\nb.png,2\n")


def test_a_split_goes_along(tmp_path):
    found = read(tmp_path, "image\tmean\tsplit\na.jpg\t3,5\ttest\nb.jpg\t4,5\ttrain\n")
    assert found.head == ("path", "rating", "split", "rated_in")
    assert found.rows[0] == ("a.jpg", 3.5, "test", "labels.csv")


def _imported(folder, text):
    path = folder / "list.csv"
    path.write_text(text)
    return [row[0] for row in read_foreign(path, folder).rows]


def test_a_photograph_of_the_same_name_in_another_folder_is_another_one(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("1.png", "a/2.png"):
        (tmp_path / name).touch()
    found = _imported(tmp_path, "filename,mean\ntrain/1.png,9\nb/2.png,3\na/2.png,4\n")
    assert found == ["train/1.png", "b/2.png", str(tmp_path / "a" / "2.png")]


def test_one_photograph_by_two_names_is_refused_with_both_rows(tmp_path):
    (tmp_path / "1.png").touch()
    with pytest.raises(ValueError, match="row 3 .* '001' is that of row 2"):
        _imported(tmp_path, "image_id,mean\n1,10\n001,2\n")


def test_ten_raters_are_no_votes(tmp_path):
    head = ",".join(f"rater{i}" for i in range(1, 11))
    with pytest.raises(ValueError, match="must have a column of ratings"):
        _imported(tmp_path, f"image,{head}\n1.png,1,2,3,4,5,1,2,3,4,5\n")


def test_votes_with_thousands_are_refused(tmp_path):
    head = "\t".join(f"vote_{i}" for i in range(1, 11))
    with pytest.raises(ValueError, match="votes must be written without commas, got '1,200' in column vote_3"):
        _imported(tmp_path, f"image\t{head}\n1.png\t1\t2\t1,200\t4\t5\t1\t2\t3\t4\t5\n")
