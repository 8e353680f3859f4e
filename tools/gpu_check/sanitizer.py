"""Stage 3: every access of four launches is checked, on a GPU by compute-sanitizer from the CUDA toolkit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from tools.gpu_check import families
from tools.gpu_check.stage import ROOT, Finding, OutOfTimeError, Piece, Setting

LAUNCHES = ("cuda views warp", "cuda block fp16 from bytes", "triton block fp16", "triton block fp32 backward")
TOOLS = ("memcheck", "racecheck", "synccheck")
PROGRAM = "compute-sanitizer"
_FOUND = 9  # the exit status to use when it finds something
# Its messages where it cannot access a device, as in a sandbox; these are not findings.
_CANNOT = ("Device not supported", "not supported on this", "Unable to find injection")


def works(setting: Setting) -> list[Piece]:
    """Each tool once, over all four launches."""
    if setting.simulated or shutil.which(PROGRAM) is None:
        return [Piece(PROGRAM, _without)]
    return [Piece(tool, partial(_by, tool)) for tool in TOOLS]


def _without(setting: Setting) -> Iterator[Finding]:
    if not setting.simulated:
        yield Finding(PROGRAM, None, "not run: it is not on the PATH")
        return
    yield Finding(PROGRAM, None, "not run: there is no GPU; the simulator looks at every access, race and barrier itself")
    yield from families.run(setting, LAUNCHES[:2])


def command(tool: str, device: str) -> list[str]:
    """The command to run."""
    program = [sys.executable, "-m", "tools.gpu_check.families", *LAUNCHES, "--device", device]
    return [PROGRAM, "--tool", tool, "--error-exitcode", str(_FOUND), *program]


def _by(tool: str, setting: Setting) -> Iterator[Finding]:
    seconds = setting.left
    try:
        done = subprocess.run(
            command(tool, setting.device), capture_output=True, text=True, check=False, cwd=ROOT, timeout=seconds
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        yield Finding(tool, None, f"not finished within {seconds:.0f} seconds")
        raise OutOfTimeError from None
    said = done.stdout + done.stderr
    (setting.out / f"{tool}.txt").write_text(said)
    yield judged(tool, done.returncode, said)


def judged(tool: str, status: int, said: str) -> Finding:
    """The finding for a run of the tool."""
    if cannot := next((each for each in _CANNOT if each in said), None):
        return Finding(tool, None, f"does not work here: {cannot}")
    if status:
        found = next((line for line in said.splitlines() if "=========" in line and line.strip("= ")), "no line of its own")
        return Finding(tool, False, f"status {status}: {found.strip('= ')}; all of it is in {tool}.txt")
    return Finding(tool, True, "nothing was found")
