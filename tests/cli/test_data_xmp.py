"""`dcnn-fast data import xmp`: ratings that people gave in other programs, and a model adapted to them."""

from __future__ import annotations

import os
import subprocess

import pytest
from PIL import Image, PngImagePlugin

from dcnn_fast.data import load_set
from tests.cli.command import files_of, rows, run, score
from tests.cli.conftest import photograph
from tests.other_programs import need
from tests.xmp.samples import ADOBE, DARKTABLE, ELEMENT, rated


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "p"
    (folder / "sub").mkdir(parents=True)
    return folder


def given(folder, name, *, sidecar=None, adobe=None, embedded=None, content=None):
    """A photograph with these ratings."""
    path = folder / name
    photograph(path, len(name))
    if embedded is not None:
        with Image.open(path) as image:
            if path.suffix == ".png":
                texts = PngImagePlugin.PngInfo()
                texts.add_itxt("XML:com.adobe.xmp", rated(embedded))
                image.save(path, pnginfo=texts)
            else:
                image.save(path, xmp=rated(embedded).encode())
    for target, stars in ((f"{path}.xmp", sidecar), (path.with_suffix(".xmp"), adobe)):
        if stars is not None:
            with open(target, "w", encoding="utf-8") as file:
                file.write(rated(stars))


def imported(photos, tmp_path, *options, status=0):
    done = run("data", "import", "xmp", photos, tmp_path / "labels.csv", *options)
    assert done.returncode == status, done.stderr
    return done, {row["path"]: (row["rating"], row["rated_in"]) for row in rows(tmp_path / "labels.csv")}


def test_ratings_of_both_names_and_of_photographs_become_rows(photos, tmp_path):
    given(photos, "a.jpg", sidecar=5)
    given(photos, "b.jpg", adobe=1)
    given(photos, "c.jpg", embedded=3)
    given(photos, "sub/d.png", embedded=2)
    given(photos, "e.webp", embedded=4)
    given(photos, "f.jpg", sidecar=-1)
    given(photos, "g.jpg", sidecar=0)
    given(photos, "h.jpg")
    given(photos, "i.jpg", sidecar=4, adobe=4, embedded=4)
    given(photos, "j.jpg", sidecar=0, embedded=2)
    photograph(photos / "k.jpg")
    (photos / "k.jpg.xmp").write_bytes(ELEMENT.format(stars=2).encode("utf-16"))
    given(photos, "l.jpg", sidecar=3)
    given(photos, "l.jpg.png")  # exported from l.jpg, whose sidecar does not belong to it
    before = files_of(photos)
    done, found = imported(photos, tmp_path)
    assert found == {
        "p/a.jpg": ("5", "a.jpg.xmp"), "p/b.jpg": ("1", "b.xmp"), "p/c.jpg": ("3", "c.jpg"), "p/sub/d.png": ("2", "d.png"),
        "p/e.webp": ("4", "e.webp"), "p/f.jpg": ("0", "f.jpg.xmp"), "p/i.jpg": ("4", "i.jpg.xmp"), "p/j.jpg": ("2", "j.jpg"),
        "p/k.jpg": ("2", "k.jpg.xmp"), "p/l.jpg": ("3", "l.jpg.xmp"),
    }  # fmt: skip
    assert "10 rows in" in done.stdout and not done.stderr and files_of(photos) == before
    data = load_set(tmp_path / "labels.csv", folds=2)
    assert sorted(example.rating for example in (*data.train, *data.test)) == [0, 1, 2, 2, 2, 3, 3, 4, 4, 5]


def test_what_files_say_differently_or_unclearly_is_left_out_and_named(photos, tmp_path):
    given(photos, "good.jpg", sidecar=5)
    given(photos, "differ.jpg", sidecar=5, adobe=3)
    given(photos, "inside.jpg", sidecar=5, embedded=4)
    given(photos, "two.jpg", adobe=3)
    given(photos, "two.png")
    given(photos, "odd.jpg", sidecar=99)
    given(photos, "broken.jpg")
    (photos / "broken.jpg.xmp").write_text(DARKTABLE[:-20])
    given(photos, "bomb.jpg")
    (photos / "bomb.jpg.xmp").write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + rated(3))
    given(photos, "link.jpg")
    os.symlink("good.jpg.xmp", photos / "link.jpg.xmp")
    done, found = imported(photos, tmp_path, status=1)
    assert found == {"p/good.jpg": ("5", "good.jpg.xmp")}
    for name, why in {
        "differ.jpg": "its ratings differ: differ.jpg.xmp says 5, differ.xmp says 3",
        "inside.jpg": "its ratings differ: inside.jpg.xmp says 5, inside.jpg says 4",
        "two.jpg": "its rating, in two.xmp, may be that of two.png",
        "two.png": "its rating, in two.xmp, may be that of two.jpg",
        "odd.jpg.xmp": "xmp:Rating must be -1 or 0 to 5, got '99'", "broken.jpg.xmp": "it is no XML",
        "bomb.jpg.xmp": "it has a DTD", "link.jpg.xmp": "it is a link",
    }.items():  # fmt: skip
        assert f"left out: {photos}/{name}: {why}" in done.stderr, (name, done.stderr)
    assert done.stderr.count("\n") == 8


