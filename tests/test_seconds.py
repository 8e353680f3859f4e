"""The table of seconds by folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_run_prints_the_committed_seconds_and_writes_its_own(tmp_path):
    (tmp_path / "test_slow.py").write_text("import time\n\ndef test_one(): time.sleep(1.6)\n\ndef test_two(): pass\n")
    (tmp_path / "test_quick.py").write_text("def test_three(): pass\n")
    table = tmp_path / "seconds.md"
    table.write_text("| . | 7 | 42 |\n| elsewhere | 1 | 8 |\n")
    words = ["-p", "tests.conftest", "--seconds-table", table, "--write-seconds", "One core.", "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *map(str, words)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert re.search(r"^ +\d+ s +42 s +3 tests  \.$", done.stdout, re.M), done.stdout
    assert re.search(r"^ +\d+ s +42 s +3 tests$", done.stdout, re.M), done.stdout
    written = table.read_text()
    assert re.search(r"^3 tests in \d+ seconds\. One core\.$", written, re.M), written
    assert re.search(r"^\| \. \| 3 \| \d+ \|$", written, re.M) and "elsewhere" not in written, written
