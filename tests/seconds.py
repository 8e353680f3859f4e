"""The table of seconds by folder at the end of a run: who uses the time that `make test` may take (design.md section 8)."""

from __future__ import annotations

from collections import defaultdict
from pathlib import PurePosixPath

import pytest


class Seconds:
    """A plugin that adds up how long the tests of each folder took, set-up and teardown included."""

    def __init__(self) -> None:
        self._of: defaultdict[str, float] = defaultdict(float)
        self._tests: defaultdict[str, int] = defaultdict(int)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        folder = PurePosixPath(report.nodeid.split("::")[0]).parent.as_posix()
        self._of[folder] += report.duration
        self._tests[folder] += report.when == "call"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """A line for each folder that took over a second, the longest first."""
        terminalreporter.section("seconds by folder")
        for folder, seconds in sorted(self._of.items(), key=lambda of: -of[1]):
            if seconds >= 1:
                terminalreporter.write_line(f"{seconds:7.0f} s  {self._tests[folder]:5d} tests  {folder}")
        terminalreporter.write_line(f"{sum(self._of.values()):7.0f} s  {sum(self._tests.values()):5d} tests")
