"""Compiles and simulates a selection of kernels with the compilers in CUDA images of torch 2.11.

`python -m tools.older_toolchain` installs Triton 3.6.0 and NVRTC 13.0.88 into a separate folder, build/older, beside the pinned
torch, and runs two stages of `tools.gpu_check` with them in the simulator, as sm_80: in code by Triton 3.6.0 for sm_90 the
simulator reports a race of that compiler's own (docs/gpu-notes.md). Not run: Python 3.12 and torch 2.11 themselves, which it
does not install, and CuPy 14.2, which launches nothing without a GPU.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tools.gpu_check import report
from tools.gpu_check.report import Ran

ROOT = Path(__file__).resolve().parents[1]
WANTED = {"triton": "3.6.0", "nvidia-cuda-nvrtc": "13.0.88"}
STAGES = ("versions", "families")
DEVICE = "sim:80"
FOLDER, OUT = ROOT / "build" / "older", ROOT / "build" / "older-check"


def installed(folder: Path = FOLDER) -> str | None:
    """Install both where missing. Returns None, or one sentence on why they cannot be installed."""
    if all(_is_there(folder, *wanted) for wanted in WANTED.items()):
        return None
    names = [f"{name}=={version}" for name, version in WANTED.items()]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade"]
    without = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}  # which pins newer versions
    done = subprocess.run([*pip, "--target", str(folder), *names], capture_output=True, text=True, check=False, env=without)
    if done.returncode:
        return f"{' and '.join(names)} could not be installed: {done.stderr.strip().splitlines()[-1:]}"
    return None


def _is_there(folder: Path, name: str, version: str) -> bool:
    return (folder / f"{name.replace('-', '_')}-{version}.dist-info").is_dir()


def check(folder: Path = FOLDER, out: Path = OUT) -> int:
    """Run the stages with the folder's versions. Returns 0 where all pass."""
    (out / "report.json").unlink(missing_ok=True)
    only = [word for stage in STAGES for word in ("--only", stage)]
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "tools.gpu_check", "--device", DEVICE, *only, "--out", str(out)]
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment)
    return done.returncode or others(report.read(out / "report.json"))


def others(stages: list[Ran]) -> int:
    """Returns 1 with a message where other than the wanted versions were run, so that nothing is known about these; else 0."""
    said = {each.name: each.said for stage in stages for each in stage.findings}
    meant = {"Triton": "version 3.6.0,", "NVRTC": "version 13.0"}
    wrong = [name for name, start in meant.items() if not said.get(name, "").startswith(start)]
    for name in wrong:
        sys.stderr.write(f"{name} is not the one that was meant: {said.get(name, 'it was not asked')}\n")
    return int(bool(wrong))


def main() -> int:
    """The command."""
    if why := installed():
        sys.stderr.write(f"not run: {why}\n")
        return 1
    return check()


if __name__ == "__main__":
    sys.exit(main())
