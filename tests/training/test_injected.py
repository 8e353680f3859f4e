"""`train` that is killed or finds no room at its writes: what is there is whole, and the run goes on to the same result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STEP = 8  # of that many writes one is killed and one fails; `python -m tests.training.injected FOLDER` takes all


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    command = [sys.executable, "-m", "tests.training.injected", str(tmp_path_factory.mktemp("injected")), str(STEP)]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 0, found.stderr[-3000:]
    first, *others = map(json.loads, found.stdout.splitlines())
    assert first["writes"] > 30 and "checkpoint.safetensors" in first["files"]
    return others


def test_whatever_happens_a_run_goes_on_to_the_same_weights(runs):
    """The files that are there are whole, which the program has read, and --resume ends as a run without failures does.

    A run that never found room for a checkpoint cannot go on, and one for its best model does not have it later.
    """
    assert len(runs) > 14
    for run in runs:
        if run["files"] and "checkpoint.safetensors" not in run["files"]:
            assert run["status"] == 3 and "checkpoint.safetensors could not be written" in run["said"], run
            continue
        wanted = {"last.safetensors", "log.csv", "curves.png"} | ({"best.safetensors"} if run["status"] != 3 else set())
        assert run["again"] == 0 and run["same"] and wanted <= set(run["after"]), (run["name"], run["more"])
        assert not run["hidden"], run


def test_a_kill_is_a_kill_and_the_rest_ends_by_itself(runs):
    for run in runs:
        killed = run["name"].startswith("killed")
        assert (run["status"] in (-9, -25)) if killed else (run["status"] in (0, 2, 3)), (run["name"], run["status"])
        assert "Traceback" not in run["said"] + run["more"]


def test_a_full_disk_names_each_file_that_is_not_there(runs):
    for run in runs:
        if run["name"].startswith("full"):
            lost = {"best.safetensors", "checkpoint.safetensors", "last.safetensors", "log.csv", "curves.png"} - set(
                run["files"]
            )
            if run["status"] == 3:
                assert all(f"error: run/{name} could not be written: " in run["said"] for name in lost), run
            elif run["status"] == 2:
                assert run["said"].splitlines()[-1].startswith("error: ") and "No space left on device" in run["said"], run
            else:
                assert run["status"] == 0 and not lost, run
