"""Stage 4: the tests that are marked `gpu`, with real CUDA tensors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from tools.gpu_check.stage import ROOT, Finding, Setting

SELECTED = "tests/gpu"
_MOST = 14  # processes: each has a context of some hundred megabytes on the GPU


def run(setting: Setting) -> Iterator[Finding]:
    """One finding, with pytest's last line; all that it says is in the stage's log."""
    if find_spec("pytest") is None:
        yield Finding("tests", None, "not run: pytest is not installed")
        return
    done = subprocess.run(command(setting), capture_output=True, text=True, check=False, cwd=ROOT)
    sys.stdout.write(done.stdout + done.stderr)
    summary = [line for line in done.stdout.splitlines() if " passed" in line or " failed" in line or " error" in line]
    failed = [line.removeprefix("FAILED ") for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    said = "; ".join([*summary[-1:], *failed[:8]]) or f"pytest ended with status {done.returncode}"
    yield Finding("tests", done.returncode == 0 and bool(summary), said)


def command(setting: Setting) -> list[str]:
    """What is run: on a GPU all tests with the mark; in the simulator those of tests/gpu, whose tensors are then of the cpu."""
    base = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "gpu", "--device"]
    if setting.simulated:
        return [*base, "sim", SELECTED, "-k", "quick"]
    sharing = find_spec("xdist") is not None
    processes = min(_MOST, max(1, (os.cpu_count() or 1) - 2))
    return [*base, setting.device, *(["-n", str(processes), "--dist", "worksteal"] if sharing else [])]
