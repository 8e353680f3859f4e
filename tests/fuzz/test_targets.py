"""Every reader's seeds and kept inputs end properly (fuzz/), and an input that does not is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import kept, native
from fuzz.__main__ import plant
from fuzz.one import inputs, replay
from fuzz.target import SOURCES, FoundError, Target, attack, load

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", SOURCES)
def test_seeds_and_kept_inputs_end_rightly(name, tmp_path):
    plant(name, tmp_path)
    assert replay(load(name), inputs(tmp_path)) == []


@pytest.mark.parametrize("name", SOURCES)
def test_some_seeds_are_read_and_others_are_what_a_reader_must_refuse(name):
    target = load(name)

    def was_read(data):
        try:
            target.read(data)
        except target.refusals:
            return False
        return True

    assert any(was_read(data) for data in target.seeds().values())
    assert not was_read(b"\0nothing of the kind\xff" * 10)


def test_kept_inputs_are_small_and_of_targets():
    assert {file.stem for file in kept.FOLDER.iterdir()} == {*SOURCES, *native.NAMES}
    for name in (*SOURCES, *native.NAMES):
        found = kept.read(name)
        assert 0 < len(found) <= kept.MOST and max(map(len, found)) <= kept.LONGEST


def reader(data):
    if data.startswith(b"many"):
        raise ValueError("x" * 5000)
    if data.startswith(b"none"):
        raise ValueError
    if data.startswith(b"bug"):
        raise IndexError("list index out of range")
    if data.startswith(b"no"):
        raise ValueError("refused by name")


TARGET = Target(reader, (ValueError,), dict)


@pytest.mark.parametrize("data", [b"many", b"none", b"bug"])
def test_a_wrong_end_is_found(data, tmp_path, capsys):
    with pytest.raises((FoundError, IndexError)):
        attack(TARGET, data)
    for name, content in (("a", b"fine"), ("b", data), ("c", b"no")):
        (tmp_path / name).write_bytes(content)
    assert replay(TARGET, inputs(tmp_path)) == [tmp_path / "b"]
    assert "Error" in capsys.readouterr().err


def test_the_command_names_a_target_that_there_is_not():
    done = subprocess.run([sys.executable, "-m", "fuzz", "nothing"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "no such target: nothing" in done.stderr and "Traceback" not in done.stderr
