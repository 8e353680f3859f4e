"""New files in watched folders: each is given once, after it has settled."""

from __future__ import annotations

import os
import sys
import time

import pytest

from dcnn_fast.data.folders import Search
from dcnn_fast.data.watching import Watch

SETTLE = 0.3
LONG = 60


@pytest.fixture(params=["told", "alone"])
def watching(request, monkeypatch):
    """Makes the files of a watch, with and without the system's notifications of changes."""
    if request.param == "alone":
        monkeypatch.setitem(sys.modules, "watchfiles", None)
        monkeypatch.setattr("dcnn_fast.data.watching._SWEEP_ALONE", SETTLE)
    else:
        monkeypatch.setattr("dcnn_fast.data.watching._SWEEP", 1000.0)

    def made(*paths, **options):
        return Watch(Search(**options), [str(path) for path in paths], settle=SETTLE)

    return made


def put(path, content=b"x", age=LONG):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - age,) * 2)


def following(files, seconds=20.0):
    """The name of the next file, or None if none comes in that time."""
    deadline = time.monotonic() + seconds
    for found in files:
        if found is not None:
            assert found.error is None
            return os.path.basename(found.path)
        if time.monotonic() > deadline:
            return None
    raise AssertionError("a watch has no end")


def test_what_is_there_comes_first_and_then_what_comes(watching, tmp_path):
    put(tmp_path / "b.jpg")
    put(tmp_path / "a.jpg")
    files = watching(tmp_path).files()
    assert [next(files).path for _ in range(2)] == [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
    put(tmp_path / "notes.txt")
    put(tmp_path / "0.jpg")
    assert following(files) == "0.jpg"
    put(tmp_path / "a.jpg", b"another")  # given before
    put(tmp_path / "c.jpg")
    assert following(files) == "c.jpg"
    assert following(files, 1.5) is None


def test_a_file_that_is_written_to_is_not_given_before_it_settles(watching, tmp_path):
    files = watching(tmp_path).files()
    assert next(files) is None
    size, until = 0, time.monotonic() + 5 * SETTLE
    while time.monotonic() < until:
        size += 1
        put(tmp_path / "a.jpg", b"x" * size)  # between any two looks
        assert next(files) is None
    assert following(files) == "a.jpg"


def test_one_that_is_new_at_the_start_has_to_settle_too(watching, tmp_path):
    put(tmp_path / "old.jpg")
    put(tmp_path / "new.jpg", age=-LONG)
    watch = watching(tmp_path)
    files = watch.files()
    assert next(files).path == str(tmp_path / "old.jpg")
    assert next(files) is None
    assert watch.coming == [str(tmp_path / "new.jpg")]
    assert following(files) == "new.jpg"
    assert watch.coming == []


def test_a_file_without_a_byte_waits_for_its_content(watching, tmp_path):
    files = watching(tmp_path).files()
    assert next(files) is None
    put(tmp_path / "a.jpg", b"")
    assert following(files, 4 * SETTLE) is None
    put(tmp_path / "a.jpg", b"x")
    assert following(files) == "a.jpg"


def test_a_file_that_goes_before_it_settles_is_not_given(watching, tmp_path):
    watch = watching(tmp_path)
    files = watch.files()
    assert next(files) is None
    put(tmp_path / "a.jpg")
    while not watch.coming:
        assert next(files) is None
    os.rename(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert following(files) == "b.jpg"
    assert following(files, 3 * SETTLE) is None


@pytest.mark.parametrize("recursive", [True, False])
def test_new_subfolders_are_searched_as_the_search_says(watching, tmp_path, recursive):
    put(tmp_path / "a.jpg")
    files = watching(tmp_path, recursive=recursive, exclude=["no"]).files()
    assert following(files) == "a.jpg"
    put(tmp_path / "no" / "x.jpg")
    put(tmp_path / "new" / "deep" / "b.jpg")
    assert following(files, 20.0 if recursive else 4 * SETTLE) == ("b.jpg" if recursive else None)


def test_a_folder_that_goes_may_come_again(watching, tmp_path, monkeypatch):
    monkeypatch.setattr("dcnn_fast.data.watching._SWEEP", 1.0)  # the system may not report a folder that was removed
    put(tmp_path / "card" / "a.jpg")
    put(tmp_path / "other" / "b.jpg")
    files = watching(tmp_path / "card", tmp_path / "other").files()
    assert [following(files), following(files)] == ["a.jpg", "b.jpg"]
    os.rename(tmp_path / "card", tmp_path / "gone")
    put(tmp_path / "other" / "c.jpg")
    assert following(files) == "c.jpg"
    os.rename(tmp_path / "gone", tmp_path / "card")
    put(tmp_path / "card" / "d.jpg")
    assert following(files) == "d.jpg"


def test_what_is_named_is_given_at_once_and_what_is_wrong_with_it_is_for_reading_to_tell(watching, tmp_path):
    put(tmp_path / "new.jpg", age=0)
    (tmp_path / "folder").mkdir()
    os.symlink("nowhere", tmp_path / "folder" / "broken.jpg")
    files = watching(tmp_path / "new.jpg", tmp_path / "none.jpg", tmp_path / "folder").files()
    assert [following(files) for _ in range(3)] == ["new.jpg", "none.jpg", "broken.jpg"]


def test_what_is_passed_over_is_counted_once(watching, tmp_path):
    put(tmp_path / ".hidden.jpg")
    put(tmp_path / "a.psd")
    search = Search()
    files = Watch(search, [str(tmp_path)], settle=SETTLE).files()
    put(tmp_path / "a.jpg")
    assert following(files) == "a.jpg"
    put(tmp_path / "b.jpg")
    assert following(files) == "b.jpg"
    assert (search.passed.hidden_files, dict(search.passed.unreadable)) == (1, {".psd": 1})


@pytest.mark.parametrize("told_before", [0, 2])
def test_where_the_system_fails_to_tell_folders_are_looked_at_all_the_same(told_before, tmp_path, monkeypatch):
    def failing(*folders, **options):
        for _ in range(told_before):
            yield set()
        raise RuntimeError("no more watches")

    monkeypatch.setattr("watchfiles.watch", failing)
    monkeypatch.setattr("dcnn_fast.data.watching._SWEEP_ALONE", SETTLE)
    files = Watch(Search(), [str(tmp_path)], settle=SETTLE).files()
    assert next(files) is None
    put(tmp_path / "a.jpg")
    assert following(files) == "a.jpg"
    put(tmp_path / "b.jpg")
    assert following(files) == "b.jpg"
