"""HEIF files and cameras' raw files: their pixels, their notes, and the messages where they cannot be read."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dcnn_fast import Scorer
from dcnn_fast.data import ReadError, folders, read
from tests import small
from tests.data import camera_files


def upright(jpeg, orientation):
    """The JPEG's pixels, turned by Pillow."""
    image = Image.open(io.BytesIO(jpeg))
    turns = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
    turn = turns[orientation]
    return np.asarray(image if turn is None else image.transpose(turn))


def test_a_heif_file_is_read():
    photo = read(camera_files.HEIC)
    assert photo.pixels.shape == (48, 64, 3) and photo.notes == ()
    rows, columns = np.mgrid[0:48, 0:64]
    near = np.stack([columns * 4, rows * 5, np.full_like(rows, 90)], axis=-1)
    near[8:20, 10:24] = 250, 20, 30
    assert np.abs(photo.pixels.astype(int) - near).mean() < 4


def test_pillow_does_not_learn_it_from_us():
    read(camera_files.HEIC)
    assert "HEIF" not in Image.ID


@pytest.mark.parametrize("cut", [13, 100, 300, 700])
def test_a_heif_file_that_is_cut_short_is_named(cut):
    with pytest.raises(ReadError) as raised:
        read(camera_files.HEIC[:cut])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_of_a_raw_file_the_preview_is_read_upright(orientation, tmp_path):
    jpeg = camera_files.preview()
    path = tmp_path / "a.dng"
    path.write_bytes(camera_files.dng(jpeg, orientation))
    photo = read(path)
    np.testing.assert_array_equal(photo.pixels, upright(jpeg, orientation))
    height, width, _ = photo.pixels.shape
    assert photo.notes == (f"the camera's preview inside the raw file was read, {width} x {height} pixels",)


def test_a_preview_that_says_how_it_is_turned_is_believed():
    jpeg = camera_files.preview(orientation=8)
    np.testing.assert_array_equal(read(camera_files.dng(jpeg, 6)).pixels, upright(jpeg, 8))


def test_a_preview_may_be_pixels():
    jpeg = camera_files.preview()
    for orientation in (1, 6):
        np.testing.assert_array_equal(read(camera_files.dng(jpeg, orientation, plain=True)).pixels, upright(jpeg, orientation))


def test_the_scores_row_says_that_it_is_of_a_preview():
    score = Scorer(small.model(), samples=2).score(camera_files.dng(camera_files.preview(300, 400)))
    assert any(note.startswith("the camera's preview") for note in score.notes)


def test_a_raw_file_without_a_preview_is_named():
    with pytest.raises(ReadError, match="raw file"):
        read(camera_files.dng(camera_files.preview(), thumbnail=False))


def test_raw_files_that_are_damaged_end():
    """With any byte changed or any length, reading ends with pixels or one line of error."""
    random = np.random.default_rng(4)
    whole = camera_files.dng(camera_files.preview())
    damaged = [whole[: int(cut)] for cut in random.integers(1, len(whole), 40)]
    for _ in range(150):
        changed = bytearray(whole)
        for _ in range(int(random.integers(1, 4))):
            changed[int(random.integers(0, 700))] = int(random.integers(0, 256))
        damaged.append(bytes(changed))
    for data in damaged:
        try:
            assert read(data).pixels.ndim == 3
        except ReadError as error:
            assert "\n" not in str(error)


def test_a_plain_tiff_is_no_raw_file():
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "TIFF", tiffinfo={271: "Scanner", 254: 1})
    photo = read(buffer.getvalue())
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert photo.notes == ()


def found(folder):
    search = folders.Search()
    names = [each.path.rsplit("/", 1)[1] for each in search.files([str(folder)])]
    return names, search.passed


def test_a_raw_file_and_its_jpeg_are_one_photograph(tmp_path):
    for name in ("a.NEF", "a.jpg", "b.nef", "C.Dng", "c.JPEG", "d.heic", "d.cr2", "e.mp4"):
        (tmp_path / name).touch()
    names, passed = found(tmp_path)
    assert names == ["a.jpg", "c.JPEG", "d.heic", "b.nef"]
    assert passed.raw_files == 3 and not passed.with_extra and dict(passed.unreadable) == {".mp4": 1}


def test_the_raw_file_of_an_excluded_jpeg_is_taken(tmp_path):
    for name in ("a.nef", "a.jpg"):
        (tmp_path / name).touch()
    search = folders.Search(exclude=["*.jpg"])
    assert [each.path for each in search.files([str(tmp_path)])] == [str(tmp_path / "a.nef")]


WITHOUT = """
import sys
sys.modules["pi_heif"] = sys.modules["rawpy"] = None  # as if they were not installed
from dcnn_fast.data import ReadError, folders, read
from tests.data import camera_files
for data in (camera_files.HEIC, camera_files.dng(camera_files.preview())):
    try:
        print("read", read(data).notes)
    except ReadError as error:
        print(error)
search = folders.Search()
print([each.path for each in search.files([sys.argv[1]])], dict(search.passed.with_extra), search.passed.raw_files)
"""


def test_without_the_extra_it_is_named(tmp_path):
    for name in ("a.NEF", "b.heic"):
        (tmp_path / name).touch()
    done = subprocess.run([sys.executable, "-c", WITHOUT, str(tmp_path)], capture_output=True, text=True, check=True)
    said = "where the extra `photos` is installed: pip install 'dcnn-fast[photos]'"
    assert done.stdout.splitlines() == [
        f"HEIF is read {said}", f"the preview of a camera's raw file is read {said}", "[] {'.heic': 1, '.nef': 1} 0",
    ]  # fmt: skip
