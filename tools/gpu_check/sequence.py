"""Runs the stages in sequence, each in a child of this process, which itself never touches a GPU."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from multiprocessing import get_context
from multiprocessing.connection import wait
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
from tools.gpu_check.report import CUT, ENDED, FAILED, PASSED, TIMED_OUT, Ran
from tools.gpu_check.shares import SHARES, SOME_NOT_DONE, budget
from tools.gpu_check.stage import Finding, OutOfTimeError, Setting, Stage, whole

STAGES: Mapping[str, Stage] = {
    name: Stage(name, SHARES[name], title, works)
    for name, title, works in (
        ("versions", "What is there, and whether both compilers work.", whole("versions", versions.run)),
        ("families", "One launch of every family of kernels against float64, CUDA C++ first.", families.works),
        ("sanitizer", "Every access, race and barrier of four small launches.", sanitizer.works),
        ("tests", "The tests that are marked gpu, with real CUDA tensors.", whole("tests", real_tensors.run)),
        ("scores", "Scores alone, in batches, by many workers, with and without graphs, and the CPU's.", end_to_end.works),
        ("times", "Times of blocks, scores and training steps, beside torch's and the paper's.", times.works),
        ("profile", "What three kernels do, by the GPU's own counters.", profile.works),
        ("predictions", "The model's seconds over those that were measured.", whole("predictions", predictions.run)),
    )
}
_LAST_WORDS = 2.0  # seconds of a stage's time, a tenth at most, in which no work begins
_LOG = 4000  # characters of a log in the report


def run(
    device: str, out: Path, names: Sequence[str], *, write: bool = False, minutes: float | None = None,
    began: float | None = None,
) -> int:  # fmt: skip
    """Run these stages and write the report after each. Returns 0 where nothing is wrong and all was done, 1 where something is
    wrong, and `SOME_NOT_DONE` where a stage ran out of time.

    minutes: for all of them together, since `began` (by `time.monotonic`; now, if None). Each stage gets its share of what the
    earlier ones have left.
    """
    began = time.monotonic() if began is None else began
    if not re.fullmatch(r"sim(:(80|86|89|90|120))?|cuda(:\d+)?", device):
        sys.stderr.write(f"--device must be cuda, cuda:N, sim or sim:80 (86, 89, 90, 120), got {device!r}\n")
        return 2
    out.mkdir(parents=True, exist_ok=True)
    try:
        known = {each.name: each for each in report.read(out / "report.json")} if len(names) < len(STAGES) else {}
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    wrong = cut = False
    seconds = budget(device, minutes, names)
    chosen = [name for name in STAGES if name in names]
    for i, name in enumerate(chosen):
        share = STAGES[name].share / sum(STAGES[each].share for each in chosen[i:])
        granted = max(0.0, began + seconds - time.monotonic()) * share
        others = [each for each in STAGES if each in known and each != name]
        before, not_done = ({each: getattr(known[each], of) for each in others} for of in ("findings", "not_done"))
        setting = Setting(device, out, before, write, not_done=not_done)
        ran = _ran(STAGES[name], setting, granted)
        known[name] = ran
        wrong |= ran.status not in (PASSED, CUT)
        cut |= bool(ran.not_done)
        stages = [known[each] for each in STAGES if each in known]
        report.write(out, device, stages, len(STAGES), setting.simulated, seconds)
        report.say(ran)
    return 1 if wrong else SOME_NOT_DONE if cut else 0


def _ran(stage: Stage, setting: Setting, limit: float) -> Ran:
    found, log = (setting.out / f"{stage.name}.{kind}" for kind in ("jsonl", "log"))
    found.write_text("")
    began = time.monotonic()
    setting = replace(setting, ends=began + limit - min(_LAST_WORDS, limit / 10))
    # A fork has all modules already. It is safe, as this process has never used a GPU and runs no other thread.
    child = get_context("fork").Process(target=_in_child, args=(stage, setting, found, log))
    child.start()
    status = _status(child, bool(wait([child.sentinel], limit)))
    seconds = time.monotonic() - began
    findings, not_done = _told(stage, found.read_text().splitlines())
    if status == PASSED and any(each.passed is False for each in findings):
        status = FAILED
    if status == PASSED and not_done:
        status = CUT
    said = log.read_text(errors="replace")[-_LOG:] if log.exists() else ""
    return Ran(stage.name, stage.title, status, seconds, limit, findings, said, not_done)


def _told(stage: Stage, lines: Sequence[str]) -> tuple[list[Finding], list[str]]:
    """The findings that a child has written, and the work that it had planned and has not done."""
    told = [json.loads(line) for line in lines]
    planned = next((each["planned"] for each in told if "planned" in each), [stage.name])
    done = {each["done"] for each in told if "done" in each}
    findings = [Finding(**each) for each in told if "name" in each]
    return findings, [name for name in planned if name not in done]


def _status(child: BaseProcess, ended: bool) -> str:
    """How the child ended. It is killed where it has not; so are all processes that it has left, which the next would find on
    the GPU.
    """
    assert child.pid is not None
    try:
        os.killpg(child.pid, signal.SIGKILL)  # its number is its own until it is joined
    except ProcessLookupError:  # it has not come to make its group
        child.kill()
    child.join()
    if not ended:
        return TIMED_OUT
    assert child.exitcode is not None
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

        def tell(what: Mapping[str, object]) -> None:
            file.write(json.dumps(report.plain(what)) + "\n")
            file.flush()

        try:
            _work(stage, setting, tell)
        except BaseException as error:
            traceback.print_exc()
            tell(asdict(Finding(stage.name, False, f"{type(error).__name__}: {error}")))
            status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _work(stage: Stage, setting: Setting, tell: Callable[[Mapping[str, object]], None]) -> None:
    """Do the stage's work while there is time for it."""
    works = stage.works(setting)
    tell({"planned": [each.name for each in works]})
    for work in works:
        if time.monotonic() >= setting.ends:
            return
        try:
            for each in work.run(setting):
                tell(asdict(each))
        except OutOfTimeError:
            continue
        tell({"done": work.name})
