"""The cache of planes: what comes out of it is what decoding gives, whatever happens to its files."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal

import numpy as np
import pytest
from PIL import Image

from dcnn_fast.data import Example
from dcnn_fast.data.plane_cache import PlaneCache
from dcnn_fast.nets import Input
from dcnn_fast.training.pictures import Pictures

INPUTS = (Input("local", "local", 40, 36), Input("warp", "warp", 40, 36))
COUNT = 6


@pytest.fixture
def photographs(tmp_path):
    for i in range(COUNT):
        pixels = np.random.default_rng(i).integers(0, 256, (50 + i, 61, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return tmp_path


def pictures(folder, *, decoded=False, inputs=INPUTS):
    examples = [Example(str(folder / f"{i}.png"), f"{i}.png", i % 2) for i in range(COUNT)]
    return Pictures(examples, inputs, decoded=decoded)


def arrays(found):
    """All that a set's pictures hold."""
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
    monkeypatch.setattr("dcnn_fast.training.pictures.read", None)
    assert same(arrays(filled(photographs, decoded=decoded)), plain)


def test_another_photograph_view_or_size_is_decoded_anew(photographs):
    filled(photographs)
    before = len(planes(photographs))
    Image.fromarray(np.full((50, 61, 3), 7, np.uint8)).save(photographs / "2.png")
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
    unfilled = pictures(photographs)  # a run that adds nothing, as one beside it does
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
    assert planes(photographs) == kept  # what this run uses stays
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
