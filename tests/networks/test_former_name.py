"""The former name of dcnn_fast.networks gives the same objects and one deprecation warning."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORMER = "dcnn_fast.sp" + "ec"
WAYS = {
    "import": f"import {FORMER}; import {FORMER}; import dcnn_fast; same = dcnn_fast.{FORMER[-4:]}.Block",
    "from": f"from {FORMER}.layers import Block as same; from {FORMER} import preset",
    "attribute": f"import dcnn_fast; same = dcnn_fast.{FORMER[-4:]}.Block; dcnn_fast.{FORMER[-4:]}.preset('scnn')",
    "package": f"from dcnn_fast import {FORMER[-4:]} as former; from {FORMER}.layers import Block; same = former.Block",
    "pickle": f"import pickle; same = pickle.loads(b'c{FORMER}.layers\\nBlock\\n.')",
}


@pytest.mark.parametrize("way", WAYS)
def test_the_former_name_goes_on_working_and_says_so_once(way):
    """Under Python's default filters, a program sees the warning for its own lines only."""
    code = f"{WAYS[way]}\nfrom dcnn_fast import networks\nassert same is networks.Block"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("<string>:1: "), done.stderr
    assert done.stderr.count("DeprecationWarning: dcnn_fast." + "sp" + "ec is called dcnn_fast.networks") == 1, done.stderr


def test_nothing_of_the_package_uses_the_former_name():
    code = "import dcnn_fast.cli.main, dcnn_fast.scoring, dcnn_fast.training, sys; assert sys.argv[1] not in sys.modules"
    done = subprocess.run([sys.executable, "-W", "error::DeprecationWarning:dcnn_fast", "-c", code, FORMER], check=False)
    assert done.returncode == 0
