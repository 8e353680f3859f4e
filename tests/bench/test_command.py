"""`python -m bench`: what it prints and writes, and how it ends when outputs disagree or a floor is missed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from bench import machine, suites
from bench.__main__ import app
from bench.measure import Case, compare
from bench.row import OURS
from bench.timing import Rival

EXPECTED = np.ones((2, 3), np.float32)


def _planted(limits, threads, effort):
    """Two cases; in the first one peer gives other numbers, and one fails."""

    def fails():
        raise OSError("no such device")

    good = [Rival("torch eager", lambda: EXPECTED, 1e-6)]
    liar = Rival("OpenVINO", lambda: EXPECTED + 0.25, 1e-6)
    for name, peers in (("first", [*good, liar, Rival("ONNX Runtime", fails, 1e-6)]), ("second", good)):
        yield from compare(Case("block", name, threads), [Rival(OURS, lambda: EXPECTED, 1e-6)], peers, 1)


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "limits", lambda threads: {"multiply-adds avx2": 100.0})

    def run(*arguments):
        out = tmp_path / "out.json"
        result = CliRunner().invoke(app, [*arguments, "--threads", "1", "--rounds", "1", "--out", str(out)])
        return result, json.loads(out.read_text()) if out.exists() else None

    return run


def test_a_disagreement_names_the_peer_the_case_and_the_error_and_the_other_cases_go_on(run, monkeypatch):
    monkeypatch.setitem(suites.PER_THREADS, "block", _planted)
    result, written = run("--suite", "block", "--check")
    assert result.exit_code == 1 and isinstance(result.exception, SystemExit)
    said = [
        "first, 1 thread, OpenVINO: output differs by 2.5e-01 of the largest value, allowed 1.0e-06",
        "first, 1 thread, ONNX Runtime: fails: OSError: no such device",
    ]
    for line in said:
        assert f"no time: {line}" in result.output
    assert written["refused"] == said
    assert [(row["case"], row["name"]) for row in written["rows"]] == [
        ("first", OURS), ("first", "torch eager"), ("second", OURS), ("second", "torch eager"),
    ]  # fmt: skip
    assert run("--suite", "block")[0].exit_code == 0
    assert [row["suite"] for row in run("block")[1]["rows"]] == ["block"] * 4


def test_a_missed_floor_is_named_and_fails_the_check(run, monkeypatch):
    monkeypatch.setattr("bench.floors.missed", lambda rows: ["block 1: too slow"])
    monkeypatch.setitem(suites.PER_THREADS, "block", lambda *_: iter(()))
    result, written = run("--suite", "block", "--check")
    assert result.exit_code == 1
    assert "below its floor: block 1: too slow" in result.output and written["missed"] == ["block 1: too slow"]


def test_what_a_time_contains_is_printed_before_the_times(run, monkeypatch):
    monkeypatch.setitem(suites.PER_THREADS, "block", _planted)
    result, written = run("--suite", "block", "--suite", "predicted")
    terms, tables = result.output.index("What a time contains"), result.output.index("block, 1 thread")
    assert terms < tables
    for name in ("block", "predicted"):
        assert any(line.startswith(f"{name}: ") for line in written["contract"])
    said = " ".join(result.output[terms:tables].split())
    for word in ("channels-last", "float32", "bf16", "INFERENCE_NUM_THREADS", "60% of the peak", "GFLOP"):
        assert word in said


def test_an_unknown_suite_is_refused(run):
    result, _ = run("--suite", "blocks")
    assert result.exit_code == 2 and "got blocks" in result.output


def test_quick_leaves_out_what_takes_long():
    assert {"block", "score", "predicted"} <= set(suites.QUICK) < set(suites.NAMES)
    assert "scaling" not in suites.QUICK
