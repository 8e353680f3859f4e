"""Stage 4: the tests marked `gpu`, with real CUDA tensors."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from tools.gpu_check.stage import ROOT, Finding, OutOfTimeError, Setting

SELECTED = "tests/gpu"
_SUMMING_UP = 10  # seconds, a quarter of what there is at most
_MOST = 14  # processes, as each has a context of some hundred megabytes on the GPU


def run(setting: Setting) -> Iterator[Finding]:
    """One finding; pytest's whole output is in pytest.txt."""
    if find_spec("pytest") is None:
        yield Finding("tests", None, "not run: pytest is not installed")
        return
    said = setting.out / "pytest.txt"
    with said.open("w") as file:
        process = subprocess.Popen(command(setting), stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
        status = _ended(process, max(3 * setting.left / 4, setting.left - _SUMMING_UP))
    yield judged(status, said.read_text(errors="replace"))
    if status is None:
        raise OutOfTimeError


def _ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The process's status; None if it ran past the limit, was interrupted and, if need be, killed."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(_SUMMING_UP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return None


def judged(status: int | None, said: str) -> Finding:
    """The finding for pytest's end. status: None where it was stopped."""
    summary = [line for line in said.splitlines() if re.search(r"\d+ (passed|failed|error)", line)]
    failed = [line for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    words = "; ".join([*summary[-1:], *failed[:8]])
    if status is None:
        return Finding("tests", False if failed else None, f"stopped before all had run: {words or 'it has said nothing'}")
    return Finding("tests", status == 0 and bool(summary), words or f"pytest ended with status {status}")


def command(setting: Setting) -> list[str]:
    """The command to run: on a GPU all marked tests; in the simulator those of tests/gpu, with cpu tensors."""
    base = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "gpu", "--device"]
    if setting.simulated:
        return [*base, "sim", SELECTED, "-k", "quick"]
    sharing = find_spec("xdist") is not None
    processes = min(_MOST, max(1, (os.cpu_count() or 1) - 2))
    return [*base, setting.device, SELECTED, "tests", *(["-n", str(processes), "--dist", "worksteal"] if sharing else [])]
