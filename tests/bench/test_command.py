"""`python -m bench`: its output, and its end when results disagree, a suite fails or a floor is missed.

What it measures with the real networks is in test_tiny_run.py.
"""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from typer.testing import CliRunner

from bench import floors, machine, sources, suites
from bench.__main__ import app
from bench.measure import Case, compare
from bench.row import OURS
from bench.timing import Rival

EXPECTED = np.ones((2, 3), np.float32)


def _planted(limits, threads, effort):
    """Two cases; in the first, one peer gives other numbers and one fails."""

    def fails():
        raise OSError("no such device")

    good = [Rival("torch eager", lambda: EXPECTED, 1e-6)]
    liar = Rival("OpenVINO", lambda: EXPECTED + 0.25, 1e-6)
    for name, peers in (("first", [*good, liar, Rival("ONNX Runtime", fails, 1e-6)]), ("second", good)):
        yield from compare(Case("block", name, threads), [Rival(OURS, lambda: EXPECTED, 1e-6)], peers, 1)


def _ends(error):
    """A suite that measures one case and then fails."""

    def rows(limits, threads, effort):
        one = Rival(OURS, lambda: EXPECTED, 1e-6)
        yield from compare(Case("roofline", "before", threads), [one], [Rival("torch eager", lambda: EXPECTED, 1e-6)], 1)
        raise error

    return rows


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "limits", lambda threads, rounds: {"multiply-adds avx2": 100.0})
    monkeypatch.setattr(floors, "FLOORS", ())  # planted suites have none of the floors' cases

    def run(*arguments, tiny=True):
        out = tmp_path / "out.json"
        given = [*arguments, "--threads", "1", "--rounds", "1", "--out", str(out), "--overwrite", *(["--tiny"] if tiny else [])]
        result = CliRunner().invoke(app, given)
        return result, json.loads(out.read_text()) if out.exists() else None

    return run


def _cases(written):
    return [(row["suite"], row["case"], row["name"]) for row in written["rows"]]


def test_a_disagreement_names_the_peer_the_case_and_the_error_and_the_other_cases_go_on(run, monkeypatch):
    monkeypatch.setitem(suites.PER_THREADS, "block", _planted)
    result, written = run("--suite", "block", "--check")
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    said = [
        "first, 1 thread, OpenVINO: output differs by 2.5e-01 of the largest value, allowed 1.0e-06",
        "first, 1 thread, ONNX Runtime: fails: OSError: no such device",
    ]
    for line in said:
        assert result.output.count(f"no time: {line}") == 2  # below its table and at the end
    assert "2 disagreed or failed and have no time" in result.output.splitlines()[-2]
    assert written["refused"] == said
    assert [case[1:] for case in _cases(written)] == [
        ("first", OURS), ("first", "torch eager"), ("second", OURS), ("second", "torch eager"),
    ]  # fmt: skip
    without, _ = run("block")
    assert without.exit_code == 0 and without.output.count(said[0]) == 2


def test_a_missed_floor_is_named_and_fails_the_check(run, monkeypatch):
    monkeypatch.setattr(floors, "judge", lambda *_: floors.Judgement(missed=("block 1: too slow",)))
    monkeypatch.setitem(suites.PER_THREADS, "block", lambda *_: iter(()))
    result, written = run("--suite", "block", "--check")
    assert result.exit_code == 1
    assert "below its floor: block 1: too slow" in result.output and written["missed"] == ["block 1: too slow"]
    assert run("--suite", "block")[0].exit_code == 0


def test_a_floor_without_a_row_is_an_error_with_and_without_check(run, monkeypatch):
    monkeypatch.setattr(floors, "judge", lambda *_: floors.Judgement(unjudged=("block 1: no row",)))
    monkeypatch.setitem(suites.PER_THREADS, "block", lambda *_: iter(()))
    result, written = run("--suite", "block")
    assert result.exit_code == 1
    assert "floor without a row: block 1: no row" in result.output and written["unjudged"] == ["block 1: no row"]