def test_many_that_are_left_out_are_counted(photos, tmp_path):
    given(photos, "good.jpg", sidecar=5)
    for number in range(13):
        given(photos, f"{number}.jpg", sidecar="x")
    done, _ = imported(photos, tmp_path, status=1)
    assert done.stderr.count("\n") == 11 and "left out: 3 more" in done.stderr


def test_what_the_program_rated_itself_is_not_learnt_from(photos, tmp_path, model):
    for number in range(6):
        given(photos, f"{number}.jpg")
    given(photos, "mine.jpg", sidecar=2)
    assert score(model, photos, "--xmp").returncode == 0
    done, found = imported(photos, tmp_path)
    assert found == {"p/mine.jpg": ("2", "mine.jpg.xmp")}
    assert "6 photographs have no rating but this program's own, which is left out" in done.stderr
    changed = (photos / "0.jpg.xmp").read_text()
    (photos / "0.jpg.xmp").write_text(
        changed[: changed.index(':Rating="') + 9] + "5" + changed[changed.index(':Rating="') + 10 :]
    )
    _, found = imported(photos, tmp_path, "--overwrite")
    assert found.keys() == {"p/mine.jpg"} | ({"p/0.jpg"} if ':Rating="5" dcnn' not in changed else set())


@pytest.mark.parametrize("how", ["exiftool", "exiv2"])
def test_what_other_programs_write_is_read(photos, tmp_path, how):
    need(how)
    for number in range(1, 6):
        given(photos, f"{number}.jpg")
        command = {
            "exiftool": ["exiftool", "-config", "", "-q", "-overwrite_original", f"-XMP-xmp:Rating={number}"],
            "exiv2": ["exiv2", f"-Mset Xmp.xmp.Rating {number}"],
        }[how]  # fmt: skip
        subprocess.run([*command, str(photos / f"{number}.jpg")], check=True, capture_output=True)
        if how == "exiftool":
            subprocess.run(
                ["exiftool", "-config", "", "-q", f"-XMP-xmp:Rating={6 - number}", str(photos / "sub" / f"{number}.jpg.xmp")],
                check=True,
            )
            photograph(photos / "sub" / f"{number}.jpg")
    _, found = imported(photos, tmp_path)
    assert {path: stars for path, (stars, _) in found.items() if "sub" not in path} == {
        f"p/{n}.jpg": str(n) for n in range(1, 6)
    }
    if how == "exiftool":
        assert {path: stars for path, (stars, _) in found.items() if "sub" in path} == {
            f"p/sub/{n}.jpg": str(6 - n) for n in range(1, 6)
        }


def test_a_folder_without_any_rating_is_refused(photos, tmp_path):
    given(photos, "a.jpg")
    (photos / "a.jpg.xmp").write_text(ADOBE)
    done = run("data", "import", "xmp", photos, tmp_path / "labels.csv")
    assert done.returncode == 2 and "must list photographs, got none" in done.stderr and not (tmp_path / "labels.csv").exists()
    done = run("data", "import", "xmp", photos / "a.jpg", tmp_path / "labels.csv")
    assert done.returncode == 2 and "source must be a folder for the format xmp" in done.stderr
    done = run("data", "import", "xmp", photos, tmp_path / "labels.csv", "--images", photos)
    assert done.returncode == 2 and "images has no place in the format xmp" in done.stderr


def test_a_file_that_is_no_import_is_not_replaced(photos, tmp_path):
    given(photos, "a.jpg", sidecar=3)
    (tmp_path / "labels.csv").write_text("path,rating\nmine.jpg,3\n")
    for options in ((), ("--overwrite",)):
        done = run("data", "import", "xmp", photos, tmp_path / "labels.csv", *options)
        assert done.returncode == 2 and "it is left as it is" in done.stderr
    assert (tmp_path / "labels.csv").read_text() == "path,rating\nmine.jpg,3\n"


def test_rate_adapt_and_score_the_rest(tmp_path):
    """The whole path with the shipped model: this person prefers bright photographs, and the adapted model follows."""
    import numpy as np  # noqa: PLC0415

    photos = tmp_path / "p"
    photos.mkdir()
    for number in range(40):
        pixels = np.random.default_rng(number).integers(0, 40, (60, 80, 3)) + 5 * (number * 7 % 40)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(photos / f"{number:02}.png")
        if number < 30:
            (photos / f"{number:02}.png.xmp").write_text(rated(1 + (number * 7 % 40) // 8))
    assert imported(photos, tmp_path)[0].returncode == 0
    adapted = run("adapt", "shipped", tmp_path / "labels.csv", "--out", tmp_path / "mine")
    assert adapted.returncode == 0, adapted.stderr
    done = run("score", photos, "--model", tmp_path / "mine" / "best.safetensors", "--xmp", "--csv", tmp_path / "s.csv")
    assert done.returncode == 0 and "10 written" in done.stderr and "30 left alone: rated by a person" in done.stderr, (
        done.stderr
    )
    scores = {os.path.basename(row["path"]): float(row["mean"]) for row in rows(tmp_path / "s.csv")}
    rest = sorted(range(30, 40), key=lambda number: number * 7 % 40)
    low, high = ([scores[f"{number:02}.png"] for number in part] for part in (rest[:5], rest[5:]))
    assert max(low) < max(high) and sum(low) < sum(high)
