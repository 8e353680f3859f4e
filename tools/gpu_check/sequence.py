"""Runs the stages in sequence, each in a child of this process, which itself never touches a GPU."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

from tools.gpu_check import (
    end_to_end,
    families,
    predictions,
    profile,
    real_tensors,
    report,
    sanitizer,
    times,
    versions,
)
from tools.gpu_check.report import ENDED, FAILED, PASSED, TIMED_OUT, Ran
from tools.gpu_check.stage import Finding, Setting, Stage

STAGES: Mapping[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("versions", 30, "What is there, and whether both compilers work.", versions.run),
        Stage("families", 60, "One launch of every family of kernels against float64, CUDA C++ first.", families.run),
        Stage("sanitizer", 60, "Every access, race and barrier of four small launches.", sanitizer.run),
        Stage("tests", 100, "The tests that are marked gpu, with real CUDA tensors.", real_tensors.run),
        Stage(
            "scores", 60, "Scores alone, in batches, by many workers, with and without graphs, and the CPU's.", end_to_end.run
        ),
        Stage("times", 120, "Times of blocks, scores and training steps, beside torch's and the paper's.", times.run),
        Stage("profile", 60, "What three kernels do, by the GPU's own counters.", profile.run),
        Stage("predictions", 20, "The model's seconds over those that were measured.", predictions.run),
    )
}
_SLOWER = 10  # the time limits' factor in the simulator
_LOG = 4000  # characters of a log in the report


def run(device: str, out: Path, names: Sequence[str], *, write: bool = False) -> int:
    """Run these stages and write the report after each. Returns 0 where nothing is wrong."""
    if not re.fullmatch(r"sim(:(80|86|89|90|120))?|cuda(:\d+)?", device):
        sys.stderr.write(f"--device must be cuda, cuda:N, sim or sim:80 (86, 89, 90, 120), got {device!r}\n")
        return 2
    out.mkdir(parents=True, exist_ok=True)
    try:
        known = {each.name: each for each in report.read(out / "report.json")} if len(names) < len(STAGES) else {}
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    wrong = False
    for name in STAGES:
        if name not in names:
            continue
        before = {each: known[each].findings for each in STAGES if each in known and each != name}
        setting = Setting(device, out, before, write)
        ran = _ran(STAGES[name], setting)
        known[name] = ran
        wrong |= not ran.passed
        stages = [known[each] for each in STAGES if each in known]
        report.write(out, device, stages, len(STAGES), setting.simulated)
        sys.stdout.write(f"{name}: {ran.status} ({ran.seconds:.0f} s)\n")
        for each in ran.findings:
            if each.passed is False:
                sys.stdout.write(f"  {each.name}: {each.said}\n")
        sys.stdout.flush()
    return int(wrong)


def _ran(stage: Stage, setting: Setting) -> Ran:
    limit = stage.seconds * (_SLOWER if setting.simulated else 1)
    found, log = (setting.out / f"{stage.name}.{kind}" for kind in ("jsonl", "log"))
    found.write_text("")
    began = time.monotonic()
    # A fork has all modules already. It is safe, as this process has never used a GPU and runs no other thread.
    child = get_context("fork").Process(target=_in_child, args=(stage, setting, found, log))
    child.start()
    child.join(limit)
    status = _status(child)
    seconds = time.monotonic() - began
    findings = [Finding(**json.loads(line)) for line in found.read_text().splitlines()]
    if status == PASSED and any(each.passed is False for each in findings):
        status = FAILED
    said = log.read_text(errors="replace")[-_LOG:] if log.exists() else ""
    return Ran(stage.name, stage.title, status, seconds, limit, findings, said)


def _status(child: BaseProcess) -> str:
    """How the child ended; one past its limit is killed with all its processes."""
    if child.exitcode is None:
        assert child.pid is not None
        os.killpg(child.pid, signal.SIGKILL)
        child.join()
        return TIMED_OUT
    if child.exitcode < 0:
        return f"{ENDED} by {signal.Signals(-child.exitcode).name}"
    return PASSED if child.exitcode == 0 else FAILED


def _in_child(stage: Stage, setting: Setting, found: Path, log: Path) -> None:
    """Run the stage, writing every finding to disk before the next begins."""
    os.setsid()
    number = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(number, 1)
    os.dup2(number, 2)
    sys.stdout, sys.stderr = (os.fdopen(each, "w", buffering=1, closefd=False) for each in (1, 2))
    status = 0
    with found.open("a") as file:
        try:
            for each in stage.run(setting):
                file.write(json.dumps(report.plain(asdict(each))) + "\n")
                file.flush()
        except BaseException as error:
            traceback.print_exc()
            failure = Finding(stage.name, False, f"{type(error).__name__}: {error}")
            file.write(json.dumps(report.plain(asdict(failure))) + "\n")
            status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