def test_a_suite_that_fails_is_named_what_it_measured_is_kept_and_the_others_go_on(run, monkeypatch):
    monkeypatch.setitem(suites.PER_THREADS, "block", _planted)
    monkeypatch.setitem(suites.PER_THREADS, "roofline", _ends(RuntimeError("no\nmemory")))
    result, written = run("roofline", "block")
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert "failed: suite roofline, 1 thread: RuntimeError: no memory" in result.output
    assert written["failed"] == ["suite roofline, 1 thread: RuntimeError: no memory"]
    assert _cases(written)[:2] == [("roofline", "before", OURS), ("roofline", "before", "torch eager")]
    assert len(written["rows"]) == 6
    assert set(written["digests"]) == {"block"}  # cases that ran to their end


def test_an_interrupt_keeps_what_was_measured(run, monkeypatch):
    monkeypatch.setitem(suites.PER_THREADS, "block", _planted)
    monkeypatch.setitem(suites.PER_THREADS, "roofline", _ends(KeyboardInterrupt()))
    result, written = run("block", "roofline")
    assert result.exit_code != 0
    assert [case[0] for case in _cases(written)] == ["block"] * 4 + ["roofline"] * 2
    assert set(written["digests"]) == {"block"}


def test_results_say_when_of_what_and_how_much(run, monkeypatch):
    monkeypatch.setitem(suites.PER_THREADS, "block", _planted)
    _, written = run("block")
    assert written["measured"]["date"] == sources.state().date
    assert written["digests"] == {"block": dict(sources.digests("block"))}
    assert (written["effort"]["rounds"], written["effort"]["tiny"], written["threads"]) == (1, True, [1])


def test_what_a_time_contains_is_printed_before_the_times(run, monkeypatch):
    monkeypatch.setitem(suites.PER_THREADS, "block", _planted)
    result, written = run("--suite", "block", "--suite", "kernels")
    terms, tables = result.output.index("What a time contains"), result.output.index("block, 1 thread")
    assert terms < tables
    for name in ("block", "kernels"):
        assert any(line.startswith(f"{name}: ") for line in written["contract"])
    said = " ".join(result.output[terms:tables].split())
    for word in ("channels-last", "float32", "bf16", "INFERENCE_NUM_THREADS", "us between launches", "sm_80"):
        assert word in said


def test_an_unknown_suite_is_refused(run):
    result, _ = run("--suite", "blocks")
    assert result.exit_code == 2 and "got blocks" in result.output


def test_results_that_could_not_be_kept_are_refused_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "limits", lambda threads, rounds: pytest.fail("it measured"))
    other, result = tmp_path / "README.md", tmp_path / "result.json"
    other.write_text("a text\n")
    result.write_text(json.dumps({"machine": {}, "limits": {}, "rows": []}, indent=1) + "\n")
    for out, why in ((tmp_path / "none" / "x.json", "no such folder"), (other, "something else"), (result, "exists")):
        before = out.read_text() if out.exists() else None
        found = CliRunner().invoke(app, ["block", "--tiny", "--out", str(out)], env={"COLUMNS": "300"})
        assert found.exit_code == 2 and why in " ".join(found.output.split()), found.output
        assert (out.read_text() if out.exists() else None) == before


def test_an_engine_older_than_its_sources_is_not_measured(tmp_path, monkeypatch):
    (tmp_path / "CMakeLists.txt").write_text("")
    os.utime(tmp_path / "CMakeLists.txt", (0, 0))
    (tmp_path / "csrc" / "cpu").mkdir(parents=True)
    new = tmp_path / "csrc" / "cpu" / "kernel.h"
    new.write_text("")
    if sources.engine_file() is not None:
        assert "before csrc/cpu/kernel.h was changed" in (sources.unbuilt(tmp_path) or "")
    monkeypatch.setattr(sources, "unbuilt", lambda: "the engine is old")
    found = CliRunner().invoke(app, ["kernels"])
    assert found.exit_code == 2 and "the engine is old" in found.output


def test_quick_leaves_out_what_takes_long():
    assert {"block", "score", "kernels"} <= set(suites.QUICK) < set(suites.NAMES)
    assert "scaling" not in suites.QUICK
