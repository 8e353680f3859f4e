"""Photographs of the benchmark: real ones chosen by size, otherwise generated ones that are labelled so."""

from __future__ import annotations

import numpy as np
from PIL import Image

from bench import cases, photos, suites
from bench.effort import FULL
from bench.row import Refused


def _write(folder, name, width, height):
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(folder / name)


def test_originals_near_12_megapixels_are_taken_and_their_sizes_told(tmp_path, monkeypatch):
    sizes = {"a": (4000, 4200), "b": (3000, 3000), "c": (4000, 3000), "small": (2000, 2000), "big": (6000, 3000)}
    for name, (width, height) in sizes.items():
        _write(tmp_path / "photos_large", f"{name}.jpg", width, height)
    monkeypatch.setenv(photos.FOLDER_VARIABLE, str(tmp_path))
    paths, about = photos.large(4, tmp_path / "scratch")
    assert [path.name for path in paths] == ["c.jpg", "b.jpg", "a.jpg"]
    assert about == "3 originals of 12.0, 9.0, 16.8 megapixels"
    assert [path.name for path in photos.large(1, tmp_path / "scratch")[0]] == ["c.jpg"]


def test_without_originals_photographs_are_generated_and_called_so(tmp_path, monkeypatch):
    monkeypatch.setattr(cases, "photograph", lambda height, width, seed: np.zeros((height, width, 3), np.uint8))
    for folder in (None, tmp_path):  # a missing folder, and one without originals
        monkeypatch.delenv(photos.FOLDER_VARIABLE, raising=False)
        if folder:
            monkeypatch.setenv(photos.FOLDER_VARIABLE, str(folder))
        paths, about = photos.large(1, tmp_path)
        assert about.startswith("1 generated photograph of 12.0 megapixels (DCNN_FAST_DATA")
        with Image.open(paths[0]) as image:
            assert (image.format, image.size) == ("JPEG", (4000, 3000))


def test_small_photographs_are_spread_over_the_folder(tmp_path, monkeypatch):
    for number in range(6):
        _write(tmp_path / "photos", f"{number}.jpg", 8, 8)
    monkeypatch.setenv(photos.FOLDER_VARIABLE, str(tmp_path))
    assert [path.stem for path in photos.small(3)] == ["0", "2", "4"]
    assert len(photos.small(9)) == 6


def test_without_any_photographs_the_paper_table_says_so_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv(photos.FOLDER_VARIABLE, str(tmp_path))
    (found,) = suites.PER_THREADS["paper"]({}, 1, FULL)
    assert isinstance(found, Refused) and "set DCNN_FAST_DATA or install the extra `demo`" in str(found)
