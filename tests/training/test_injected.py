"""`train` killed or out of space at its writes: the remaining files are whole, and the run resumes to the same result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STEP = 8  # one of STEP writes is killed and one fails; `python -m tests.training.injected FOLDER` takes all
FILES = ("best.safetensors", "checkpoint.safetensors", "last.safetensors", "log.csv", "times.csv", "curves.png")


def test_whatever_is_killed_or_full_a_run_goes_on(tmp_path):
    """A single test, since processes that share the tests would each repeat the runs."""
    runs = _runs(tmp_path)
    _require_the_same_weights(runs)
    _require_ends_by_themselves(runs)
    _require_lost_files_named(runs)


def _runs(folder):
    command = [sys.executable, "-m", "tests.training.injected", str(folder / "injected"), str(STEP)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 0, found.stderr[-3000:]
    first, *others = map(json.loads, found.stdout.splitlines())
    assert first["writes"] > 30 and "checkpoint.safetensors" in first["files"]
    return others


def _require_the_same_weights(runs):
    """The remaining files are whole (the program reads them), and --resume ends like a run without failures.

    A run that never had space for a checkpoint cannot resume; one that had none for its best model lacks it later.
    """
    assert len(runs) > 14
    for run in runs:
        if run["files"] and "checkpoint.safetensors" not in run["files"]:
            assert run["status"] == 3 and "checkpoint.safetensors could not be written" in run["said"], run
            continue
        wanted = {"last.safetensors", "log.csv", "times.csv", "curves.png"} | (
            {"best.safetensors"} if run["status"] != 3 else set()
        )
        assert run["again"] == 0 and run["same"] and wanted <= set(run["after"]), (run["name"], run["more"])
        assert not run["hidden"], run


def _require_ends_by_themselves(runs):
    for run in runs:
        killed = run["name"].startswith("killed")
        assert (run["status"] in (-9, -25)) if killed else (run["status"] in (0, 2, 3)), (run["name"], run["status"])
        assert "Traceback" not in run["said"] + run["more"]


def _require_lost_files_named(runs):
    for run in runs:
        if run["name"].startswith("full"):
            lost = {*FILES} - set(run["files"])
            if run["status"] == 3:
                assert all(f"error: run/{name} could not be written: " in run["said"] for name in lost), run
            elif run["status"] == 2:
                assert run["said"].splitlines()[-1].startswith("error: ") and "No space left on device" in run["said"], run
            else:
                assert run["status"] == 0 and not lost, run
