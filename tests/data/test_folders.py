"""Search and find_images: the files that a command line means, and the messages about the others."""

from __future__ import annotations

import os
import subprocess

import pytest

from dcnn_fast.data import find_images
from dcnn_fast.data.folders import SUFFIXES, UNREADABLE, WHEN_NAMED, Found, PatternError, Search

TREE = ("b.JPG", "a.png", "notes.txt", "c.Jpeg", "no_suffix", "sub/d.tiff", "sub/deep/e.avif", "f.jpg/g.gif")
NOT_MEANT = (
    ".hidden.webp", "._a.png", ".thumbnails/t.jpg", ".git/o.png", "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg", "#recycle/r.jpg",
    "$RECYCLE.BIN/r.jpg", "System Volume Information/s.jpg", "lost+found/l.jpg", ".Trash-1000/files/t.jpg", "__MACOSX/._a.png",
    "Catalog Previews.lrdata/0/p.jpg", "sub/.dtrash/u.jpg", "sub/@eaDir/v.jpg",
)  # fmt: skip


def _touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def _names(paths, root):
    return [os.path.relpath(path, root) for path in paths]


def _found(root, *paths, **options):
    search = Search(**options)
    return _names([found.path for found in search.files(map(str, paths or [root]))], root), search.passed


def test_a_folder_gives_its_images_in_order_whatever_the_case(tmp_path):
    root = _touch(tmp_path, *TREE, *NOT_MEANT)
    assert _names(find_images([root]), root) == ["a.png", "b.JPG", "c.Jpeg"]


def test_recursion_goes_down_and_survives_links(tmp_path):
    root = _touch(tmp_path, *TREE, *NOT_MEANT)
    os.symlink(root, root / "sub" / "loop")
    expected = ["a.png", "b.JPG", "c.Jpeg", "f.jpg/g.gif", "sub/d.tiff", "sub/deep/e.avif"]
    assert _names(find_images([root], recursive=True), root) == expected


def test_hidden_and_system_folders_are_counted_and_taken_when_asked(tmp_path):
    root = _touch(tmp_path, *TREE, *NOT_MEANT)
    found, passed = _found(root, recursive=True)
    assert (passed.hidden_files, passed.hidden_folders, passed.system_folders) == (2, 3, 8 + 1)
    everything, passed = _found(root, recursive=True, hidden=True)
    assert sorted(everything) == sorted([*found, *NOT_MEANT])
    assert (passed.hidden_files, passed.hidden_folders, passed.system_folders) == (0, 0, 0)


def test_of_a_library_of_photographs_the_originals_are_taken(tmp_path):
    taken = ("Photos.photoslibrary/originals/0/A.jpg", "old.photolibrary/Masters/2012/b.jpg", "x.aplibrary/Masters/c.jpg")
    passed_over = (
        "Photos.photoslibrary/resources/derivatives/0/A_1.jpg", "Photos.photoslibrary/database/face.jpg",
        "old.photolibrary/Thumbnails/b.jpg", "old.photolibrary/Previews/b.jpg", "x.aplibrary/Previews/c.jpg",
        "_gsdata_/_saved_/d.jpg", "Recycled/e.jpg", "~snapshot/hourly.0/a.jpg",
    )  # fmt: skip
    root = _touch(tmp_path, *taken, *passed_over, "originals/own.jpg", "resources/own.jpg")
    found, passed = _found(root, recursive=True)
    assert found == [*taken[:2], "originals/own.jpg", "resources/own.jpg", taken[2]]
    assert passed.system_folders == 8
    assert _found(root, root / "Photos.photoslibrary", recursive=True)[0] == [taken[0]]
    assert len(_found(root, recursive=True, hidden=True)[0]) == len(taken) + len(passed_over) + 2


def test_what_is_named_is_always_taken(tmp_path):
    root = _touch(tmp_path, *TREE, *NOT_MEANT)
    named = [
        root / name for name in ("notes.txt", "missing.jpg", "sub", ".hidden.webp", ".thumbnails", "@eaDir/a.png", "._a.png")
    ]
    expected = [
        "notes.txt", "missing.jpg", "sub/d.tiff", ".hidden.webp", ".thumbnails/t.jpg", "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg",
        "._a.png",
    ]  # fmt: skip
    assert _found(root, *named)[0] == expected
    assert _found(root, *named, exclude=["*.txt", "missing*", "sub"])[0] == expected


@pytest.mark.parametrize(
    ("patterns", "left_out"),
    [
        (["b.JPG"], {"b.JPG"}),
        (["*.jpg"], {"f.jpg/g.gif"}),  # the folder; patterns are case-sensitive
        (["*.[jJ]*"], {"b.JPG", "c.Jpeg", "f.jpg/g.gif"}),
        (["sub"], {"sub/d.tiff", "sub/deep/e.avif"}),
        (["./sub"], {"sub/d.tiff", "sub/deep/e.avif"}),
        (["././/sub/"], {"sub/d.tiff", "sub/deep/e.avif"}),
        (["./sub/*.tiff"], {"sub/d.tiff"}),
        (["sub/"], {"sub/d.tiff", "sub/deep/e.avif"}),
        (["a.png/"], set()),
        (["deep", "a.png"], {"sub/deep/e.avif", "a.png"}),
        (["sub/*"], {"sub/d.tiff", "sub/deep/e.avif"}),
        (["sub/*.tiff"], {"sub/d.tiff"}),
        (["deep/*.avif"], {"sub/deep/e.avif"}),
        (["sub/*.avif"], set()),
        (["sub/**/*.avif"], {"sub/deep/e.avif"}),
        (["**/d.tiff"], {"sub/d.tiff"}),
        (["/deep"], set()),
        (["/sub/deep"], {"sub/deep/e.avif"}),
        (["photos/sub/deep"], {"sub/deep/e.avif"}),
        (["?.png"], {"a.png"}),
        (["$PHOTOS/sub/d.tiff"], {"sub/d.tiff"}),
    ],
)
def test_patterns_exclude(tmp_path, patterns, left_out):
    root = _touch(tmp_path / "photos", *TREE)
    all_of_them, _ = _found(root, recursive=True)
    patterns = [pattern.replace("$PHOTOS", str(root)) for pattern in patterns]
    found, passed = _found(root, recursive=True, exclude=patterns)
    assert set(all_of_them) - set(found) == left_out
    assert (passed.excluded > 0) == bool(left_out)


