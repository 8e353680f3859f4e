"""find_images: which files a command line means."""

from __future__ import annotations

import os

from dcnn_fast.data import find_images


def _tree(root):
    for name in (
        "b.JPG",
        "a.png",
        "notes.txt",
        "c.Jpeg",
        "no_suffix",
        ".hidden.webp",
        "sub/d.tiff",
        "sub/deep/e.avif",
        "f.jpg/g.gif",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def _names(paths, root):
    return [str(path.relative_to(root)) for path in paths]


def test_a_folder_gives_its_images_in_order_whatever_the_case(tmp_path):
    root = _tree(tmp_path)
    assert _names(find_images([root]), root) == [".hidden.webp", "a.png", "b.JPG", "c.Jpeg"]


def test_recursion_goes_down_and_survives_links(tmp_path):
    root = _tree(tmp_path)
    os.symlink(root, root / "sub" / "loop")
    expected = [".hidden.webp", "a.png", "b.JPG", "c.Jpeg", "f.jpg/g.gif", "sub/d.tiff", "sub/deep/e.avif"]
    assert _names(find_images([root], recursive=True), root) == expected


def test_named_files_are_always_tried(tmp_path):
    root = _tree(tmp_path)
    named = [root / "notes.txt", root / "missing.jpg", root / "sub"]
    assert _names(find_images(named), root) == ["notes.txt", "missing.jpg", "sub/d.tiff"]


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
