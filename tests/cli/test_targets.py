"""Output files: which are refused before any work is done, and how the others are written."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from contextlib import suppress

import pytest

from dcnn_fast.cli.targets import MODEL, SHEET, SHEET_MARK, TargetError, Wanted, beside, check, json_with, lines_of, reserve
from tests.cli.command import main

NOTES = lines_of("a file of notes", "name,value")
OBJECT = json_with("an object", "probs", "mean")


LARGE = b'{\n "%s": {},\n' + b' "more": [1, 2],\n' * 9000 + b' "mean": 1\n}\n'  # more than is examined

CASES = {
    "lines": (
        NOTES,
        (b"name,value\n1,2\n", b"name,value", b"name", b"name,value\r\n", b"\xef\xbb\xbfname,value\n", b'"name";"value"\r\n'),
        (b"name,other\n", b"value\n", b"name\n", b"\xff\xd8\xff", b" name,value\n", b"name,value,more\n"),
    ),
    "json": (
        OBJECT,
        (
            b'{"probs": {}, "mean": 1}\n', b'{"pro', b'{"probs": {"lo', b'{\n "mean": 1,\n "probs": 2\n}\n',
            b'{"mean":1,"probs":1}\n', LARGE % b"probs",
        ),
        (b'{"mean": 1}\n', b"{}\n", b"[1]\n", b"\xff\xd8", b'"probs"', b"[" * 50_000, LARGE % b"other", LARGE[:900] % b"probs"),
    ),
    "sheet": (
        SHEET,
        (f"<!doctype html><html><head>{SHEET_MARK}".encode(),),
        (b"<!doctype html><html><head><title>Contact sheet</title>", b"\xff\xd8"),
    ),
    "model": (
        MODEL,
        (b'\x10\0\0\0\0\0\0\0{"__metadata__":{"dcnn_fast":"{}"}}',),
        (b'\x10\0\0\0\0\0\0\0{"__metadata__":{"format":"pt"}}',),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "known", "unknown"), CASES.values(), ids=CASES)
def test_the_programs_own_files_are_known(tmp_path, kind, known, unknown):
    path = tmp_path / "file"
    for content in known:
        path.write_bytes(content)
        check([Wanted("--out", path, kind)], overwrite=True)
        check([Wanted("--out", path, kind, kept=True)])
        with pytest.raises(TargetError, match="--out: .*file exists; --force does"):
            check([Wanted("--out", path, kind, otherwise="--force does")])
    for content in unknown:
        path.write_bytes(content)
        with pytest.raises(TargetError, match="--out: .*file holds something else than"):
            check([Wanted("--out", path, kind, kept=True)], overwrite=True)
    path.write_bytes(b"")
    check([Wanted("--out", path, kind)])


def test_a_target_that_is_not_there_yet_is_an_input_by_its_path(tmp_path):
    (tmp_path / "link").symlink_to("new")
    with pytest.raises(TargetError, match="is one of the inputs"):
        check([Wanted("--out", tmp_path / "new", NOTES)], inputs=["a\0b", tmp_path / "link"])
    with pytest.raises(TargetError, match="is one of the inputs"):
        check([Wanted("--out", tmp_path / "link", NOTES)], inputs=[f"{tmp_path}/./new"])


def test_a_failed_write_leaves_the_former_file_and_no_other(tmp_path):
    path = tmp_path / "file.pt"
    path.write_text("name,value\n")
    (target,) = check([Wanted("--out", path, NOTES)], overwrite=True)
    with suppress(KeyboardInterrupt), target.writing() as partial:
        assert partial.parent.parent == tmp_path and partial.suffix == ".pt"
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "name,value\n"
    with target.writing() as partial:
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert os.listdir(tmp_path) == ["file.pt"]


def test_a_new_file_has_the_mode_of_new_files_and_an_old_one_keeps_its_own(tmp_path):
    (tmp_path / "old").write_text("name,value\n")
    (tmp_path / "old").chmod(0o604)
    before = os.umask(0o027)
    try:
        for name, mode in (("new", 0o640), ("old", 0o604)):
            (target,) = check([Wanted("--out", tmp_path / name, NOTES)], overwrite=True)
            target.write(b"name,value\n")
            assert (tmp_path / name).stat().st_mode & 0o777 == mode
            with target.writing() as partial:
                partial.write_text("name,value\n")
            assert (tmp_path / name).stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


def test_a_run_that_is_killed_leaves_a_lock_that_holds_nothing(tmp_path):
    code = (
        "import os, signal, sys; from dcnn_fast.cli.targets import *\n"
        "with reserve([Wanted('--out', sys.argv[1], lines_of('notes', 'name,value'))]) as (target,):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([*main(code), tmp_path / "file"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == [".file.lock"]
    wanted = [Wanted("--out", tmp_path / "file", NOTES)]
    with reserve(wanted), pytest.raises(TargetError, match="written by another run"), reserve(wanted):
        pass
    assert os.listdir(tmp_path) == []


def test_a_name_beside_a_long_one_is_short_enough_and_its_own(tmp_path):
    paths = [tmp_path / ("x" * 250 + end) for end in ("a.csv", "b.csv", ".jsonl")]
    found = [beside(path, ".run.json") for path in paths] + [beside(path, ".lock", hidden=True) for path in paths]
    assert len(set(found)) == 6
    for path in found:
        path.touch()
    assert beside(tmp_path / "s.csv", ".run.json").name == "s.csv.run.json"


def test_what_a_killed_run_has_left_goes_with_the_next(tmp_path):
    """Only that: no file of a running process, no link, no file of another name."""
    (target,) = check([Wanted("--out", tmp_path / "m.safetensors", MODEL)])
    code = (
        "import os, signal, sys; from dcnn_fast.cli.targets import *\n"
        "(target,) = check([Wanted('--out', sys.argv[1], MODEL)])\n"
        "with target.writing() as partial:\n"
        "    partial.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([*main(code), str(target.file)], check=False).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    dead = left.name.split("-")[2]
    mine = [
        f".dcnn-fast-{os.getpid()}-{'0' * 12}.partial",
        f".dcnn-fast-{dead}-1.partial",
        f"dcnn-fast-{dead}-{'0' * 12}.partial",
    ]
    for name in mine:
        (tmp_path / name).write_text("stays")
    link = tmp_path / f".dcnn-fast-{dead}-{'1' * 12}.partial"
    link.symlink_to(tmp_path / mine[1])
    locked = tmp_path / f".dcnn-fast-{dead}-{'2' * 12}.partial.png"
    with locked.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with target.writing() as partial:
            assert not left.exists() and partial.exists()
            partial.write_bytes(b"whole")
        assert {path.name for path in tmp_path.iterdir()} == {*mine, link.name, locked.name, "m.safetensors"}
    assert [(tmp_path / name).read_text() for name in mine] == ["stays"] * 3