@pytest.mark.parametrize("pattern", ["", "/", "//", ".", "./", "././", ".//"])
def test_a_pattern_that_names_nothing_is_refused(pattern):
    with pytest.raises(PatternError, match="must name something"):
        Search(exclude=[pattern])


def test_links_to_folders_are_followed_once(tmp_path):
    root = _touch(tmp_path / "photos", "a.png", "sub/b.png")
    _touch(tmp_path / "elsewhere", "c.png", "deep/d.png")
    for name, target in (
        ("loop", "."),
        ("0first", "../elsewhere"),
        ("again", "../elsewhere"),
        ("sub/up", ".."),
        ("file.png", "a.png"),
    ):
        (root / name).symlink_to(target)
    (tmp_path / "elsewhere" / "back").symlink_to(root)
    found, passed = _found(root, recursive=True)
    assert found == ["a.png", "file.png", "sub/b.png"]
    assert passed.linked_folders == 4
    found, passed = _found(root, recursive=True, follow=True)
    assert found == ["a.png", "file.png", "sub/b.png", "0first/c.png", "0first/deep/d.png"]
    assert passed.linked_folders == 0
    assert _found(root, root / "again", root / "again")[0] == ["again/c.png"] * 2  # a link that is named counts as a folder


def test_what_cannot_be_read_is_counted_by_its_kind(tmp_path):
    root = _touch(
        tmp_path, "a.MOV", "b.mov", "c.mov", "d.JXL", "e.mp4", "f.txt", "f.xmp", "g.json", "t.mpo", ".h.mov", "sub/i.mov"
    )
    _, passed = _found(root)
    assert dict(passed.unreadable) == {".mov": 3, ".jxl": 1, ".mp4": 1}
    assert dict(passed.when_named) == {".mpo": 1}
    assert (passed.hidden_files, passed.subfolders) == (1, 1)
    assert not SUFFIXES & UNREADABLE and not SUFFIXES & WHEN_NAMED and not UNREADABLE & WHEN_NAMED


def test_one_bad_entry_is_one_failure(tmp_path):
    root = _touch(tmp_path, "a.png")
    (root / "self.jpg").symlink_to("self.jpg")
    (root / "gone.jpg").symlink_to("nothing")
    found = list(Search(recursive=True).files([str(root)]))
    assert [(os.path.basename(each.path), each.error) for each in found] == [
        ("a.png", None), ("gone.jpg", None), ("self.jpg", "too many levels of symbolic links"),
    ]  # fmt: skip
    for path, error in (
        ("x" * 256, "file name too long"),
        (f"{root}/a.png/b.png", "not a directory"),
        (f"{root}/self.jpg", "too many levels of symbolic links"),
        (f"{root}/a\0.png", "a name cannot hold a zero byte"),
        (f"{root}/not there.png", None),
    ):
        assert list(Search().files([path])) == [Found(path, error)]


def test_a_folder_that_vanishes_while_it_is_searched_is_one_failure(tmp_path):
    root = _touch(tmp_path, "a.png", "sub/b.png", "z/c.png")
    found = []
    for each in Search(recursive=True).files([str(root)]):
        found.append(each)
        if each.path.endswith("a.png"):
            os.rename(root / "sub", root.parent / f"{root.name}-gone")
    assert [(os.path.basename(each.path), each.error) for each in found] == [
        ("a.png", None), ("sub", "the folder cannot be listed: no such file or directory"), ("c.png", None),
    ]  # fmt: skip


def test_a_tree_deeper_than_pythons_stack_is_searched(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("deep.png", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    try:
        assert [os.path.basename(path) for path in find_images([tmp_path], recursive=True)] == ["deep.png"]
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # neither Python's nor pytest's removal reaches its bottom


def test_names_that_are_not_text_survive(tmp_path):
    name = os.fsencode(tmp_path) + b"/bad\xff name.jpg"
    open(name, "wb").close()
    (found,) = find_images([tmp_path])
    assert os.fsencode(found) == name


def test_every_suffix_of_the_list_is_known(tmp_path):
    suffixes = [
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "webp",
        "tif",
        "tiff",
        "gif",
        "bmp",
        "jp2",
        "j2k",
        "j2c",
        "jpf",
        "jpx",
        "avif",
    ]
    for suffix in suffixes:
        (tmp_path / f"x.{suffix.upper()}").touch()
    assert len(list(find_images([tmp_path]))) == len(suffixes) == 16
