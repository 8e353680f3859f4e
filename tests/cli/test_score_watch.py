"""`dcnn-fast score --watch`: new photographs get their rows as they arrive; a signal ends the run as a normal one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.cli.command import PROGRAM, VIEWS, alone, environment, lines, main, names, rows, score

# A file has settled after 0.2 s here instead of two seconds; tests/data/test_watching.py tests settling itself.
QUICK = "from dcnn_fast.data.watching import Watch; Watch.__init__.__kwdefaults__['settle'] = 0.2; " + PROGRAM


def started(model, *arguments):
    command = [*main(QUICK), "score", "--watch", "--model", model, "--samples", VIEWS, *arguments]
    return subprocess.Popen(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def wait_for_rows(process, table, count):
    deadline = time.monotonic() + 60
    while not (table.exists() and len(table.read_text().splitlines()) == count + 1):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, table.read_text() if table.exists() else "no file"
        time.sleep(0.02)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_photographs_are_scored_as_they_come_and_a_signal_ends_the_run_well(model, folder, tmp_path, signum):
    table, objects, page = tmp_path / "s.csv", tmp_path / "s.jsonl", tmp_path / "s.html"
    process = started(model, folder, "-r", "--csv", table, "--jsonl", objects, "--html", page, "--xmp")
    before = 5
    wait_for_rows(process, table, before)
    (folder / "later").mkdir()
    shutil.copy(folder / "a.png", folder / "later" / "new.png")
    wait_for_rows(process, table, before + 1)
    shutil.copy(folder / "c.webp", folder / "newer.webp")
    wait_for_rows(process, table, before + 2)
    process.send_signal(signum)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert "rank" in stdout
    assert names(table)[before:] == ["new.png", "newer.webp"]
    assert len(lines(objects)) == before + 2
    assert page.read_text().count("<figure>") == before + 2
    assert len(list(folder.rglob("*.xmp"))) == before + 2
    at_once = tmp_path / "at-once.csv"
    assert score(model, folder, "-r", "--csv", at_once).returncode == 0
    watched = {row["path"]: row for row in rows(table)}
    assert [watched[row["path"]] for row in rows(at_once)] == rows(at_once)  # including the place in the collection


def test_a_signal_before_all_that_is_there_has_been_scored_is_an_interruption(model, folder, tmp_path):
    for i in range(500):
        os.link(folder / "a.png", folder / f"{i:04}.png")
    table, page = tmp_path / "s.csv", tmp_path / "s.html"
    many = ["--samples", "30"]  # seconds of work
    process = started(model, folder, *many, "--csv", table, "--xmp")
    while not (table.exists() and len(table.read_text().splitlines()) > 5):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT, stderr
    assert "interrupted after" in stderr and "--resume goes on" in stderr and "no stars were written" in stderr
    assert 5 < len(rows(table)) < 504
    process = started(model, folder, *many, "--csv", table, "--html", page, "--resume")
    wait_for_rows(process, table, 504)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert len(set(names(table))) == 504


def test_what_cannot_be_read_is_named_when_it_comes_and_decides_the_status(model, folder, tmp_path):
    table = tmp_path / "s.csv"
    process = started(model, folder, "--csv", table)
    wait_for_rows(process, table, 4)
    (folder / "bad.png").write_bytes(b"bad")
    wait_for_rows(process, table, 5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1, stderr
    assert f"{folder}/bad.png: " in stderr
    assert rows(table)[-1]["error"]


def test_a_file_that_has_not_settled_at_the_end_is_named_and_no_stars_are_given(model, folder, tmp_path):
    table = tmp_path / "s.csv"
    (folder / "empty.png").write_bytes(b"")
    os.utime(folder / "empty.png", (time.time() + 1000,) * 2)
    process = started(model, folder, "--csv", table, "--xmp")
    wait_for_rows(process, table, 4)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert "1 file was still being written" in stderr and f"{folder}/empty.png" in stderr
    assert "no stars were written" in stderr and not list(folder.glob("*.xmp"))


@pytest.mark.parametrize("paths", [[], ["-"], ["a.png"], ["missing"]])
def test_a_watch_needs_a_folder(model, folder, paths):
    result = score(model, "--watch", *paths, cwd=folder)
    assert result.returncode == 2
    assert "--watch needs a folder" in result.stderr


def test_a_watched_row_is_that_of_any_run(model, folder, tmp_path):
    table, expected = tmp_path / "s.csv", tmp_path / "e.csv"
    process = started(model, folder, "--csv", table)
    wait_for_rows(process, table, 4)
    process.kill()
    process.communicate()
    assert score(model, folder, "--csv", expected).returncode == 0
    assert alone(rows(table)) == alone(rows(expected))
