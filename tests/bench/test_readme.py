"""The README's performance section is what its result file says."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bench.readme import END, START, replaced, section

ROOT = Path(__file__).parent.parent.parent


def test_the_readme_says_what_was_measured():
    readme = (ROOT / "README.md").read_text()
    source = re.search(r"bench/results/[\w.-]+\.json", readme.split(START)[1].split(END)[0]).group()
    assert replaced(readme, section(json.loads((ROOT / source).read_text()), source)) == readme
