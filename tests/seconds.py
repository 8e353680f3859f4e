"""The table of seconds by folder at the end of a run, beside the committed one: the shares of the time of `make test`.

`pytest --write-seconds "the machine"` of a whole run writes the table anew: the budget that later work is held to
(docs/design.md#tests).
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

import pytest

TABLE = Path(__file__).with_name("seconds.md")
_HEAD = """# Seconds of the tests, by folder

Set-up and teardown included; two processes share them, so a run takes half as long. Folders under a second are left out.
"""


def add_options(parser: pytest.Parser) -> None:
    """The options of the table."""
    parser.addoption("--write-seconds", metavar="MACHINE", help="write the table of seconds by folder, as of this machine")
    parser.addoption("--seconds-table", type=Path, default=TABLE, help="the table's file")


class Seconds:
    """A plugin that adds up the seconds of each folder's tests, set-up and teardown included.

    table: the file of the committed table. machine: what to write it anew for; None: it is only read.
    """

    def __init__(self, table: Path, machine: str | None) -> None:
        self._table, self._machine = table, machine
        self._of: defaultdict[str, float] = defaultdict(float)
        self._tests: defaultdict[str, int] = defaultdict(int)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        folder = PurePosixPath(report.nodeid.split("::")[0]).parent.as_posix()
        self._of[folder] += report.duration
        self._tests[folder] += report.when == "call"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Write a line for each folder that took over a second, the longest first."""
        before = committed(self._table)
        terminalreporter.section("seconds by folder, and by the committed table")
        for folder, seconds, tests in self._lines():
            known = f"{before[folder]:5d}" if folder in before else "    -"
            terminalreporter.write_line(f"{seconds:7.0f} s {known} s  {tests:5d} tests  {folder}")
        known_too = sum(before[folder] for folder in self._of if folder in before)
        terminalreporter.write_line(f"{sum(self._of.values()):7.0f} s {known_too:5d} s  {self._count():5d} tests")
        if self._machine is not None:
            self._table.write_text(self._text(self._machine), encoding="utf-8")

    def _lines(self) -> list[tuple[str, float, int]]:
        order = sorted(self._of.items(), key=lambda of: -of[1])
        return [(folder, seconds, self._tests[folder]) for folder, seconds in order if seconds >= 1]

    def _count(self) -> int:
        return sum(self._tests.values())

    def _text(self, machine: str) -> str:
        rows = [f"| {folder} | {tests} | {seconds:.0f} |" for folder, seconds, tests in self._lines()]
        whole = f"{self._count()} tests in {sum(self._of.values()):.0f} seconds. {machine}"
        return "\n".join([_HEAD, whole, "", "| folder | tests | seconds |", "|---|---|---|", *rows, ""])


def committed(table: Path) -> dict[str, int]:
    """Seconds by folder, from a table written by `--write-seconds`."""
    if not table.exists():
        return {}
    return {folder: int(seconds) for folder, seconds in re.findall(r"^\| (\S+) \| \d+ \| (\d+) \|$", table.read_text(), re.M)}
