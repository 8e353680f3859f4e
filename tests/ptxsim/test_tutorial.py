"""The tutorial works as written, with Triton and, in its own environment, with numpy alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "ptxsim" / "tutorial"
TEXT = (TUTORIAL / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def ran(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path):
    for file in TUTORIAL.iterdir():
        if file.suffix in (".ptx", ".py"):
            shutil.copy(file, tmp_path)
    return tmp_path


def require_said(folder, programs):
    """Check that the shell's commands, as a user would type them, print the tutorial's output, line by line.

    A finding's line goes on with an address, which differs. programs: the folder in which python and ptxsim are.
    """
    script = "set -eo pipefail\n" + "".join(blocks("sh")) + "cat said.txt\n"
    found = ran("bash", "-c", script, cwd=folder, env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"})
    for block in blocks("text"):
        for line in block.splitlines():
            assert any(printed.startswith(line) for printed in found.splitlines()), line


def test_the_commands_print_what_the_tutorial_says(folder):
    require_said(folder, Path(sys.executable).parent)


def test_the_python_of_the_tutorial_runs(folder):
    (folder / "all.py").write_text("".join(blocks("python")))
    ran(sys.executable, folder / "all.py")


def test_the_kernels_are_what_triton_compiles(folder, tmp_path):
    (tmp_path / "made").mkdir()
    ran(sys.executable, "compile.py", tmp_path / "made", cwd=folder)
    for file in TUTORIAL.glob("*.ptx"):
        assert (tmp_path / "made" / file.name).read_text() == file.read_text(), file.name


def test_it_installs_by_itself_and_runs_with_numpy_alone(folder, tmp_path):
    source, alone = tmp_path / "source", tmp_path / "alone"
    shutil.copytree(ROOT / "ptxsim", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    ran(sys.executable, "-m", "venv", alone)
    ran(alone / "bin" / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", source)
    listed = ran(alone / "bin" / "python", "-m", "pip", "list", "--format=freeze")
    assert {line.partition("==")[0].lower() for line in listed.splitlines()} <= {
        "pip",
        "setuptools",
        "wheel",
        "numpy",
        "ptxsim",
    }
    require_said(folder, alone / "bin")
