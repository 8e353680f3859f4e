"""Files written whole, created only where none exists, and never over another's changes; also without hard links."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from dcnn_fast import whole_files
from dcnn_fast.whole_files import copy_file, create_file, replace_file


@pytest.fixture(params=["links", "no links"])
def folder(request, tmp_path, monkeypatch):
    """A folder, also one that behaves like FAT, which cannot be mounted where tests run."""
    if request.param == "no links":

        def link(*_, **__):
            raise PermissionError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(whole_files.os, "link", link)
    return tmp_path


def test_a_file_is_made_once(folder):
    create_file(folder / "a", b"first")
    assert stat.S_IMODE((folder / "a").stat().st_mode) == 0o666 & ~_umask()
    for taken in ("a", "link", "sub"):
        if taken == "link":
            os.symlink("nowhere", folder / "link")
        elif taken == "sub":
            (folder / "sub").mkdir()
        with pytest.raises(FileExistsError):
            create_file(folder / taken, b"second")
        with pytest.raises(FileExistsError):
            copy_file(folder / "a", folder / taken)
    assert (folder / "a").read_bytes() == b"first" and sorted(os.listdir(folder)) == ["a", "link", "sub"]


def test_a_file_that_was_changed_meanwhile_is_not_replaced(folder):
    (folder / "a").write_bytes(b"read")
    before = os.stat(folder / "a")
    (folder / "a").write_bytes(b"changed by another program")
    with pytest.raises(BlockingIOError, match="changed meanwhile"):
        replace_file(folder / "a", b"ours", before)
    assert (folder / "a").read_bytes() == b"changed by another program" and os.listdir(folder) == ["a"]
    (folder / "b").write_bytes(b"another file of the name")
    os.replace(folder / "b", folder / "a")
    with pytest.raises(BlockingIOError):
        replace_file(folder / "a", b"ours", before)
    os.chmod(folder / "a", 0o604)
    replace_file(folder / "a", b"ours", os.stat(folder / "a"))
    assert (folder / "a").read_bytes() == b"ours" and stat.S_IMODE((folder / "a").stat().st_mode) == 0o604


def test_a_copy_has_content_times_and_mode(folder):
    (folder / "a").write_bytes(os.urandom(3 * 2**20 + 1))
    os.chmod(folder / "a", 0o440)
    os.utime(folder / "a", ns=(10**18 + 1, 10**18 + 3))
    for compare in (False, True):
        copy_file(folder / "a", folder / f"b{compare}", compare=compare)
        made = folder / f"b{compare}"
        assert made.read_bytes() == (folder / "a").read_bytes()
        assert (stat.S_IMODE(made.stat().st_mode), made.stat().st_mtime_ns) == (0o440, 10**18 + 3)


def test_a_source_that_changes_while_it_is_copied_is_not_copied(folder, monkeypatch):
    (folder / "a").write_bytes(b"x" * 1000)
    plain = whole_files.shutil.copyfileobj

    def grows(source, target, length):
        plain(source, target, length)
        with (folder / "a").open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(whole_files.shutil, "copyfileobj", grows)
    with pytest.raises(OSError, match=r"changed meanwhile|not what was written"):
        copy_file(folder / "a", folder / "b", compare=True)
    with pytest.raises(BlockingIOError, match="changed meanwhile"):
        copy_file(folder / "a", folder / "c")
    assert os.listdir(folder) == ["a"]


def _umask():
    before = os.umask(0)
    os.umask(before)
    return before
