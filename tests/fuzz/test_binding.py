"""Whatever the engine's arguments, it refuses or runs; it neither crashes nor hangs, and writes nowhere else (binding.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dcnn_fast import engine

ROOT = Path(__file__).parents[2]
PARTS, CALLS = 2, 4000
SECONDS = 300  # a hang is noticed; with a sanitized engine the whole test takes a minute

pytestmark = pytest.mark.needs_engine


@pytest.mark.parametrize("part", range(PARTS))
def test_random_calls_run_or_are_refused(part, tmp_path):
    progress = tmp_path / "seed"
    file = str(engine.native.__file__)
    first = part * CALLS
    command = [sys.executable, "-m", "tests.fuzz.binding", file, str(progress), str(first), str(first + CALLS)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        pytest.fail(f"the call of seed {progress.read_text().strip()} takes more than {SECONDS} s")
    assert done.returncode == 0, f"seed {progress.read_text().strip()}: status {done.returncode}\n{done.stderr}"
    counts = json.loads(done.stdout)
    for kind in (
        "regions",
        "whole",
        "linear",
        "update",
        "plan",
        "small",
        "column_tables",
        "column",
        "mbconv",
        "backbone",
        "views",
        "summary",
    ):
        assert min(counts[f"{kind} ran"], counts[f"{kind} refused"]) >= CALLS // 100, counts
