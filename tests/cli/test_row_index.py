"""What `--resume` takes from files of rows, compared with a plain statement that holds all rows in memory; and its memory."""

from __future__ import annotations

import os
import random
import tracemalloc
from dataclasses import replace

import pytest

from dcnn_fast.cli.outputs import RowFile
from dcnn_fast.cli.picture_identity import identity
from dcnn_fast.cli.record import Record, record_path
from dcnn_fast.cli.resume import drop_superseded, take_up
from dcnn_fast.cli.rows import CSV, JSONL
from dcnn_fast.cli.targets import Target
from dcnn_fast.scoring import Score

SETTINGS = {"--views": "3", "--seed": "0"}


def file_of(folder, format, rows):
    """A file of these rows with its record."""
    path = folder / ("s.csv" if format is CSV else "s.jsonl")
    path.write_bytes(format.head + b"".join(map(format.line, rows)))
    record = record_path(path)
    record.write_bytes(Record(SETTINGS, "a model", str(folder), "0.1.0", "cpu").content())
    return RowFile(
        Target("--csv" if format is CSV else "--jsonl", str(path), path), format, Target("record", str(record), record)
    )


def taken_up(files, folder, **options):
    return take_up(files, Record(SETTINGS, "a model", str(folder), "0.1.0", "cpu"), **options)


def random_rows(rng, count):
    """Random rows of few pictures: scores, and failures of the same pictures."""
    rows = []
    for _ in range(count):
        path = f"{rng.randrange(6)}.png"
        if rng.random() < 0.4:
            rows.append(Score(path=path, samples_count=3, error=rng.choice(["no such file", "truncated"])))
        else:
            mean = rng.choice([0.25, 0.5])
            rows.append(Score(path=path, samples_count=3, mean=mean, std=0.1, label=rng.choice(["low", "high"])))
    return rows


def by_picture(rows):
    """Each picture's last score, or its last failure if it has no score, where the row stood."""
    found = {}
    for row in rows:
        if row.path in found and row.error and not found[row.path].error:
            continue
        found.pop(row.path, None)
        found[row.path] = row
    return found


def stated(files, *, keep_failures):
    """Each picture's row and its state ("done", "again" or "required"), and the rows of each file afterwards."""
    first, *others = map(by_picture, files)
    second = others[0] if others else first
    taken = {path: row for path, row in second.items() if path not in first or (first[path].error and not row.error)}
    after = {path: row for path, row in first.items() if path not in taken} | taken
    pictures = {}
    for path, row in after.items():
        other = second.get(path)
        agree = other is not None and (row.mean, row.error, row.label) == (other.mean, other.error, other.label)
        best = row if other is None or (other.error and not row.error) else other
        state = "required" if not agree else "again" if best.error and not keep_failures else "done"
        pictures[path] = (best, state)
    return pictures, [list(after.values()), list(second.values())][: len(files)]


@pytest.mark.parametrize("keep_failures", [True, False])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("seed", range(20))
def test_files_are_taken_up_as_stated(seed, count, keep_failures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = random.Random(seed)
    rows = [random_rows(rng, rng.randrange(12)) for _ in range(count)]
    if count == 2 and rng.random() < 0.5:  # as after a run: the same rows, a few of them lost
        rows[1] = [row for row in rows[0] if rng.random() < 0.8]
    files = [file_of(tmp_path, format, each) for format, each in zip((CSV, JSONL), rows, strict=False)]
    held = taken_up(files, tmp_path, keep_failures=keep_failures)
    pictures, after = stated(rows, keep_failures=keep_failures)
    assert not held.failed
    assert [file.format.read(file.path.read_bytes()) for file in files] == after
    assert {row.path: row for row in held.done()} == {path: row for path, (row, state) in pictures.items() if state == "done"}
    assert {row.path: row for row in held.standing()} == {
        path: row for path, (row, state) in pictures.items() if state != "done"
    }
    assert sorted(held.required()) == sorted(path for path, (_, state) in pictures.items() if state == "required")
    for path, (row, state) in pictures.items():
        here = str(tmp_path / path)
        assert held.is_done(identity(here)) == (state == "done")
        failure, score = Score(path=here, error="gone"), Score(path=here, mean=0.75)
        if state != "done":
            assert held.gives_way(failure) == bool(row.error)
            assert held.gives_way(score)
    assert list(held.standing()) == [] and list(held.required()) == []
    again = taken_up(files, tmp_path, keep_failures=keep_failures)  # consistent files stay unchanged
    assert [file.format.read(file.path.read_bytes()) for file in files] == after
    assert not again.failed


@pytest.mark.parametrize("format", [CSV, JSONL], ids=["csv", "jsonl"])
def test_superseded_rows_are_dropped_and_other_files_left(format, tmp_path):
    rows = [row for seed in range(20) for row in random_rows(random.Random(seed), 5)]
    file = file_of(tmp_path, format, rows)
    drop_superseded(file, str(tmp_path))
    assert format.read(file.path.read_bytes()) == list(by_picture(rows).values())
    before = os.stat(file.path)
    drop_superseded(file, str(tmp_path))
    assert os.stat(file.path).st_ino == before.st_ino and os.stat(file.path).st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("kind", ["in order", "failed", "in one file alone", "superseded"])
def test_memory_does_not_grow_with_the_rows(kind, tmp_path):
    """A list of the scores would take 2 MB."""
    score = Score(path="", mean=0.5, std=0.1, label="low", samples_count=3, error="truncated" if kind == "failed" else None)
    if kind == "failed":
        score = replace(score, mean=None, std=None, label=None)
    rows = [replace(score, path=f"pictures/{number % 1000 if kind == 'superseded' else number}.png") for number in range(2000)]
    files = [file_of(tmp_path, CSV, rows), file_of(tmp_path, JSONL, rows[: 100 if kind == "in one file alone" else None])]
    del rows
    tracemalloc.start()
    try:
        held = taken_up(files, tmp_path, keep_failures=False)
        counted = sum(1 for _ in held.done()) + sum(1 for _ in held.standing())
        assert sum(1 for _ in held.required()) == (1900 if kind == "in one file alone" else 0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert counted == (1000 if kind == "superseded" else 2000)
    assert peak < 400_000, peak
