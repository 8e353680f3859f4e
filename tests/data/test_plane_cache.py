"""The cache of planes: its planes equal decoded ones, whatever happens to its files."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import shutil
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dcnn_fast.data import Example, plane_cache
from dcnn_fast.data.plane_cache import PlaneCache
from dcnn_fast.nets import Input
from dcnn_fast.training import photographs as training_pictures
from dcnn_fast.training.photographs import Pictures

INPUTS = (Input("local", "local", 40, 36), Input("warp", "warp", 40, 36))
COUNT = 6


@pytest.fixture
def photographs(tmp_path):
    for i in range(COUNT):
        pixels = np.random.default_rng(i).integers(0, 256, (50 + i, 61, 3)).astype(np.uint8)
        save(pixels, tmp_path / f"{i}.png")
    return tmp_path


def save(pixels, path, *, old=60):
    """Save a photograph with a modification time `old` seconds ago."""
    Image.fromarray(pixels).save(path)
    os.utime(path, (time.time() - old,) * 2)


def pictures(folder, *, decoded=False, inputs=INPUTS):
    examples = [Example(str(folder / f"{i}.png"), f"{i}.png", i % 2) for i in range(COUNT)]
    return Pictures(examples, inputs, decoded=decoded)


def arrays(found):
    """All arrays that a set's pictures hold."""
    held = [found.picture(i) for i in range(COUNT)]
    return [array for each in held for array in ([each.photo] if each.photo is not None else list(each.planes.values()))]


def same(one, other):
    return len(one) == len(other) and all((a == b).all() and a.shape == b.shape for a, b in zip(one, other, strict=True))


def planes(folder):
    return sorted((folder / "planes").rglob("*.plane"))


def filled(folder, said=None, megabytes=64, **options):
    found = pictures(folder, **options)
    found.hold(PlaneCache(folder / "planes", megabytes, [].append if said is None else said.append))
    return found


@pytest.mark.parametrize("decoded", [False, True])
def test_what_was_kept_is_what_decoding_gives_and_photographs_are_opened_no_more(photographs, decoded, monkeypatch):
    plain = arrays(pictures(photographs, decoded=decoded))
    assert same(arrays(filled(photographs, decoded=decoded)), plain)
    assert len(planes(photographs)) == COUNT * (1 if decoded else 2)
    monkeypatch.setattr("dcnn_fast.training.photographs.read", None)
    assert same(arrays(filled(photographs, decoded=decoded)), plain)


def test_another_photograph_view_or_size_is_decoded_anew(photographs):
    filled(photographs)
    before = len(planes(photographs))
    save(np.full((50, 61, 3), 7, np.uint8), photographs / "2.png")
    found = filled(photographs)
    assert same(arrays(found), arrays(pictures(photographs))) and len(planes(photographs)) == before + 2
    for inputs in (
        (Input("warp", "warp", 48, 36),),
        (Input("warp", "warp", 40, 36, long_side=45),),
        (Input("pad", "pad", 40, 36),),
    ):
        assert same(arrays(filled(photographs, inputs=inputs)), arrays(pictures(photographs, inputs=inputs)))
        before += COUNT
        assert len(planes(photographs)) == before + 2


