"""The report: every stage's findings, as JSON and as a page, rewritten after each stage."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment

from dcnn_fast.partials import new_file
from tools.gpu_check.stage import Finding

PASSED, FAILED, CUT, TIMED_OUT, ENDED = "passed", "failed", "out of time", "timed out", "ended"
_PAGE = Path(__file__).with_name("page.html")


@dataclass(frozen=True)
class Ran:
    """A finished stage. status: passed, failed, out of time, timed out (killed at work), or ended by a signal. seconds: used
    of `limit` granted. log: the end of its output. not_done: the work that it did not come to, or did not finish.
    """

    name: str
    title: str
    status: str
    seconds: float
    limit: float
    findings: Sequence[Finding]
    log: str
    not_done: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether the stage passed."""
        return self.status == PASSED


def write(folder: Path, device: str, stages: Sequence[Ran], total: int, simulated: bool, budget: float) -> None:
    """Write report.json and report.html into the folder, each atomically. budget: seconds for this run's stages together."""
    ran = [plain(asdict(stage)) for stage in stages]
    content = {"device": device, "simulated": simulated, "stages": ran, "total": total, "budget": budget}
    _replace(folder / "report.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    _replace(folder / "report.html", Environment(autoescape=True).from_string(_PAGE.read_text()).render(**content) + "\n")


def say(ran: Ran) -> None:
    """Say on the terminal how a stage ended, what is wrong and what it has not done."""
    sys.stdout.write(f"{ran.name}: {ran.status} ({ran.seconds:.1f} s of {ran.limit:.1f})\n")
    for each in ran.findings:
        if each.passed is False:
            sys.stdout.write(f"  {each.name}: {each.said}\n")
    if ran.not_done:
        sys.stdout.write(f"  not done: {'; '.join(ran.not_done)}\n")
    sys.stdout.flush()


def read(file: Path) -> list[Ran]:
    """The stages of a report.json; empty where there is no file. Raises ValueError for a file that is not a report."""
    if not file.exists():
        return []
    try:
        stages = json.loads(file.read_text())["stages"]
        return [Ran(**{**stage, "findings": [Finding(**each) for each in stage["findings"]]}) for stage in stages]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is no report: {error}") from None


def plain(value: Any) -> Any:
    """The value with non-finite numbers as words, as JSON has no NaN."""
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _replace(file: Path, text: str) -> None:
    with new_file(file) as partial:
        partial.write_text(text)
        os.replace(partial, file)
