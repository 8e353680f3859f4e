"""`dcnn-fast data import page`: choices made in the culling page, and a model adapted to them."""

from __future__ import annotations

import pytest

from dcnn_fast.data import load_set
from tests.cli.command import rows, run
from tests.cli.conftest import photograph

HEAD = "path,rating,choice\n"


@pytest.fixture
def photos(tmp_path):
    for i, name in enumerate(("a.png", "b.png", "c.png", 'comma, "quote".png', "d.png")):
        (tmp_path / "p").mkdir(exist_ok=True)
        photograph(tmp_path / "p" / name, i)
    return tmp_path


def imported(folder, content, *options, status=0, words=("page",)):
    (folder / "choices.csv").write_text(content)
    done = run("data", "import", *words, folder / "choices.csv", folder / "labels.csv", *options, cwd=folder)
    assert done.returncode == status, done.stderr
    return done


@pytest.mark.parametrize("words", [("page",), ()])
def test_stars_and_rejections_become_rows_and_the_rest_is_counted(photos, words):
    chosen = f'{photos}/p/a.png,4,picked\np/b.png,,rejected\np/c.png,3,rejected\n"p/comma, ""quote"".png",1,\np/d.png,,picked\n'
    done = imported(photos, HEAD + chosen, words=words)
    assert "1 photographs have neither stars nor a rejection, and no row" in done.stderr
    assert [(row["path"], row["rating"], row["rated_in"]) for row in rows(photos / "labels.csv")] == [
        ("p/a.png", "4", "choices.csv"), ("p/b.png", "0", "choices.csv"), ("p/c.png", "0", "choices.csv"),
        ('p/comma, "quote".png', "1", "choices.csv"),
    ]  # fmt: skip
    assert {example.rating for example in load_set(photos / "labels.csv", folds=2).train} <= {0, 1, 4}


def test_relative_paths_start_from_the_folder_that_images_names_or_from_here(photos, tmp_path):
    done = imported(photos, HEAD + "a.png,2,\ngone.png,3,\n", "--images", photos / "p", status=1)
    assert [row["path"] for row in rows(photos / "labels.csv")] == ["p/a.png"]
    assert f"left out: {photos}/p/gone.png: it is not there" in done.stderr
    (photos / "labels.csv").unlink()
    done = imported(photos, HEAD + "a.png,2,\n", status=2)
    assert "must list photographs, got none" in done.stderr and "--images names the folder" in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,rating\na.png,3\n", "must have the columns path, rating, choice, got path, rating"),
        (HEAD + "p/a.png,6,\n", "row 2 must have one to five stars or none, got '6'"),
        (HEAD + "p/a.png,2.5,\n", "row 2 must have one to five stars"),
        (HEAD + "p/a.png,0,\n", "row 2 must have one to five stars"),
        (HEAD + "p/b.png,2,\np/a.png,2,best\n", "row 3 must be picked, rejected or neither, got 'best'"),
        (HEAD + "p/a.png,2,\np/a.png,3,\n", "row 3 must name a photograph that no other row names"),
        (HEAD + ",2,\n", "row 2 must name a photograph"),
        (HEAD, "must list photographs, got none"),
        ("", ""),
    ],
)
def test_what_the_page_has_not_written_is_named(photos, content, message):
    done = imported(photos, content, status=2)
    assert message in done.stderr and "Traceback" not in done.stderr
    assert not (photos / "labels.csv").exists()


def test_a_choice_file_is_told_from_other_csv_files(photos):
    done = imported(photos, "image,1,2,3,4,5,6,7,8,9,10\n1.jpg,1,2,3,4,5,6,7,8,9,10\n", words=())
    assert rows(photos / "labels.csv")[0]["r10"] == "10.0", done
