"""`dcnn-fast score --embed`: exiftool writes stars into JPEG files; pixels stay, and the original file is kept beside it."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests.cli.command import files_of, score
from tests.cli.conftest import photograph
from tests.other_programs import exiftool_ratings, exiv2_properties, need
from tests.xmp.samples import ADOBE, DARKTABLE, rated

OPTIONS = ("--embed", "--stars", "0,100,0,0,0")


@pytest.fixture
def photos(tmp_path):
    """JPEG files without XMP, with other programs' XMP, with a person's rating, with EXIF and a profile; and a PNG file."""
    need("exiftool")
    folder = tmp_path / "p"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, more in {
        "plain": {}, "adobe": {"xmp": ADOBE.encode()}, "zero": {"xmp": rated(0).encode()}, "five": {"xmp": rated(5).encode()},
        "exif": {"exif": exif, "icc_profile": b"\0" * 3000, "comment": b"a comment"}, "progressive": {"progressive": True},
    }.items():  # fmt: skip
        Image.fromarray(pixels).save(folder / f"{name}.jpg", **more)
    photograph(folder / "other.png", 2)
    return folder


def run(model, folder, *options, status=0, **more):
    done = score(model, folder, *options, **more)
    assert done.returncode == status, done.stderr
    return done


def pixels_of(path):
    with Image.open(path, formats=["JPEG"]) as image:
        return np.array(image), image.getexif().tobytes(), image.info.get("icc_profile"), image.info.get("comment")


def test_stars_are_in_the_file_and_all_else_is_as_it_was(model, photos):
    before = files_of(photos)
    pictures = {path.name: pixels_of(path) for path in photos.glob("*.jpg")}
    had = [line for line in exiv2_properties(photos / "adobe.jpg") if "Rating" not in line]
    os.chmod(photos / "plain.jpg", 0o640)
    done = run(model, photos, *OPTIONS)
    told = "1 left alone: no JPEG files, 1 left alone: rated by a person, 5 written"
    assert f"stars in photographs: {told}" in done.stderr, done.stderr
    names = ["plain", "adobe", "zero", "exif", "progressive"]
    assert exiftool_ratings(*(photos / f"{name}.jpg" for name in names)) == [4] * 5
    assert [line for line in exiv2_properties(photos / "adobe.jpg") if "Rating" not in line] == had
    for name in names:
        for ours, theirs in zip(pixels_of(photos / f"{name}.jpg"), pictures[f"{name}.jpg"], strict=True):
            assert np.array_equal(ours, theirs) if isinstance(ours, np.ndarray) else ours == theirs
        assert (photos / f"{name}.jpg_original").read_bytes() == before[str(photos / f"{name}.jpg")]
    for name in ("five.jpg", "other.png"):
        assert (photos / name).read_bytes() == before[str(photos / name)]
    assert (photos / "plain.jpg").stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(photos)) == sorted(
        ["five.jpg", "other.png", *(f"{name}.jpg{end}" for name in names for end in ("", "_original"))]
    )
    again = files_of(photos)
    assert "5 as they were" in run(model, photos, *OPTIONS).stderr and files_of(photos) == again


def test_a_second_rating_keeps_the_first_original(model, photos):
    before = (photos / "plain.jpg").read_bytes()
    run(model, photos, *OPTIONS)
    run(model, photos, "--embed", "--stars", "0,0,0,100,0")
    assert exiftool_ratings(photos / "plain.jpg") == [2]
    assert (photos / "plain.jpg_original").read_bytes() == before


def test_a_sidecar_with_a_persons_rating_speaks_for_the_photograph(model, photos):
    (photos / "plain.jpg.xmp").write_text(rated(1))
    (photos / "adobe.xmp").write_text(DARKTABLE)
    run(model, photos, *OPTIONS, "--xmp")
    assert exiftool_ratings(photos / "plain.jpg", photos / "adobe.jpg", photos / "adobe.xmp") == [None, 4, 4]


def test_what_cannot_be_written_rightly_is_refused_by_name(model, photos):
    whole = (photos / "plain.jpg").read_bytes()
    (photos / "large.jpg").write_bytes(whole)
    with Image.open(photos / "plain.jpg") as image:
        image.save(photos / "large.jpg", xmp=(ADOBE + " " * (65_400 - len(ADOBE.encode()))).encode(), quality="keep")
        more = ADOBE.replace(
            "photoshop:Side", 'xmpNote:HasExtendedXMP="1" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" photoshop:Side'
        )
        image.save(photos / "extended.jpg", xmp=more.encode(), quality="keep")
        image.save(photos / "broken.jpg", xmp=DARKTABLE[:-50].encode(), quality="keep")
    os.symlink("exif.jpg", photos / "link.jpg")
    before = {name: (photos / name).read_bytes() for name in ("large.jpg", "extended.jpg", "broken.jpg")}
    listing = [photos / name for name in ("plain.jpg", *before, "link.jpg")]
    done = score(model, *listing, *OPTIONS)
    assert done.returncode == 3 and done.stderr.count("error: ") == 4, done.stderr
    for name, why in (
        ("large.jpg", "no room"),
        ("extended.jpg", "goes on in other segments"),
        ("broken.jpg", "is no XML"),
        ("link.jpg", "is a link"),
    ):
        assert any(name in line and why in line for line in done.stderr.splitlines()), (name, done.stderr)
    assert {name: (photos / name).read_bytes() for name in before} == before
    assert exiftool_ratings(photos / "plain.jpg", photos / "exif.jpg") == [4, None]


def test_a_dry_run_starts_no_program_and_changes_nothing(model, photos, tmp_path):
    before = files_of(photos)
    done = run(model, photos, *OPTIONS, "--dry-run")
    assert files_of(photos) == before and done.stdout.count("4 of five stars, in the file") == 5


def fake(tmp_path, script):
    """A folder with a program called exiftool."""
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "exiftool").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "exiftool").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo no disk >&2; exit 1", "exiftool has not written its rating: no disk"),
        ("for f in *.jpg; do : > $f; done", "it is no JPEG file"),
        ("rm *.jpg", "No such file"),
        (
            'r=$(PATH=/usr/bin:/bin:/usr/local/bin command -v exiftool); "$r" "$@"; for f in *.jpg; do printf x >> $f; done',
            "would change more than its XMP",
        ),
    ],
)  # fmt: skip
def test_a_program_that_does_otherwise_harms_no_photograph(model, photos, tmp_path, script, why):
    before = files_of(photos)
    done = run(model, photos, *OPTIONS, status=3, env=fake(tmp_path, script))
    assert done.stderr.count("error: ") == 5 and why in done.stderr, done.stderr
    assert files_of(photos) == before


def test_without_exiftool_the_option_is_refused(model, photos, tmp_path):
    done = score(model, photos, "--embed", env={"PATH": str(tmp_path)})
    assert done.returncode == 2, done.stderr
    assert (
        done.stderr == "error: --embed needs the program exiftool, which is not installed; --xmp writes sidecars without it\n"
    )


def test_names_that_a_program_could_take_for_something_else(model, photos):
    names = ["-delete_original.jpg", "%d%f.jpg", "@list.jpg", "a b;c.jpg", "quote'\".jpg"]
    for name in names:
        os.link(photos / "plain.jpg", photos / name)
    run(model, photos, *OPTIONS)
    assert exiftool_ratings(*(photos / name for name in names)) == [4] * len(names)


def test_a_configuration_of_exiftool_is_not_run(model, photos, tmp_path):
    (tmp_path / ".ExifTool_config").write_text(f"open(F, '>', '{tmp_path}/ran'); 1;")
    run(model, photos, *OPTIONS, env={"HOME": str(tmp_path), "EXIFTOOL_HOME": str(tmp_path)})
    assert not (tmp_path / "ran").exists() and exiftool_ratings(photos / "plain.jpg") == [4]
    subprocess.run(
        ["exiftool", str(photos / "plain.jpg")],
        env={**os.environ, "EXIFTOOL_HOME": str(tmp_path)},
        check=True,
        capture_output=True,
    )
    assert (tmp_path / "ran").exists()  # it would have been
