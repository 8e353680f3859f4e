"""The tutorials of docs/ work: their code is run, in order, in its own process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r'^```python(?: title="([\w.]+)")?\n(.*?)^```', re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", ["path", "write-a-backend", "simulate-a-kernel"])
def test_every_block_of_a_tutorial_runs(page, tmp_path):
    found = _BLOCK.findall((ROOT / "docs" / f"{page}.md").read_text())
    assert len(found) >= 5
    for title, code in found:
        with (tmp_path / (title or "page.py")).open("a") as file:
            file.write(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "page.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
