"""The version, as installed and from a bare folder of sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import dcnn_fast
from dcnn_fast.version import FROM_A_TREE, version

ROOT = Path(dcnn_fast.__file__).parents[1]


def test_it_is_the_installed_ones():
    assert version() == dcnn_fast.__version__ == metadata.version("dcnn-fast")


def test_a_plain_tree_has_one_and_saves_models_with_it(tmp_path):
    """In a process that has the libraries but no installed package."""
    shutil.copytree(ROOT / "dcnn_fast", tmp_path / "dcnn_fast", ignore=shutil.ignore_patterns("*.so", "models", "__pycache__"))
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for each in Path(metadata.distribution("torch").locate_file("")).iterdir():
        if "dcnn" not in each.name.lower() and each.suffix != ".pth":
            (libraries / each.name).symlink_to(each)
    program = (
        "import dcnn_fast, json, sys; from dcnn_fast import nets, networks\n"
        "nets.save_model(nets.Model(nets.build(networks.preset('scnn-arch1')), {}), 'm.safetensors')\n"
        "print(dcnn_fast.__version__, dcnn_fast.__file__)"
    )
    # -S: no site-packages, and hence no editable install.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(libraries)])}
    found = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=tmp_path, env=environment, text=True, capture_output=True, check=True
    )
    printed, file = found.stdout.split()
    assert printed == FROM_A_TREE and Path(file).parent == tmp_path / "dcnn_fast"
    assert (tmp_path / "m.safetensors").stat().st_size > 0
