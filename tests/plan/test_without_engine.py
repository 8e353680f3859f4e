"""Without the engine every plan is brute force, and `explain` says so."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_ENGINE = """
import sys
sys.modules["dcnn_fast._engine"] = None
"""

PLANS = (
    WITHOUT_ENGINE
    + """
import numpy as np
from dcnn_fast import networks
from dcnn_fast.plan import brute_force, share
from dcnn_fast.plan.cost import costs_of
column = networks.preset("scnn-arch1").columns[0]
windows = np.array([[0, 0], [8, 16], [0, 0], [3, 32]])
for backend in ("cpu", "reference", "triton", "cuda"):
    plan, brute = share(column, windows, (256, 256), backend), brute_force(column, windows)
    assert plan.name == "brute-force" and plan.window_of.tolist() == [0, 2, 0, 1]
    assert all((a.regions == b.regions).all() and a.outputs == b.outputs for a, b in zip(plan.blocks, brute.blocks))
    assert costs_of(column, backend)[0].multiplications(plan.blocks[0]) == 3 * 108**2 * 64 * 3 * 11**2
"""
)

EXPLAIN = (
    WITHOUT_ENGINE
    + """
from dcnn_fast.cli.main import run
sys.argv = ["dcnn-fast", "explain", "scnn-arch1"]
run()
"""
)


def _python(program):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_every_plan_is_brute_force():
    _python(PLANS)


def test_explain_says_so_in_one_line():
    said = [line for line in _python(EXPLAIN).splitlines() if "brute force" in line]
    assert said == ["plans: made by the C++ engine, which is not there: brute force, one region a window"]