@pytest.mark.parametrize("spoil", ["half", "empty", "a byte", "zeros", "longer", "gone"])
def test_a_spoilt_file_is_made_anew(photographs, spoil):
    plain = arrays(filled(photographs))
    path = planes(photographs)[3]
    whole = path.read_bytes()
    content = {
        "half": whole[: len(whole) // 2], "empty": b"", "a byte": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        "zeros": bytes(len(whole)), "longer": whole + b"x",
    }.get(spoil)  # fmt: skip
    path.unlink() if content is None else path.write_bytes(content)
    unfilled = pictures(photographs)  # a run that adds nothing, like a concurrent one
    unfilled._cache = PlaneCache(photographs / "planes")
    assert same(arrays(unfilled), plain) and not (path.exists() and path.read_bytes() == whole)
    assert same(arrays(filled(photographs)), plain) and path.read_bytes() == whole


def test_it_holds_no_more_than_it_may_and_the_longest_unused_go_first(photographs):
    big = (Input("local", "local", 400, 300),)  # half a megabyte each
    said = []
    found = filled(photographs, said, 1, inputs=big)
    assert sum(path.stat().st_size for path in planes(photographs)) <= 2**20 and len(planes(photographs)) == 1
    assert len(said) == 1 and "is full with 1 MB" in said[0] and same(arrays(found), arrays(pictures(photographs, inputs=big)))
    kept = planes(photographs)
    filled(photographs, megabytes=1, inputs=big)
    assert planes(photographs) == kept  # planes that this run uses stay
    filled(photographs, megabytes=1, inputs=(Input("warp", "warp", 400, 300),))
    assert len(planes(photographs)) == 2 and kept[0] not in planes(photographs)


def fill_in_a_process(folder, results):
    said = []
    found = filled(folder, said)
    results.put((said, [array.tobytes() for array in arrays(found)]))


def test_several_processes_at_once(photographs):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    team = [context.Process(target=fill_in_a_process, args=(photographs, results)) for _ in range(4)]
    for process in team:
        process.start()
    found = [results.get(timeout=120) for _ in team]
    for process in team:
        process.join()
        assert process.exitcode == 0
    plain = [array.tobytes() for array in arrays(pictures(photographs))]
    assert all(each == plain for _, each in found)
    assert all("is being filled by another run" in text for said, _ in found for text in said)
    assert len(planes(photographs)) == 2 * COUNT and not list((photographs / "planes").rglob("*.partial"))


def limited(folder, results):
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    fill_in_a_process(folder, results)


def test_a_disk_that_takes_no_more_is_said_once_and_costs_nothing_else(photographs):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    process = context.Process(target=limited, args=(photographs, results))
    process.start()
    said, found = results.get(timeout=120)
    process.join()
    assert len(said) == 1 and f"{photographs / 'planes'} cannot be written: File too large" in said[0]
    assert found == [array.tobytes() for array in arrays(pictures(photographs))]
    assert not planes(photographs) and not list((photographs / "planes").rglob("*.partial"))


def test_other_peoples_folders_are_left_as_they_are(photographs):
    (photographs / "mine").mkdir()
    (photographs / "mine" / "a.txt").write_text("mine")
    for folder, message in (("mine", "must be a new or an empty folder, or such a cache"), ("0.png", "must be a folder")):
        with pytest.raises(ValueError, match=message):
            PlaneCache(photographs / folder)
    with pytest.raises(ValueError, match="megabytes must be at least 1, got 0"):
        PlaneCache(photographs / "planes", 0)
    assert not (photographs / "planes").exists() and os.listdir(photographs / "mine") == ["a.txt"]


def test_a_photograph_that_is_still_being_written_is_not_kept(photographs):
    """Other content of the same size within one clock tick would be mistaken for the cached one."""
    save(np.full((50, 61, 3), 7, np.uint8), photographs / "2.png", old=0)
    assert same(arrays(filled(photographs)), arrays(pictures(photographs)))
    assert len(planes(photographs)) == 2 * (COUNT - 1)
    save(np.full((50, 61, 3), 7, np.uint8), photographs / "2.png", old=10)
    filled(photographs)
    assert len(planes(photographs)) == 2 * COUNT


def test_a_link_that_is_turned_meanwhile_gives_nobody_the_pixels_of_another(photographs, monkeypatch):
    link, real = photographs / "link.png", training_pictures.read
    link.symlink_to(photographs / "0.png")

    def turning(source):
        link.unlink()
        link.symlink_to(photographs / "1.png")
        return real(source)

    def of(source, cache=None):
        found = Pictures([Example(str(source), "a", 0)], INPUTS)
        if cache is not None:
            found.hold(cache)
        return list(found.picture(0).planes.values())

    monkeypatch.setattr(training_pictures, "read", turning)
    of(link, PlaneCache(photographs / "planes"))
    monkeypatch.setattr(training_pictures, "read", real)
    kept = planes(photographs)
    for name in ("0.png", "1.png"):
        assert same(of(photographs / name, PlaneCache(photographs / "planes")), of(photographs / name))
    assert len(kept) == 2 and len(planes(photographs)) == 4


def test_what_decodes_names_the_planes(photographs, monkeypatch, tmp_path):
    """Other versions of the codecs or of LibRaw, another engine, and edits to the package's own reading."""
    package = tmp_path / "package"
    shutil.copytree(plane_cache._PACKAGE / "data", package / "data")
    shutil.copytree(plane_cache._PACKAGE / "ops" / "views", package / "ops" / "views")
    with monkeypatch.context() as context:
        context.setattr(plane_cache, "_PACKAGE", package)
        found = [plane_cache.makers(), plane_cache.makers()]
        assert found[0] == found[1]
        for edited in ("data/reduction.py", "ops/views/filters.py"):
            with (package / edited).open("a") as file:
                file.write("# another\n")
            found.append(plane_cache.makers())
    filled(photographs)
    for target, value in (
        ("PIL.features.version", lambda name: f"{name} 0.1"),
        ("dcnn_fast.data.raw.rawpy", SimpleNamespace(libraw_version=(0, 1, 0))),
        ("dcnn_fast.engine.load", lambda: SimpleNamespace(__file__=photographs / "0.png")),
        ("dcnn_fast.data.plane_cache.metadata.version", lambda name: f"{name} 0.1"),
    ):
        with monkeypatch.context() as context:
            context.setattr(target, value)
            before = len(planes(photographs))
            filled(photographs)
            found.append(plane_cache.makers())
            assert len(planes(photographs)) == before + 2 * COUNT, target
    assert len(set(found)) == len(found) - 1


def test_no_photograph_is_decoded_for_a_cache_that_takes_none(photographs, monkeypatch):
    for i in range(COUNT, 300):
        save(np.full((8, 400, 3), i % 256, np.uint8), photographs / f"{i}.png")
    examples = [Example(str(photographs / f"{i}.png"), f"{i}.png", 0) for i in range(300)]
    opened, real = [], training_pictures.read
    monkeypatch.setattr(training_pictures, "read", lambda source: opened.append(source) or real(source))
    big, said = (Input("warp", "warp", 400, 300),), []
    full = PlaneCache(photographs / "planes", 1, said.append)
    assert 0 < Pictures(examples, big).hold(full) <= len(opened) <= 64  # an equal number at a time
    opened.clear()
    with PlaneCache(photographs / "planes").filling():
        assert Pictures(examples, big).hold(PlaneCache(photographs / "planes", 64, said.append)) == 0
    assert not opened and "is full with 1 MB" in said[0] and "is being filled by another run" in said[1]


def cut_short(folder):
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    filled(folder)


def test_a_disk_that_was_full_at_its_beginning_leaves_a_cache(photographs):
    process = multiprocessing.get_context("fork").Process(target=cut_short, args=(photographs,))
    process.start()
    process.join()
    assert process.exitcode == 0 and not planes(photographs)
    filled(photographs)
    assert len(planes(photographs)) == 2 * COUNT


def test_what_cannot_be_removed_goes_on_taking_room(photographs, monkeypatch):
    big = (Input("local", "local", 400, 300),)
    filled(photographs, megabytes=2, inputs=big)
    before, real = planes(photographs), os.unlink

    def failing(path, *arguments, **options):
        if str(path).endswith(".plane"):
            raise PermissionError(errno.EPERM, "it stays", str(path))
        real(path, *arguments, **options)

    monkeypatch.setattr(os, "unlink", failing)
    filled(photographs, megabytes=2, inputs=(Input("warp", "warp", 400, 300),))
    assert planes(photographs) == before and sum(path.stat().st_size for path in before) <= 2 * 2**20


def test_a_spoilt_file_gives_its_room_back_once(photographs):
    """When it is removed, but not again when the least recently used go, of which it was the first."""
    big = (Input("local", "local", 400, 300),)
    found = filled(photographs, megabytes=2, inputs=big)
    assert len(planes(photographs)) == 3
    for number in range(3):
        (name,) = found._cache.entry(str(photographs / f"{number}.png"), found._wanted, None).names
        path = photographs / "planes" / name[:2] / f"{name}.plane"
        if number == 0:
            path.write_bytes(path.read_bytes()[:-1] + b"?")
        os.utime(path, (number, number))
    filled(photographs, megabytes=1, inputs=big)
    assert sum(path.stat().st_size for path in planes(photographs)) <= 2**20
