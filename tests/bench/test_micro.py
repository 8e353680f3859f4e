"""`pytest bench/test_micro.py`: each of our micro-benchmarks runs once; its times are not checked."""

from __future__ import annotations

import subprocess
import sys

from bench import sources


def test_every_micro_benchmark_runs():
    command = [sys.executable, "-m", "pytest", "bench/test_micro.py", "-k", "not torch", "-q", "--benchmark-disable"]
    done = subprocess.run(command, cwd=sources.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
